"""What is left of a rule once rules before it have passed some of its packets on: exact, and in positive terms alone.

OVN before 23.06 has no action that skips to the next tier, and it cannot be told "not in this address set": a match
with a negated set becomes as many flows as its members have bits, multiplied. So what passes is taken out of the rules
behind it, with what can be taken out without negation:

- selectors: "not a=1 and b=2" is "a notin 1" or "b notin 2", selectors again (every operator has its opposite);
- networks: a network without another is some networks;
- ports: intervals, and protocols by name. OVN can test a protocol for equality alone, and each makes as many flows
  again; so to peers of whom some ports pass, protocols that nobody uses (acl_matches.OTHER_PROTOCOLS) pass as well.

Addresses within the pod networks are pods' and the nodes' own ports'; nobody else answers there. So a network without
the pods of a selector is the network outside, and inside the pods of the opposite selectors. Pure; no pod is looked at.
"""

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_network

from ovnk.kube.policy_objects import Block, NodePeers, Peer, PodPeers, PolicyPort, Requirement, Selector
from ovnk.translate import acl_matches
from ovnk.translate.cluster_policy_values import Part, PlacedRule, Share

OPPOSITE = {"In": "NotIn", "NotIn": "In", "Exists": "DoesNotExist", "DoesNotExist": "Exists"}
EVERY_POD = PodPeers((), namespaces=())
EVERYWHERE = ("0.0.0.0/0", "::/0")
PORTS = (1, 65535)
PROTOCOLS = ("TCP", "UDP", "SCTP", acl_matches.OTHER)
# Of more pieces than this a rule is not made: it says so.
PIECES_MAX = 256

Networks = tuple[str, ...]


class TooIntricate(Exception):  # noqa: N818  a limit of ours that a policy meets
    """What is left cannot be said in so few pieces."""


def shares(placed: PlacedRule, passing: Iterable[PlacedRule], cluster_networks: Networks) -> list[Share]:
    """What of the rule is left, `passing` being the rules that pass before it. Raises TooIntricate.

    Those must be for pods that it may be about.

    A passing rule's named ports are not looked at: they are not passed (cluster_policies.py).
    """
    rule = placed.rule
    before = [one for one in passing if one.rule.ports is None or _numbered(one)]
    found: list[Share] = []
    for ports, over in _cells(rule.ports, before):
        for subject, peers in _left(placed.subject, rule.peers, over, cluster_networks):
            found.append(Share(placed, len(found), rule.action, subject, peers, ports))
            _bounded(found)
    return found


def whole(placed: PlacedRule, action: str, instead: str = "") -> Share:
    """All of the rule."""
    peers = None if placed.rule.peers is None else _parts(placed.rule.peers)
    return Share(placed, 0, action, placed.subject, peers, placed.rule.ports, instead)


def meet(one: PodPeers, other: PodPeers) -> bool:
    """Whether a pod may be of both. Both select namespaces by labels."""
    return satisfiable(one.pods + other.pods) and satisfiable((one.namespaces or ()) + (other.namespaces or ()))


def minus(one: PodPeers, other: PodPeers) -> tuple[PodPeers, ...]:
    """The pods that `one` selects and `other` does not, as some selections; `one` itself where they do not meet."""
    if not meet(one, other):
        return (one,)
    found = [
        PodPeers(one.pods, namespaces=selector) for selector in without(one.namespaces or (), other.namespaces or ())
    ]
    found += [PodPeers(selector, namespaces=one.namespaces) for selector in without(one.pods, other.pods)]
    return tuple(found)


def without(one: Selector, other: Selector) -> Iterator[Selector]:
    """What `one` selects and `other` does not: with the opposite of each requirement, where that is possible."""
    for requirement in other:
        opposite = Requirement(requirement.key, OPPOSITE[requirement.operator], requirement.values)
        selector = tuple(sorted({*one, opposite}))
        if satisfiable(selector):
            yield selector


def satisfiable(selector: Selector) -> bool:
    """Whether some labels can fulfil it."""
    for key in {one.key for one in selector}:
        some = [one for one in selector if one.key == key]
        absent = any(one.operator == "DoesNotExist" for one in some)
        present = any(one.operator in ("In", "Exists") for one in some)
        allowed = [set(one.values) for one in some if one.operator == "In"]
        denied = {value for one in some if one.operator == "NotIn" for value in one.values}
        if (absent and present) or (allowed and not set.intersection(*allowed) - denied):
            return False
    return True


# Ports.


def _cells(
    ports: tuple[PolicyPort, ...] | None, passing: Sequence[PlacedRule]
) -> Iterator[tuple[tuple[PolicyPort, ...] | None, tuple[PlacedRule, ...]]]:
    """The ports in parts, each with the rules that pass something of it; all of them where nobody passes any port."""
    passing = tuple(passing)
    yield ports, passing
    everything = tuple(one for one in passing if one.rule.ports is None)
    if len(everything) == len(passing):
        return
    cells: dict[tuple[PlacedRule, ...], list[PolicyPort]] = {}
    for port in [PolicyPort(protocol) for protocol in PROTOCOLS] if ports is None else ports:
        span = (port.first, port.last) if port.first else PORTS
        starts = {span[0]}
        for other in (other for one in passing for other in _numbered(one) if other.protocol == port.protocol):
            starts |= {other.first or PORTS[0], (other.last or PORTS[1]) + 1}
        edges = sorted(start for start in starts if span[0] <= start <= span[1])
        for first, after in zip(edges, [*edges[1:], span[1] + 1], strict=True):
            over = tuple(one for one in passing if one.rule.ports is None or _passes(one, port.protocol, first))
            if over != passing:
                cells.setdefault(over, []).append(_interval(port, first, after - 1))
    for over, some in cells.items():
        yield tuple(some), over


