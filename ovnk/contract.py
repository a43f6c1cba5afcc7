"""What controller and node agent share: the NodeNetwork object, and how a pod's port is named.

One NodeNetwork a node (cluster-scoped, named as the node), written by the controller alone, holds everything
its agent needs; the agent watches that one object and no pods. The types here are the wire format; the CRD in
deploy/crds is generated from them.
"""

from typing import Annotated

from msgspec import Meta, Struct

GROUP = "ovnk.io"
VERSION = "v1"
KIND = "NodeNetwork"
PLURAL = "nodenetworks"

# The subnet every pod is in that asks for no other.
DEFAULT_SUBNET = "default"

# The management port: an OVS internal port in the node's own network namespace.
MANAGEMENT_INTERFACE = "ovnk0"

Name = Annotated[str, Meta(min_length=1, max_length=253)]
Mac = Annotated[str, Meta(pattern="^([0-9a-f]{2}:){5}[0-9a-f]{2}$")]


class SubnetRange(Struct, frozen=True, forbid_unknown_fields=False):
    """A subnet as the node sees it, one entry a family: the network ("10.244.1.0/24") and its router's address."""

    name: Name
    cidr: str
    gateway: str


class PodAllocation(Struct, frozen=True, gc=False):
    """What one pod has on this node: plain addresses (one a family), a MAC, and the subnet they are of.

    It ends with the pod's UID: a pod of the same name with another UID is another pod.
    """

    namespace: Name
    name: Name
    uid: Name
    ips: Annotated[tuple[str, ...], Meta(min_length=1, max_length=2)]
    mac: Mac
    subnet: Name = DEFAULT_SUBNET


class Management(Struct, frozen=True):
    """The node's own port, ovnk0: its addresses with prefix length ("10.244.1.2/24"), one a family, and its MAC."""

    addresses: tuple[str, ...]
    mac: Mac


class NodeNetworkSpec(Struct, frozen=True, rename="camel", omit_defaults=True):
    """All that a node's agent needs to know.

    `cluster_cidrs` are the pod networks and `service_cidrs` the Services': the node routes both through ovnk0 and
    never masquerades towards them. `mtu_bytes` is the pods' MTU where the operator insists on one; where it is
    absent the agent finds it by looking at the underlay.
    """

    subnets: tuple[SubnetRange, ...] = ()
    management: Management | None = None
    cluster_cidrs: tuple[str, ...] = ()
    service_cidrs: tuple[str, ...] = ()
    mtu_bytes: Annotated[int, Meta(ge=576, le=65535)] | None = None
    pods: tuple[PodAllocation, ...] = ()


def interface_id(namespace: str, pod: str) -> str:
    """The iface-id of a pod's first interface, which is its Logical_Switch_Port's name: "shop/web-0"."""
    return f"{namespace}/{pod}"


def management_interface_id(node: str) -> str:
    """The iface-id of a node's ovnk0. No pod can have it: a namespace has no ':' (RFC 1123 labels)."""
    return f"node:{node}"
