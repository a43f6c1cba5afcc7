"""What cluster-wide policies and NetworkPolicies mean together, written from the API's documentation alone.

policy.networking.k8s.io, ClusterNetworkPolicySpec.tier: the Admin tier first; who it accepts or denies is decided. Then
NetworkPolicies, which decide about the pods that they select. Then the Baseline tier. What nobody decides is allowed.
Within a tier policies by priority, rules by their order; Pass ends the tier. Shares no code with what it judges.
"""

from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import Any

from tests.oracle import policies
from tests.oracle.policies import End, Object, Packet, selects

KINDS = ("ClusterNetworkPolicy", "AdminNetworkPolicy", "BaselineAdminNetworkPolicy")


def verdict(objects: list[Object], packet: Packet) -> tuple[bool, str]:
    """Whether it passes, and who decided against it, or decided last."""
    namespaces = {one["metadata"]["name"]: one for one in objects if one["kind"] == "Namespace"}
    network_policies = [one for one in objects if one["kind"] == "NetworkPolicy"]
    decided = ""
    for direction, own, other in (
        ("egress", packet.source, packet.target),
        ("ingress", packet.target, packet.source),
    ):
        if own.pod is None or (direction == "ingress" and other.node == own.pod["spec"].get("nodeName")):
            continue
        admin, who = _tier(objects, namespaces, "Admin", direction, own.pod, other, packet)
        if admin is None:
            isolating = [one for one in network_policies if policies.isolates(one, own.pod, direction)]
            if isolating:
                allowing = [one for one in isolating if policies.allows(namespaces, one, direction, other, packet)]
                admin, who = bool(allowing), (allowing or isolating)[0]["metadata"]["name"]
            else:
                admin, who = _tier(objects, namespaces, "Baseline", direction, own.pod, other, packet)
        decided = f"{direction} {who}" if who else decided
        if admin is False:
            return False, decided
    return True, decided


def without_tiers(objects: list[Object]) -> list[Object]:
    """What is documented to stand in their place before OVN 23.06: a Pass by the name of a port denies there."""
    found = []
    for one in objects:
        if one["kind"] in KINDS:
            spec = dict(one["spec"])
            for direction in ("ingress", "egress"):
                if direction in spec:
                    spec[direction] = [part for rule in spec[direction] for part in _denying_names(rule)]
            one = {**one, "spec": spec}
        found.append(one)
    return found


def _denying_names(rule: Object) -> list[Object]:
    field = "protocols" if "protocols" in rule else "ports"
    ports = rule.get(field, [])
    named = [port for port in ports if port.keys() & {"destinationNamedPort", "namedPort"}]
    if rule["action"] != "Pass" or not named:
        return [rule]
    others = [port for port in ports if port not in named]
    return [{**rule, "action": "Deny", field: named}, *([{**rule, field: others}] if others else [])]


def _tier(
    objects: list[Object],
    namespaces: dict[str, Object],
    tier: str,
    direction: str,
    pod: Object,
    other: End,
    packet: Packet,
) -> tuple[bool | None, str]:
    """Whether the tier accepts, None where it leaves it to the next; and by which policy."""
    for policy in _in_order(objects, tier):
        if not _is_pod(namespaces, policy["spec"]["subject"], pod):
            continue
        for rule in policy["spec"].get(direction, []):
            peers = rule["from" if direction == "ingress" else "to"]
            wanted = rule.get("protocols", rule.get("ports"))
            if not any(_is_peer(objects, namespaces, peer, other) for peer in peers):
                continue
            if wanted is not None and not any(_is_port(one, packet) for one in wanted):
                continue
            answer = {"Accept": True, "Allow": True, "Deny": False, "Pass": None}[rule["action"]]
            return answer, policy["metadata"]["name"]
    return None, ""


def _in_order(objects: list[Object], tier: str) -> list[Object]:
    """The tier's policies by priority; the one of kind BaselineAdminNetworkPolicy has none and is last."""
    found = []
    for one in objects:
        kind = one["kind"]
        own = {"AdminNetworkPolicy": "Admin", "BaselineAdminNetworkPolicy": "Baseline"}
        if kind in KINDS and own.get(kind, one["spec"].get("tier")) == tier:
            found.append((one["spec"].get("priority", 1001), one))
    places = [place for place, _ in found]
    assert len(set(places)) == len(places), "who of two policies of one priority decides is nowhere said"
    return [one for _, one in sorted(found, key=lambda pair: pair[0])]


def _is_pod(namespaces: dict[str, Object], selector: Object, pod: Object | None) -> bool:
    """Whether the subject, or the peer, selects the pod. Those in their node's network are neither."""
    if pod is None or pod["spec"].get("hostNetwork"):
        return False
    labels = namespaces[pod["metadata"]["namespace"]]["metadata"].get("labels", {})
    if "namespaces" in selector:
        return selects(selector["namespaces"], labels)
    if "pods" not in selector:
        return False
    return selects(selector["pods"]["namespaceSelector"], labels) and selects(
        selector["pods"]["podSelector"], pod["metadata"].get("labels", {})
    )


def _is_peer(objects: list[Object], namespaces: dict[str, Object], peer: Object, other: End) -> bool:
    address = ip_address(other.address)
    if "networks" in peer:
        return any(address in ip_network(network) for network in peer["networks"])
    if "nodes" in peer:
        return any(
            address in map(ip_address, _addresses(one))
            for one in objects
            if one["kind"] == "Node" and selects(peer["nodes"], one["metadata"].get("labels", {}))
        )
    return _is_pod(namespaces, peer, other.pod)


def _addresses(node: Object) -> Iterator[str]:
    return (one["address"] for one in node["status"]["addresses"] if one["type"] == "InternalIP")


def _is_port(port: Object, packet: Packet) -> bool:
    """v1alpha2: {"tcp": {"destinationPort": …}}; v1alpha1: {"portNumber": {"protocol": …, "port": …}}; or a name."""
    name = port.get("destinationNamedPort", port.get("namedPort"))
    if name is not None:
        return packet.target.pod is not None and any(
            (one.get("name"), one.get("protocol", "TCP"), one["containerPort"]) == (name, packet.protocol, packet.port)
            for container in packet.target.pod["spec"].get("containers", [])
            for one in container.get("ports", [])
        )
    first, last = 0, -1
    protocol = ""
    if "portNumber" in port:
        protocol, first = port["portNumber"].get("protocol", "TCP"), port["portNumber"]["port"]
        last = first
    elif "portRange" in port:
        said: dict[str, Any] = port["portRange"]
        protocol, first, last = said.get("protocol", "TCP"), said["start"], said["end"]
    else:
        ((protocol, inner),) = port.items()
        at = inner["destinationPort"]
        first, last = (at["number"],) * 2 if "number" in at else (at["range"]["start"], at["range"]["end"])
    return bool(protocol.upper() == packet.protocol and first <= packet.port <= last)