def _interval(port: PolicyPort, first: int, last: int) -> PolicyPort:
    """That part of the port; all of the protocol is said as such."""
    if (first, last) == PORTS:
        return PolicyPort(port.protocol, name=port.name)
    return PolicyPort(port.protocol, first, last, port.name)


def _numbered(placed: PlacedRule) -> list[PolicyPort]:
    return [port for port in placed.rule.ports or () if not port.name]


def _passes(placed: PlacedRule, protocol: str, number: int) -> bool:
    return any(
        port.protocol == protocol and (not port.first or port.first <= number <= port.last)
        for port in _numbered(placed)
    )


# Subjects and peers.


def _left(
    subject: PodPeers, peers: tuple[Peer, ...] | None, passing: Sequence[PlacedRule], cluster_networks: Networks
) -> Iterator[tuple[PodPeers, tuple[Part, ...] | None]]:
    """Subject × peers without those that pass: either the subject is not theirs, or the peer is not.

    Taken together by subject, since a policy has many rules and one subject.
    """
    everybody = tuple(Block(network) for network in EVERYWHERE)
    theirs: dict[PodPeers, list[Peer]] = {}
    for one in passing:
        theirs.setdefault(one.subject, []).extend(everybody if one.rule.peers is None else one.rule.peers)
    if not theirs:
        yield subject, None if peers is None else _parts(peers)
        return
    open_ends: list[tuple[PodPeers, tuple[Peer, ...]]] = [(subject, ())]
    for other, passed in theirs.items():
        following = []
        for some, taken in open_ends:
            rest = minus(some, other)
            following += [(one, taken) for one in rest]
            if rest != (some,):
                following.append((some, (*taken, *passed)))
        open_ends = following
        _bounded(open_ends)
    for some, taken in open_ends:
        left = _peers_left(everybody if peers is None else peers, taken, cluster_networks)
        if left:
            yield some, left


def _parts(peers: Iterable[Peer]) -> tuple[Part, ...]:
    """The peers as they are."""
    peers = tuple(peers)
    pods = tuple(one for one in peers if isinstance(one, PodPeers))
    nodes = tuple(one.nodes for one in peers if isinstance(one, NodePeers))
    networks = _networks(peers)
    return (
        *([Part(pods=pods)] if pods else ()),
        *([Part(nodes=nodes)] if nodes else ()),
        *([Part(within=networks)] if networks else ()),
    )


def _peers_left(peers: Sequence[Peer], taken: Sequence[Peer], cluster_networks: Networks) -> tuple[Part, ...]:
    """The peers without those that are taken."""
    if not taken:
        return _parts(peers)
    pods, nodes, networks = _kinds(peers)
    no_pods, no_nodes, no_networks = _kinds(taken)
    found = []
    if left := _minus_all(pods, no_pods):
        found.append(Part(pods=left, within=_outside(cluster_networks, no_networks)))
    if others := _nodes_without(nodes, no_nodes):
        found.append(Part(nodes=others, within=_outside(EVERYWHERE, no_networks)))
    rest = _subtract(networks, no_networks)
    if not no_pods:
        found.append(Part(within=rest, without=no_nodes))
    else:
        inside = _intersect(rest, cluster_networks)
        found.append(Part(within=_subtract(rest, cluster_networks), without=no_nodes))
        found.append(Part(own_ports=True, within=inside))
        if inside and (opposite := _minus_all((EVERY_POD,), no_pods)):
            found.append(Part(pods=opposite, within=inside))
    return tuple(part for part in found if part.within != ())


def _kinds(peers: Sequence[Peer]) -> tuple[tuple[PodPeers, ...], tuple[Selector, ...], Networks]:
    pods = tuple(dict.fromkeys(one for one in peers if isinstance(one, PodPeers)))
    nodes = tuple(dict.fromkeys(one.nodes for one in peers if isinstance(one, NodePeers)))
    return pods, nodes, _networks(peers)


def _networks(peers: Iterable[Peer]) -> Networks:
    by_family = acl_matches.blocks(one for one in peers if isinstance(one, Block))
    return tuple(network for family in sorted(by_family) for network in by_family[family])


def _minus_all(some: tuple[PodPeers, ...], others: Iterable[PodPeers]) -> tuple[PodPeers, ...]:
    for other in others:
        some = tuple(dict.fromkeys(left for one in some for left in minus(one, other)))
        _bounded(some)
    return some


def _nodes_without(some: tuple[Selector, ...], others: Iterable[Selector]) -> tuple[Selector, ...]:
    for other in others:
        some = tuple(
            dict.fromkeys(
                left for one in some for left in (without(one, other) if satisfiable(one + other) else (one,))
            )
        )
        _bounded(some)
    return some


def _outside(networks: Networks, taken: Networks) -> Networks | None:
    """The networks without those, or None where that is all of them."""
    left = _subtract(networks, taken)
    return None if left == _subtract(networks, ()) else left


def _subtract(networks: Networks, taken: Networks) -> Networks:
    blocks = []
    for network in networks:
        version = ip_network(network).version
        blocks.append(Block(network, tuple(one for one in taken if ip_network(one).version == version)))
    return _networks(blocks)


def _intersect(networks: Networks, others: Networks) -> Networks:
    pairs = [(ip_network(one), ip_network(other)) for one in networks for other in others]
    common = [pair for pair in pairs if pair[0].version == pair[1].version and pair[0].overlaps(pair[1])]
    return _networks(Block(str(max(pair, key=lambda network: network.prefixlen))) for pair in common)


def _bounded(some: Sequence[object]) -> None:
    if len(some) > PIECES_MAX:
        raise TooIntricate
