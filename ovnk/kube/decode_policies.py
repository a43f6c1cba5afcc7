"""NetworkPolicies: API JSON in, the frozen values of policy_objects.py out.

A policy that is there but cannot be understood is not absent: a value with `invalid` comes out, which isolates both
ways and lets nothing through. Only one whose very name cannot be read is an InvalidObject. The rules are the API
server's (pkg/apis/networking/validation, Kubernetes 1.36), for a manifest on disk has not been through one.
"""

import re
from ipaddress import ip_network

import msgspec
from msgspec import Struct, field

from ovnk.errors import InvalidObject
from ovnk.kube import wire
from ovnk.kube.label_selectors import LabelSelector, Wrong, requirements
from ovnk.kube.policy_objects import Block, NetworkPolicy, Peer, PodPeers, PolicyPort, Rule, Selector

NETWORK_POLICIES = wire.Resource("/apis/networking.k8s.io/v1/networkpolicies", NetworkPolicy)

PROTOCOLS = ("TCP", "UDP", "SCTP")
PORT_MAX = 65535

# IANA_SVC_NAME (RFC 6335 §5.1): has a letter, and no two hyphens on end.
PORT_NAME = re.compile(r"(?=.*[a-z])(?!.*--)[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?")


def network_policy(raw: wire.Json) -> NetworkPolicy:
    """The NetworkPolicy in `raw`, `invalid` if it cannot be understood. Raises InvalidObject if it has no usable name.

    Where not even the podSelector can be understood, an invalid policy is about every pod of its namespace.
    """
    metadata = wire.decode(NetworkPolicy, wire.IDENTIFIED, raw).metadata or wire.Metadata()
    namespace = wire.namespace(NetworkPolicy, raw, metadata)
    name = wire.name(NetworkPolicy, raw, metadata.name, wire.SUBDOMAIN)
    uid, log = metadata.uid or "", (metadata.annotations or wire.Annotations()).log or ""
    subject: Selector = ()
    try:
        spec = wire.decode(NetworkPolicy, _POLICY, raw).spec or _Spec()
        subject = requirements("spec.podSelector", spec.pod_selector or LabelSelector())
        isolates_ingress, isolates_egress = _types(spec)
        ingress = _rules("spec.ingress", "from", [(one.peers, one.ports) for one in spec.ingress or ()], namespace)
        egress = _rules("spec.egress", "to", [(one.peers, one.ports) for one in spec.egress or ()], namespace)
    except (Wrong, InvalidObject) as error:
        why = f"{error.field} {error.why}" if isinstance(error, InvalidObject) else str(error)
        return NetworkPolicy(namespace, name, uid, subject, (), (), log, why)
    return NetworkPolicy(
        namespace, name, uid, subject, ingress if isolates_ingress else None, egress if isolates_egress else None, log
    )


def _types(spec: "_Spec") -> tuple[bool, bool]:
    """Whether ingress and egress are isolated. Not said: ingress always, egress if there are rules for it."""
    if not spec.policy_types:
        return True, bool(spec.egress)
    for index, one in enumerate(spec.policy_types):
        if one not in ("Ingress", "Egress"):
            raise Wrong(f"spec.policyTypes[{index}]", f'"{one}" is neither Ingress nor Egress')
    return "Ingress" in spec.policy_types, "Egress" in spec.policy_types


def _rules(
    path: str, side: str, given: "list[tuple[list[_Peer] | None, list[_Port] | None]]", namespace: str
) -> tuple[Rule, ...]:
    """The rules; peers or ports that are absent or an empty list mean all there are."""
    rules = []
    for index, (peers, ports) in enumerate(given):
        at = f"{path}[{index}]"
        found = tuple(_peer(f"{at}.{side}[{place}]", one, namespace) for place, one in enumerate(peers or ()))
        wanted = tuple(_port(f"{at}.ports[{place}]", one) for place, one in enumerate(ports or ()))
        rules.append(Rule(found or None, wanted or None))
    return tuple(rules)


