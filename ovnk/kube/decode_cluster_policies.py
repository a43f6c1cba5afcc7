"""Cluster-wide policies (policy.networking.k8s.io): API JSON in, the frozen values of policy_objects.py out.

What cannot be understood fails closed, rule by rule, as the API says of peers of a later version
(ClusterNetworkPolicyIngressPeer): an Accept rule matches nothing, any other denies everything. Where it cannot be said
who the policy is about or where it stands, it is about every pod, first of all, without its Accept rules. The wire's
types are cluster_policy_wire.py's; what the API's own CRDs check (with CEL, too) is checked here.
"""

from collections.abc import Callable, Iterable
from ipaddress import ip_network
from typing import TypeVar

import msgspec

from ovnk.errors import InvalidObject
from ovnk.kube import cluster_policy_wire as given
from ovnk.kube import wire
from ovnk.kube.decode_policies import PORT_MAX, PORT_NAME, PROTOCOLS
from ovnk.kube.label_selectors import Wrong, requirements
from ovnk.kube.policy_objects import (
    AdminNetworkPolicy,
    BaselineAdminNetworkPolicy,
    Block,
    ClusterNetworkPolicy,
    ClusterPolicy,
    NodePeers,
    Peer,
    PodPeers,
    PolicyPort,
    Rule,
)

GROUP = "policy.networking.k8s.io"
CLUSTER_NETWORK_POLICIES = wire.Resource(
    f"/apis/{GROUP}/v1alpha2/clusternetworkpolicies",
    ClusterNetworkPolicy,
    # The same fields, about to follow it.
    otherwise=(f"/apis/{GROUP}/v1beta1/clusternetworkpolicies",),
)
ADMIN_NETWORK_POLICIES = wire.Resource(f"/apis/{GROUP}/v1alpha1/adminnetworkpolicies", AdminNetworkPolicy)
BASELINE_ADMIN_NETWORK_POLICIES = wire.Resource(
    f"/apis/{GROUP}/v1alpha1/baselineadminnetworkpolicies", BaselineAdminNetworkPolicy
)

TIERS = ("Admin", "Baseline")
ACTIONS = ("Accept", "Deny", "Pass")
PRIORITY_MAX = 1000
EVERY_POD = PodPeers((), namespaces=())

V = TypeVar("V", bound=ClusterPolicy)


def cluster_network_policy(raw: wire.Json) -> ClusterNetworkPolicy:
    """The ClusterNetworkPolicy in `raw`. Raises InvalidObject if it has no usable name."""
    return _policy(ClusterNetworkPolicy, raw, "", "protocols", ACTIONS)


def admin_network_policy(raw: wire.Json) -> AdminNetworkPolicy:
    """The AdminNetworkPolicy in `raw`. Raises InvalidObject if it has no usable name."""
    return _policy(AdminNetworkPolicy, raw, "Admin", "ports", ("Allow", "Deny", "Pass"))


def baseline_admin_network_policy(raw: wire.Json) -> BaselineAdminNetworkPolicy:
    """The BaselineAdminNetworkPolicy in `raw`, after every other policy of its tier. Raises as the others."""
    return _policy(BaselineAdminNetworkPolicy, raw, "Baseline", "ports", ("Allow", "Deny"))


def _policy(kind: type[V], raw: wire.Json, tier: str, ports: str, actions: tuple[str, ...]) -> V:
    """`tier` is the kind's own, "" where it is in the spec; `ports` is what the kind calls them."""
    metadata = wire.decode(kind, wire.IDENTIFIED, raw).metadata or wire.Metadata()
    name = wire.name(kind, raw, metadata.name, wire.SUBDOMAIN)
    uid, log = metadata.uid or "", (metadata.annotations or wire.Annotations()).log or ""
    seen = (metadata.generation or 0, _version(raw))
    try:
        spec = wire.decode(kind, _POLICY, raw).spec or given.Spec()
    except InvalidObject as error:
        # The API server makes sure of types: all that is known of this policy is that there is one.
        why = f"{error.field} {error.why}; it denies everything of every pod"
        deny = (Rule(None, None, "Deny"),)
        return kind(name, uid, TIERS[0], 0, EVERY_POD, deny, deny, log, (why,), *seen)
    spec.tier = tier or spec.tier
    if tier == "Baseline":
        spec.priority = PRIORITY_MAX
    faults: list[str] = []
    stands = True
    subject, place = EVERY_POD, (TIERS[0], 0)
    try:
        place = _place(spec)
        subject = _subject(spec.subject or given.Peer())
    except Wrong as error:
        stands, place = False, (TIERS[0], 0)
        faults.append(f"{error}; it is about every pod, before all others, without its rules that accept")
    ingress = tuple(_rules("spec.ingress", spec.ingress or (), ("from", ports), actions, stands, faults))
    egress = tuple(_rules("spec.egress", spec.egress or (), ("to", ports), actions, stands, faults))
    return kind(name, uid, *place, subject, ingress, egress, log, tuple(faults), *seen)


