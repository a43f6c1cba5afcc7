"""Who answers a client of a Service and whom they see, by where the client is and at what address it asks.

Written from Kubernetes' own words, sharing no code with ovnk: kubernetes.io "Virtual IPs and Service Proxies" and
"Using Source IP", KEP-2086 (internalTrafficPolicy), KEP-2433 and KEP-3015 (trafficDistribution), KEP-1138 (external
traffic of clients within the cluster).
"""

from collections.abc import Mapping
from dataclasses import dataclass

CLUSTER_IP, NODE_PORT, EXTERNAL = "ClusterIP", "node port", "external address"


@dataclass(frozen=True, slots=True)
class Client:
    """A pod, a node (or a pod in its network), or somebody outside; `node` is where it is, "" outside."""

    place: str
    kind: str
    node: str = ""


@dataclass(frozen=True, slots=True)
class Front:
    """What is asked: a ClusterIP; or a node's port, or an external address to which the way from outside is a node."""

    kind: str
    node: str = ""

    def gate(self, client: Client) -> str:
        """The node that takes in what does not go to a ClusterIP: for an external address, the client's own."""
        return client.node if self.kind == EXTERNAL and client.node else self.node


@dataclass(frozen=True, slots=True)
class Policy:
    """internalTrafficPolicy and externalTrafficPolicy, whether Local; trafficDistribution: "", "zone" or "node"."""

    internal_local: bool = False
    external_local: bool = False
    near: str = ""


def answering(
    policy: Policy, endpoints: Mapping[str, str], zones: Mapping[str, str], client: Client, front: Front
) -> set[str]:
    """Who may answer, of `endpoints` (name → node, "" for what is on none); nobody: the client gets no answer."""
    if front.kind == CLUSTER_IP:
        if not client.node:
            return set()
        here, only_here = client.node, policy.internal_local
    else:
        here, only_here = front.gate(client), policy.external_local and not _within(client, front)
    on_node = {name for name, node in endpoints.items() if node == here}
    if only_here:
        return on_node
    in_zone = {name for name, node in endpoints.items() if node and zones[node] == zones[here]}
    nearest = {"": (), "zone": (in_zone,), "node": (on_node, in_zone)}[policy.near]
    return next((some for some in nearest if some), set(endpoints))


def refused(endpoints: Mapping[str, str], client: Client, front: Front) -> bool:
    """Whether who gets no answer is told at once: not where another node may have an endpoint, nor without any way."""
    return bool(client.node) if front.kind == CLUSTER_IP else not endpoints


def seen(policy: Policy, client: Client, front: Front, endpoint: str) -> str:
    """Whom the endpoint sees: the "client" itself, the "vip" (which leads to itself), or "node NAME", its own port.

    One thing is not as with kube-proxy: a node that asks another node's port is seen as that node, not as itself,
    whatever externalTrafficPolicy says.
    """
    if front.kind == CLUSTER_IP:
        if client.kind == "node":
            return f"node {client.node}"
        return "vip" if client.place == endpoint else "client"
    if policy.external_local and client.kind == "outside":
        return "client"
    return f"node {front.gate(client)}"


def _within(client: Client, front: Front) -> bool:
    """externalTrafficPolicy is not about pods, nor about the node that takes the traffic in (KEP-1138)."""
    return client.kind == "pod" or (client.kind == "node" and client.node == front.gate(client))
