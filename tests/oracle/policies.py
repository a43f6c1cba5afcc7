"""What NetworkPolicies mean, written from the API's documentation alone; shares no code with what it judges.

Kubernetes documentation, "Network Policies": pods that no policy selects for a direction are open in it; others let
through what some policy that selects them allows. A connection needs both its ends. Objects are manifests as dicts.
"""

from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple

Object = dict[str, Any]


class End(NamedTuple):
    """One end of a connection: a pod's manifest, or None for what is no pod; and its address.

    Where that is a node's own address, `node` is its name. `host_pods` are the pods in the network of the node that
    uses the address: nobody can tell them from one another.
    """

    pod: Object | None
    address: str
    node: str = ""
    host_pods: tuple[Object, ...] = ()


class Packet(NamedTuple):
    """The first packet of a connection; `port` is the destination's, 0 for ICMP."""

    source: End
    target: End
    protocol: str
    port: int


def verdict(namespaces: dict[str, Object], policies: list[Object], packet: Packet) -> tuple[bool, str]:
    """Whether it passes, and who decided: "egress"/"ingress" with the first policy's name, or "" where nobody did."""
    decided = ""
    for direction, own, other in (
        ("egress", packet.source, packet.target),
        ("ingress", packet.target, packet.source),
    ):
        # A node always reaches its own pods: their probes come from it (kubelet).
        if own.pod is None or (direction == "ingress" and other.node == own.pod["spec"].get("nodeName")):
            continue
        isolating = [one for one in policies if isolates(one, own.pod, direction)]
        if not isolating:
            continue
        allowing = [one for one in isolating if allows(namespaces, one, direction, other, packet)]
        decided = f"{direction} {(allowing or isolating)[0]['metadata']['name']}"
        if not allowing:
            return False, decided
    return True, decided


def isolates(policy: Object, pod: Object, direction: str) -> bool:
    spec = policy["spec"]
    types = spec.get("policyTypes") or (["Ingress", "Egress"] if spec.get("egress") else ["Ingress"])
    return (
        policy["metadata"]["namespace"] == pod["metadata"]["namespace"]
        and selects(spec["podSelector"], pod["metadata"].get("labels", {}))
        and direction.capitalize() in types
    )


def allows(namespaces: dict[str, Object], policy: Object, direction: str, other: End, packet: Packet) -> bool:
    side = "from" if direction == "ingress" else "to"
    for rule in policy["spec"].get(direction) or []:
        peers, ports = rule.get(side), rule.get("ports")
        for who in (other.pod, *other.host_pods):
            # A name of a port is looked up at the pod that is connected to.
            holder = packet.target.pod if direction == "ingress" else who
            peer_fits = not peers or any(is_peer(namespaces, policy, peer, who, other.address) for peer in peers)
            if peer_fits and (not ports or any(is_port(port, packet, holder) for port in ports)):
                return True
    return False


def is_peer(namespaces: dict[str, Object], policy: Object, peer: Object, pod: Object | None, at: str) -> bool:
    if block := peer.get("ipBlock"):
        address = ip_address(at)
        return address in ip_network(block["cidr"]) and not any(
            address in ip_network(one) for one in block.get("except", [])
        )
    if pod is None:
        return False
    where = pod["metadata"]["namespace"]
    if "namespaceSelector" in peer:
        if where not in namespaces or not selects(
            peer["namespaceSelector"], namespaces[where]["metadata"].get("labels", {})
        ):
            return False
    elif where != policy["metadata"]["namespace"]:
        return False
    return selects(peer.get("podSelector", {}), pod["metadata"].get("labels", {}))


def is_port(port: Object, packet: Packet, pod: Object | None) -> bool:
    """Whether the packet is to that port; `pod` is the one whose port may be meant by its name."""
    if port.get("protocol", "TCP") != packet.protocol:
        return False
    wanted = port.get("port")
    if wanted is None:
        return True
    if isinstance(wanted, int):
        return wanted <= packet.port <= port.get("endPort", wanted)
    return pod is not None and any(
        (one["name"], one.get("protocol", "TCP"), one["containerPort"]) == (wanted, packet.protocol, packet.port)
        for container in pod["spec"].get("containers", [])
        for one in container.get("ports", [])
    )


def selects(selector: Object, labels: dict[str, str]) -> bool:
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for one in selector.get("matchExpressions", []):
        value = labels.get(one["key"])
        holds = {
            "In": value is not None and value in one.get("values", []),
            "NotIn": value is None or value not in one.get("values", []),
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }[one["operator"]]
        if not holds:
            return False
    return True