def _version(raw: wire.Json) -> str:
    """The API's version that the object is of, "" where it does not say."""
    try:
        return (_VERSIONED.decode(raw).api_version or "").rpartition("/")[2]
    except msgspec.MsgspecError:
        return ""


def _place(spec: given.Spec) -> tuple[str, int]:
    if spec.tier not in TIERS:
        raise Wrong("spec.tier", f'"{spec.tier or ""}" is neither Admin nor Baseline')
    if spec.priority is None or not 0 <= spec.priority <= PRIORITY_MAX:
        raise Wrong("spec.priority", f"{spec.priority} is not between 0 and {PRIORITY_MAX}")
    return spec.tier, spec.priority


def _subject(subject: given.Peer) -> PodPeers:
    found = _pods("spec.subject", subject)
    if found is None:
        raise Wrong("spec.subject", "has none of namespaces and pods")
    return found


def _rules(
    path: str,
    rules: Iterable[given.Rule],
    called: tuple[str, str],
    actions: tuple[str, ...],
    stands: bool,
    faults: list[str],
) -> Iterable[Rule]:
    """The rules, so that each keeps its place; an Accept rule that cannot be understood has no peers. Says why."""
    side, ports = called
    for index, rule in enumerate(rules):
        at = f"{path}[{index}]"
        action = "Accept" if rule.action == "Allow" else rule.action or ""
        name = (rule.name or "")[:100]
        nothing = Rule((), None, "Accept", name)
        try:
            if rule.action not in actions:
                raise Wrong(f"{at}.action", f'"{rule.action or ""}" is none of {", ".join(actions)}')
            peers = _peers(f"{at}.{side}", (rule.sources if side == "from" else rule.targets) or (), side == "to")
            wanted = _ports(f"{at}.{ports}", (rule.protocols if ports == "protocols" else rule.ports), ports)
            if any(one.name for one in wanted or ()) and not all(isinstance(one, PodPeers) for one in peers):
                raise Wrong(f"{at}.{side}", "has nodes or networks, which have no named ports")
        except Wrong as error:
            if action == "Accept":
                faults.append(f"{error}; the rule accepts nothing")
                yield nothing
            else:
                faults.append(f"{error}; the rule denies everything")
                yield Rule(None, None, "Deny", name)
            continue
        yield Rule(peers, wanted, action, name) if stands or action != "Accept" else nothing


def _peers(path: str, peers: Iterable[given.Peer], egress: bool) -> tuple[Peer, ...]:
    found: list[Peer] = []
    for index, peer in enumerate(peers):
        at = f"{path}[{index}]"
        if peer.domain_names is not None:
            raise Wrong(at, "has domainNames, which are not supported")
        others = [peer.nodes, peer.networks] if egress else []
        if sum(one is not None for one in (peer.namespaces, peer.pods, *others)) != 1:
            # Perhaps a kind of peer of a later API.
            raise Wrong(at, f"must have one of namespaces, pods{', nodes and networks' if egress else ''}")
        pods = _pods(at, peer)
        if pods is not None:
            found.append(pods)
        elif peer.nodes is not None:
            found.append(NodePeers(requirements(f"{at}.nodes", peer.nodes)))
        else:
            networks = peer.networks or []
            if not networks:
                raise Wrong(f"{at}.networks", "is empty")
            found += [_network(f"{at}.networks[{place}]", text) for place, text in enumerate(networks)]
    if not found:
        raise Wrong(path, "is empty")
    return tuple(found)


