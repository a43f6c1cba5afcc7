"""What ACLs match, as OVN expressions (ovn-sb(5), Logical_Flow match): subjects, peers and ports. Text only."""

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network, summarize_address_range

from ovnk.kube.policy_objects import Block, PolicyPort
from ovnk.translate import names

# The first and the last address of a network, or of several on end, as numbers.
_Span = tuple[int, int]

# direction of the policy → (ACL direction, the subject's side of the packet, the peers' side)
SIDES = {"ingress": ("to-lport", "outport", "src"), "egress": ("from-lport", "inport", "dst")}

# The protocol of a port that stands for all protocols that policies have no name for, and which of them are in use:
# ICMP, IGMP, IP and IPv6 in IP, GRE, ESP, AH, OSPF, PIM, VRRP. "Nominal predicate tcp may only be tested positively",
# says OVN 23.03 to "!tcp", and makes no flow; all 253 others would be as many times the flows of one.
OTHER = "OTHER"
OTHER_PROTOCOLS = ("icmp4", "icmp6", "ip.proto == {2, 4, 41, 47, 50, 51, 89, 103, 112}")


def subject(direction: str, group: str) -> str:
    """The packet is to (ingress) or from (egress) a port of the group.

    Of one group: ovn-controller passes a whole match over where a group that it names has no port on the switch.
    """
    return f"{SIDES[direction][1]} == @{group}"


def peers(direction: str, families: Iterable[int], groups: Sequence[str], sets: Sequence[str]) -> str:
    """The other side is in one of the port groups, or in one of the address sets (named without family)."""
    side = SIDES[direction][2]
    parts = []
    for family in families:
        members = [f"${group}_ip{family}" for group in groups] + [f"${names.address_set(one, family)}" for one in sets]
        if members:
            parts.append(f"ip{family}.{side} == {{{', '.join(members)}}}")
    return " || ".join(parts)


def ports(wanted: Iterable[PolicyPort]) -> str:
    """Any of the ports that have numbers, or whole protocols: "tcp && tcp.dst == {80, 443} || udp"."""
    by_protocol: dict[str, list[PolicyPort]] = {}
    for port in wanted:
        by_protocol.setdefault(port.protocol.lower(), []).append(port)
    parts = list(OTHER_PROTOCOLS) if by_protocol.pop(OTHER.lower(), ()) else []
    for protocol, some in sorted(by_protocol.items()):
        if any(not port.first for port in some):
            parts.append(protocol)
            continue
        single = sorted({port.first for port in some if port.first == port.last})
        if single:
            parts.append(f"{protocol}.dst == {{{', '.join(map(str, single))}}}")
        ranges = sorted({(port.first, port.last) for port in some if port.first < port.last})
        parts += [f"({protocol}.dst >= {first} && {protocol}.dst <= {last})" for first, last in ranges]
    return " || ".join(parts)


def in_set(direction: str, family: int, address_set: str) -> str:
    """The other side is in the Address_Set."""
    return f"ip{family}.{SIDES[direction][2]} == ${address_set}"


def port(protocol: str, number: int) -> str:
    """One port."""
    return f"{protocol.lower()}.dst == {number}"


def both(*conditions: str) -> str:
    """All of them; empty ones say nothing."""
    stated = [condition for condition in conditions if condition]
    if len(stated) == 1:
        return stated[0]
    return " && ".join(f"({condition})" if " || " in condition else condition for condition in stated)


def either(*conditions: str) -> str:
    """Any of them; "" for none. Empty ones say nothing."""
    stated = [condition for condition in conditions if condition]
    if len(stated) == 1:
        return stated[0]
    return " || ".join(f"({condition})" if " && " in condition else condition for condition in stated)


def blocks(given: Iterable[Block]) -> dict[int, tuple[str, ...]]:
    """The networks that make up the blocks, without what each excepts, by family; as few as they can be.

    By arithmetic on their ends: as quick for thousands of them, or of excepts in one, as sorting is.
    """
    spans: dict[int, list[_Span]] = {4: [], 6: []}
    for block in given:
        network = ip_network(block.cidr)
        spans[network.version] += _gaps(_span(network), sorted(_span(ip_network(one)) for one in block.excepts))
    return {family: tuple(_networks(family, sorted(some))) for family, some in spans.items() if some}


def _span(network: IPv4Network | IPv6Network) -> _Span:
    return int(network.network_address), int(network.broadcast_address)


def _gaps(span: _Span, taken: Iterable[_Span]) -> Iterator[_Span]:
    """What is left of the span without those, which are sorted."""
    first, last = span
    for begin, end in taken:
        if first < begin:
            yield first, min(begin - 1, last)
        first = max(first, end + 1)
        if first > last:
            return
    yield first, last


def _networks(family: int, spans: Iterable[_Span]) -> Iterator[str]:
    """The fewest networks that cover the spans, which are sorted."""
    address = IPv4Address if family == 4 else IPv6Address
    joined: list[_Span] = []
    for first, last in spans:
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = joined[-1][0], max(last, joined[-1][1])
        else:
            joined.append((first, last))
    for first, last in joined:
        yield from map(str, summarize_address_range(address(first), address(last)))
