"""Every northbound name, key and priority, in one place.

A row's key is also its name wherever the table has names, so that what `ovn-nbctl` shows is what `ovnk` says.
Names of pods' and management ports are the contract with the node (ovnk.contract).
"""

from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

from ovnk import contract

# The one Logical_Router of the default topology.
CLUSTER_ROUTER = "ovnk-cluster"

# The owner of rows that any object may cause.
CLUSTER_OWNER = "cluster"

# The Load_Balancer_Group of the Services that give every client the same endpoints.
SERVICE_GROUP = "ovnk-services"

# Logical_Router_Policy priorities (0 to 32767, higher first; ovn-nb(5)).
NODE_ADDRESS_PRIORITY = 1000

# ACL priorities (0 to 32767, higher first; ovn-nb(5)), a band for each of Kubernetes' tiers; where the server has tiers
# the bands are tiers too. ARCHITECTURE.md has this as a table.
NODE_ACCESS_PRIORITY = 32000
NETWORK_POLICY_PRIORITY = 10001
ISOLATION_PRIORITY = 10000
ADMIN_TIER, NETWORK_POLICY_TIER, BASELINE_TIER = 0, 1, 2


class Band(NamedTuple):
    """The ACL priorities of a tier of cluster-wide policies, `first` down to `last`, and the OVN tier it is.

    Policies have 1,001 priorities, each with so many `slots` (precedence.py).
    """

    first: int
    last: int
    slots: int
    tier: int


POLICY_BANDS = {
    "Admin": Band(31999, 10002, 21, ADMIN_TIER),
    "Baseline": Band(9999, 1, 9, BASELINE_TIER),
}

# What policies are called in the names of ACLs.
POLICY_KINDS = {
    "NetworkPolicy": "NP",
    "ClusterNetworkPolicy": "CNP",
    "AdminNetworkPolicy": "ANP",
    "BaselineAdminNetworkPolicy": "BANP",
}

ACL_NAME_MAX = 63

# The Meter that bounds what ACLs log.
ACL_METER = "ovnk-acl-log"
ACL_LOG_LINES_S = 20


def owner(kind: str, key: str) -> str:
    """The Kubernetes object that causes a row: "Pod/shop/web-0"."""
    return f"{kind}/{key}"


def node_switch(node: str) -> str:
    """The Logical_Switch of a node's own pod subnet. Cluster-scoped names have no '/' and no ':'."""
    return node


def router_port(node: str) -> str:
    """The Logical_Router_Port of the cluster router on a node's switch."""
    return f"{CLUSTER_ROUTER}:{node}"


def switch_port(node: str) -> str:
    """The Logical_Switch_Port (type router) of a node's switch towards the cluster router."""
    return f"router:{node}"


def management_port(node: str) -> str:
    """The Logical_Switch_Port of a node's ovnk0."""
    return contract.management_interface_id(node)


def pod_port(namespace: str, pod: str) -> str:
    """The Logical_Switch_Port of a pod's first interface."""
    return contract.interface_id(namespace, pod)


def route_table(node: str) -> str:
    """The routing table of what enters the cluster router from a node's switch."""
    return node


def egress_route(node: str, prefix: str) -> str:
    """The key of a node's default route: "node-1 0.0.0.0/0"."""
    return f"{node} {prefix}"


def node_address_policy(node: str, address: str) -> str:
    """The key of the policy that leads to a node's address."""
    return f"{node} {address}"


def zone_group(zone: str) -> str:
    """The Load_Balancer_Group of what nodes of that zone get ("" for nodes without): "ovnk-services@zone:eu-1"."""
    return f"{SERVICE_GROUP}{in_zone(zone)}"


def load_balancer(service: str, protocol: str, place: str = "") -> str:
    """The Load_Balancer of a Service ("shop/web") for one protocol: "shop/web:tcp".

    Where clients do not all get the same, `place` says whose it is: on_node, in_zone or elsewhere.
    """
    return f"{service}:{protocol.lower()}{place}"


def on_node(node: str) -> str:
    """The place that is one node."""
    return f"@node:{node}"


def in_zone(zone: str) -> str:
    """The place that is all nodes of a zone."""
    return f"@zone:{zone}"


def elsewhere(zone: str) -> str:
    """The place that is the nodes with nothing of their own, of one zone where zones matter, of all with ""."""
    return f"@elsewhere:{zone}"


def port_group(selection: str) -> str:
    """The Port_Group of a selection's pods, or of those of them that have a port of some name at some number.

    A name that match expressions can hold: a hash, for selectors are long.
    """
    return f"ovnk_{_hashed(selection)}"


def address_set(of: str, family: int) -> str:
    """The Address_Set of what is no port: host-network pods, nodes, or the blocks of a rule."""
    return f"ovnk_{_hashed(of)}_v{family}"


def node_access(node: str) -> str:
    """The ACL by which a node reaches its own pods."""
    return f"node-access {node}"


def acl_name(policy: str, direction: str, rule: str) -> str:
    """What logs and traces show: "NP:shop/web:ingress:0". At most 63 characters (ovn-nb(5), ACL name).

    One that is too long ends in a hash of the whole, so that two policies never show as one.
    """
    full = f"{policy}:{direction}:{rule}"
    return full if len(full) <= ACL_NAME_MAX else f"{full[: ACL_NAME_MAX - 9]}~{_hashed(full)[:8]}"


# Asked for each pod in each of its groups, and there are far fewer groups.
@lru_cache(4096)
def _hashed(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:24]
