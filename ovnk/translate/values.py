"""Values that are neither Kubernetes objects nor northbound facts: what was decided, and what is asked for.

Inputs: Cluster (the settings), NodeSubnets and PodAllocation (what the allocator decided, since who has which address
is history). Outputs beside the northbound: demands, answered by the allocator, and the parts of NodeNetworks.
"""

from msgspec import Struct

from ovnk.contract import Management, PodAllocation, SubnetRange

# The key of the one Cluster there is.
CLUSTER = "cluster"

# The index that files every value under True: for the few kinds (nodes, zones) that some functions must see all of.
EVERYWHERE = "everywhere"


class Cluster(Struct, frozen=True):
    """The settings of the whole cluster: networks as text, one a family; the MTU only where it is insisted on."""

    cluster_cidrs: tuple[str, ...]
    service_cidrs: tuple[str, ...] = ()
    mtu_bytes: int | None = None
    # Whether the northbound has ACL tiers (OVN 23.06); found by looking.
    acl_tiers: bool = False


class NodeSubnets(Struct, frozen=True):
    """The node's part of the pod networks, one range a family, as the allocator decided."""

    node: str
    ranges: tuple[SubnetRange, ...]


class Place(Struct, frozen=True):
    """A node that has a switch, and its zone ("" without one): where clients of Services are."""

    node: str
    zone: str

    @property
    def key(self) -> str:
        """The node's name."""
        return self.node


class Zone(Struct, frozen=True):
    """A zone that some node is in; "" is that of the nodes without one."""

    name: str

    @property
    def key(self) -> str:
        """The zone's name."""
        return self.name


class SubnetSize(Struct, frozen=True):
    """A prefix length that some node's subnet has: what to cut an address to, to find the node whose it is."""

    family: int
    length: int

    @property
    def key(self) -> str:
        """The size as text: "4/24"."""
        return f"{self.family}/{self.length}"


class NodeDemand(Struct, frozen=True):
    """A node asks for its subnets; `pod_cidrs` are those that Kubernetes gave it, if it did."""

    node: str
    pod_cidrs: tuple[str, ...]


class PodDemand(Struct, frozen=True, gc=False):
    """A pod asks for its addresses on its node. It ends with the pod, by UID.

    `running_with` are the addresses that its status shows: it has been set up with those, whatever was decided since.
    """

    key: str
    uid: str
    node: str
    running_with: tuple[str, ...] = ()


class NodeEntry(Struct, frozen=True):
    """All of a NodeNetwork but its pods; `uid` is the Node's, which owns it."""

    node: str
    uid: str
    subnets: tuple[SubnetRange, ...]
    management: Management
    cluster_cidrs: tuple[str, ...]
    service_cidrs: tuple[str, ...]
    mtu_bytes: int | None


class PodEntry(Struct, frozen=True, gc=False):
    """One pod of a NodeNetwork."""

    node: str
    allocation: PodAllocation