def _pods(path: str, peer: given.Peer) -> PodPeers | None:
    """The pods that it selects in namespaces that it selects; None where it selects something else. Raises Wrong."""
    if peer.namespaces is not None and peer.pods is not None:
        raise Wrong(path, "has both namespaces and pods")
    if peer.namespaces is not None:
        return PodPeers((), namespaces=requirements(f"{path}.namespaces", peer.namespaces))
    if peer.pods is None:
        return None
    if peer.pods.namespace_selector is None or peer.pods.pod_selector is None:
        raise Wrong(f"{path}.pods", "must have both namespaceSelector and podSelector")
    return PodPeers(
        requirements(f"{path}.pods.podSelector", peer.pods.pod_selector),
        namespaces=requirements(f"{path}.pods.namespaceSelector", peer.pods.namespace_selector),
    )


def _network(path: str, text: str) -> Block:
    try:
        return Block(str(ip_network(text, strict=False)))
    except ValueError:
        raise Wrong(path, f'"{text}" is not a CIDR') from None


def _ports(path: str, ports: list[given.Port] | None, called: str) -> tuple[PolicyPort, ...] | None:
    """The ports; None where none are said. One by name is of any protocol: it is the container that has one."""
    if ports is None:
        return None
    if not ports:
        raise Wrong(path, "is empty")
    read: Callable[[str, given.Port], Iterable[PolicyPort]] = _protocol if called == "protocols" else _port
    return tuple(found for index, one in enumerate(ports) for found in read(f"{path}[{index}]", one))


def _protocol(path: str, port: given.Port) -> Iterable[PolicyPort]:
    """v1alpha2: one of tcp, udp, sctp and destinationNamedPort."""
    by_number = [(one, getattr(port, one.lower())) for one in PROTOCOLS if getattr(port, one.lower()) is not None]
    if len(by_number) + (port.destination_named_port is not None) != 1:
        raise Wrong(path, "must have one of tcp, udp, sctp and destinationNamedPort")
    if port.destination_named_port is not None:
        return _named(f"{path}.destinationNamedPort", port.destination_named_port)
    protocol, said = by_number[0]
    at = f"{path}.{protocol.lower()}.destinationPort"
    wanted = said.destination_port
    if wanted is None or (wanted.number is None) == (wanted.range is None):
        raise Wrong(at, "must have either number or range")
    if wanted.range is not None:
        return _range(f"{at}.range", protocol, wanted.range.start, wanted.range.end)
    return [PolicyPort(protocol, *_numbers(f"{at}.number", wanted.number, wanted.number))]


def _port(path: str, port: given.Port) -> Iterable[PolicyPort]:
    """v1alpha1: one of portNumber, portRange and namedPort."""
    if sum(one is not None for one in (port.port_number, port.port_range, port.named_port)) != 1:
        raise Wrong(path, "must have one of portNumber, portRange and namedPort")
    if port.named_port is not None:
        return _named(f"{path}.namedPort", port.named_port)
    said = port.port_number or port.port_range
    protocol = (said.protocol if said else None) or "TCP"
    if protocol not in PROTOCOLS:
        raise Wrong(f"{path}.protocol", f'"{protocol}" is none of {", ".join(PROTOCOLS)}')
    if port.port_range is not None:
        return _range(f"{path}.portRange", protocol, port.port_range.start, port.port_range.end)
    number = port.port_number.port if port.port_number else None
    return [PolicyPort(protocol, *_numbers(f"{path}.portNumber.port", number, number))]


def _named(path: str, name: str) -> list[PolicyPort]:
    if not PORT_NAME.fullmatch(name):
        raise Wrong(path, f'"{name}" is not the name of a port')
    return [PolicyPort(protocol, name=name) for protocol in PROTOCOLS]


def _range(path: str, protocol: str, start: int | None, end: int | None) -> list[PolicyPort]:
    return [PolicyPort(protocol, *_numbers(path, start, end))]


def _numbers(path: str, first: int | None, last: int | None) -> tuple[int, int]:
    if first is None or last is None or not 1 <= first <= last <= PORT_MAX:
        wanted = f"{first}" if first == last else f"{first} to {last}"
        raise Wrong(path, f"{wanted} is not between 1 and {PORT_MAX}")
    return first, last


_POLICY = msgspec.json.Decoder(given.Policy)
_VERSIONED = msgspec.json.Decoder(given.Versioned)
