"""Every northbound name, key and priority, in one place.

A row's key is also its name wherever the table has names, so that what `ovn-nbctl` shows is what `ovnk` says.
Names of pods' and management ports are the contract with the node (ovnk.contract).
"""

from ovnk import contract

# The one Logical_Router of the default topology.
CLUSTER_ROUTER = "ovnk-cluster"

# The owner of rows that any object may cause.
CLUSTER_OWNER = "cluster"

# The Load_Balancer_Group of the Services that give every client the same endpoints.
SERVICE_GROUP = "ovnk-services"

# Logical_Router_Policy priorities (0 to 32767, higher first; ovn-nb(5)).
NODE_ADDRESS_PRIORITY = 1000


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