def _peer(path: str, peer: "_Peer", namespace: str) -> Peer:
    selects = peer.pod_selector is not None or peer.namespace_selector is not None
    if peer.ip_block is not None:
        if selects:
            raise Wrong(path, "has an ipBlock and a selector; give each an entry of its own")
        return _block(f"{path}.ipBlock", peer.ip_block)
    if not selects:
        # Perhaps a kind of peer of a later API: what is not understood is not let through.
        raise Wrong(path, "has none of podSelector, namespaceSelector and ipBlock")
    pods = requirements(f"{path}.podSelector", peer.pod_selector or LabelSelector())
    if peer.namespace_selector is None:
        return PodPeers(pods, namespace=namespace)
    return PodPeers(pods, namespaces=requirements(f"{path}.namespaceSelector", peer.namespace_selector))


def _block(path: str, block: "_IPBlock") -> Block:
    """The block in canonical form; bits beyond the prefix length are passed over, as the API server does."""
    try:
        network = ip_network(block.cidr, strict=False)
    except ValueError:
        raise Wrong(f"{path}.cidr", f'"{block.cidr}" is not a CIDR') from None
    excepts = []
    for index, text in enumerate(block.excepts or ()):
        try:
            excepted = ip_network(text, strict=False)
        except ValueError:
            raise Wrong(f"{path}.except[{index}]", f'"{text}" is not a CIDR') from None
        if (
            excepted.version != network.version
            or excepted.prefixlen <= network.prefixlen
            or not excepted.overlaps(network)
        ):
            raise Wrong(f"{path}.except[{index}]", f'"{text}" is not a part of "{block.cidr}"')
        excepts.append(str(excepted))
    return Block(str(network), tuple(sorted(set(excepts))))


def _port(path: str, port: "_Port") -> PolicyPort:
    protocol = port.protocol or "TCP"
    if protocol not in PROTOCOLS:
        raise Wrong(f"{path}.protocol", f'"{protocol}" is none of {", ".join(PROTOCOLS)}')
    if port.port is None:
        if port.end_port is not None:
            raise Wrong(f"{path}.endPort", "stands without a port")
        return PolicyPort(protocol)
    if isinstance(port.port, str):
        if not PORT_NAME.fullmatch(port.port):
            raise Wrong(f"{path}.port", f'"{port.port}" is neither a number nor the name of a port')
        if port.end_port is not None:
            raise Wrong(f"{path}.endPort", f'stands with the named port "{port.port}"; a range needs a number')
        return PolicyPort(protocol, name=port.port)
    last = port.port if port.end_port is None else port.end_port
    if not 1 <= port.port <= PORT_MAX:
        raise Wrong(f"{path}.port", f"{port.port} is not between 1 and {PORT_MAX}")
    if not port.port <= last <= PORT_MAX:
        raise Wrong(f"{path}.endPort", f"{last} is not between port {port.port} and {PORT_MAX}")
    return PolicyPort(protocol, port.port, last)


# The wire.


class _IPBlock(Struct, gc=False):
    cidr: str
    excepts: list[str] | None = field(name="except", default=None)


class _Peer(Struct, rename="camel", gc=False):
    pod_selector: LabelSelector | None = None
    namespace_selector: LabelSelector | None = None
    ip_block: _IPBlock | None = field(name="ipBlock", default=None)


class _Port(Struct, rename="camel", gc=False):
    protocol: str | None = None
    port: int | str | None = None
    end_port: int | None = None


class _Ingress(Struct, gc=False):
    peers: list[_Peer] | None = field(name="from", default=None)
    ports: list[_Port] | None = None


class _Egress(Struct, gc=False):
    peers: list[_Peer] | None = field(name="to", default=None)
    ports: list[_Port] | None = None


class _Spec(Struct, rename="camel", gc=False):
    pod_selector: LabelSelector | None = None
    ingress: list[_Ingress] | None = None
    egress: list[_Egress] | None = None
    policy_types: list[str] | None = None


class _Policy(Struct, gc=False):
    spec: _Spec | None = None


_POLICY = msgspec.json.Decoder(_Policy)
