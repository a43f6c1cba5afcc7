"""What nftables would do with the first packet of a connection, for the few forms of rules that nodes have (nft(8)).

It reads the rules as text, and stops at any form it does not know, so that no rule is passed over. Chance is followed
both ways: the answer is every outcome there may be.
"""

import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cni.service_table import Chain, Element, Fact

MARK = "marked"


@dataclass(frozen=True, slots=True)
class Packet:
    """`own` are the node's own addresses, `remembered` names of sets that the client is in."""

    source: str
    to: str
    protocol: str
    port: int
    own: frozenset[str]
    remembered: frozenset[str] = frozenset()

    @property
    def version(self) -> int:
        return 6 if ":" in self.to else 4


@dataclass(frozen=True, slots=True)
class Outcome:
    """ "translated" to (address, port), and masqueraded or not (None where it stays on the node); or "refused",
    "dropped", "untouched"."""

    what: str
    to: tuple[str, int] = ("", 0)
    masqueraded: bool | None = None


class Machine:
    """The table in a kernel."""

    def __init__(self, facts: Iterable[Fact]) -> None:
        self._chains: dict[str, tuple[str, ...]] = {}
        self._sets: dict[str, dict[tuple[str, ...], str]] = {}
        for fact in facts:
            if isinstance(fact, Chain):
                self._chains[fact.name] = fact.rules
            elif isinstance(fact, Element):
                self._sets.setdefault(fact.set, {})[fact.key] = fact.value

    def outcomes(self, packet: Packet, base: str) -> set[Outcome]:
        """All that may become of the packet that enters at a base chain, "prerouting" or "output"."""
        return {self._concluded(packet, verdict, mark) for verdict, mark in self._chain(packet, base, False)}

    def _concluded(self, packet: Packet, verdict: str, mark: bool) -> Outcome:
        if verdict in ("drop", "refuse"):
            return Outcome({"drop": "dropped", "refuse": "refused"}[verdict])
        if not verdict:
            return Outcome("untouched")
        address, port = verdict.split(" . ")
        if address in packet.own:
            return Outcome("translated", (address, int(port)))
        within = self._in(address, f"pods{packet.version}") or self._in(address, f"services{packet.version}")
        out = "ovnk0" if within else "eth0"
        masqueraded = any(self._masquerades(packet, rule, address, out, mark) for rule in self._chains["postrouting"])
        return Outcome("translated", (address, int(port)), masqueraded)

    def _masquerades(self, packet: Packet, rule: str, to: str, out: str, mark: bool) -> bool:
        if rule == 'oifname "lo" return':
            return False
        if rule == "meta mark & 0x4000 != 0 meta mark set meta mark ^ 0x4000 masquerade fully-random":
            return mark
        found = re.fullmatch(r'oifname "(\S+)" ct status dnat (ip6?) ([sd])addr (\S+) masquerade fully-random', rule)
        assert found, rule
        name, ip, end, where = found.groups()
        address = packet.source if end == "s" else to
        if name != out or packet.version != {"ip": 4, "ip6": 6}[ip]:
            return False
        return self._in(address, where[1:]) if where[0] == "@" else _within(address, where)

    def _chain(self, packet: Packet, name: str, mark: bool) -> Iterator[tuple[str, bool]]:
        """(verdict, mark) of each way through the chain; "" where it ends without one."""
        if name == "refuse":
            yield "refuse", mark
            return
        open_marks = {mark}
        for rule in self._chains[name]:
            further: set[bool] = set()
            for held in open_marks:
                for verdict, after in self._rule(packet, rule, held):
                    if verdict == "next":
                        further.add(after)
                    else:
                        yield "" if verdict == "return" else verdict, after
            open_marks = further
        for held in open_marks:
            yield "", held

    def _rule(self, packet: Packet, rule: str, mark: bool) -> Iterator[tuple[str, bool]]:
        """As of the chain, but "next" where the chain goes on."""
        while (rest := self._condition(packet, rule)) is not None:
            if not rest:
                yield "next", mark
                return
            rule = rest
        yield from self._statement(packet, rule, mark)

    def _condition(self, packet: Packet, rule: str) -> str | None:
        """The rule without its first condition if that is met, "" if it is not; None if there is none."""
        version, source, to = packet.version, packet.source, packet.to
        tests = (
            (
                r"(ip6?) ([sd])addr @(\S+) ",
                lambda ip, end, name: _ip(ip) == version and self._member(packet, end, name),
            ),
            (
                r"(ip6?) ([sd])addr != \{ ([^}]+) \} ",
                lambda ip, end, listed: (
                    _ip(ip) == version
                    and not any(_within(source if end == "s" else to, one) for one in listed.split(", "))
                ),
            ),
            (r"ip6 daddr ::1 ", lambda: to == "::1"),
            (r"fib ([sd])addr type local ", lambda end: (source if end == "s" else to) in packet.own),
            (r"meta nfproto ipv([46]) ", lambda number: int(number) == version),
            (r"meta l4proto (tcp|udp|sctp) ", lambda protocol: protocol == packet.protocol),
        )
        for pattern, holds in tests:
            if found := re.match(pattern, rule):
                return rule[found.end() :] if holds(*found.groups()) else ""
        return None

    def _statement(self, packet: Packet, rule: str, mark: bool) -> Iterator[tuple[str, bool]]:
        socket = (packet.protocol, str(packet.port))
        if rule == "meta mark set meta mark | 0x4000":
            yield "next", True
        elif rule.startswith("update @"):
            yield "next", mark
        elif rule in ("drop", "return"):
            yield rule, mark
        elif found := re.fullmatch(r"(goto|jump) (\S+)", rule):
            yield from self._go(packet, rule, mark)
        elif found := re.fullmatch(r"(?:(ip6?) daddr \. )?meta l4proto \. th dport vmap @(\S+)", rule):
            ip, name = found.groups()
            way = self._looked_up(packet, ip, name, socket)
            yield from self._go(packet, way, mark) if way else [("next", mark)]
        elif found := re.fullmatch(r"dnat (ip6?) to (?:(ip6?) daddr \. )?meta l4proto \. th dport map @(\S+)", rule):
            family, ip, name = found.groups()
            way = self._looked_up(packet, ip, name, socket) if _ip(family) == packet.version else ""
            yield (way or "next"), mark
        elif found := re.fullmatch(r"dnat ip6? to numgen random mod (\d+) map \{ (.+) \}", rule):
            for way in _numbered(*found.groups()):
                yield way, mark
        elif found := re.fullmatch(r"numgen random mod (\d+) vmap \{ (.+) \}", rule):
            for way in _numbered(*found.groups()):
                yield from self._go(packet, way, mark)
        elif found := re.fullmatch(r"dnat ip6? to \[?([0-9a-f.:]+?)\]?:(\d+)", rule):
            yield " . ".join(found.groups()), mark
        else:
            raise AssertionError(f"a rule in a form that is not known: {rule}")

    def _go(self, packet: Packet, way: str, mark: bool) -> Iterator[tuple[str, bool]]:
        """A verdict; a chain that is jumped to and ends without one leads back."""
        if way == "drop":
            yield "drop", mark
            return
        verb, _, name = way.partition(" ")
        for verdict, after in self._chain(packet, name, mark):
            yield ("next" if not verdict and verb == "jump" else verdict), after

    def _looked_up(self, packet: Packet, ip: str | None, name: str, socket: tuple[str, str]) -> str:
        if ip and _ip(ip) != packet.version:
            return ""
        return self._sets.get(name, {}).get((packet.to, *socket) if ip else socket, "")

    def _member(self, packet: Packet, end: str, name: str) -> bool:
        return name in packet.remembered or self._in(packet.source if end == "s" else packet.to, name)

    def _in(self, address: str, name: str) -> bool:
        return any(_within(address, one) for (one,) in self._sets.get(name, ()))


def _ip(word: str) -> int:
    return {"ip": 4, "ip6": 6}[word]


def _within(address: str, cidr: str) -> bool:
    return ipaddress.ip_address(address) in ipaddress.ip_network(cidr)


def _numbered(count: str, listed: str) -> list[str]:
    pairs = [one.split(" : ") for one in listed.split(", ")]
    assert [int(number) for number, _ in pairs] == list(range(int(count))), "a number without an element is a hole"
    return [way for _, way in pairs]
