"""Chains that send to endpoints themselves, for the few services that OVN cannot balance from here.

With sessionAffinity each endpoint has a chain and a set of its own, and a client that is in a set goes there again:

    cluster4/shop/web/tcp/80   ip saddr @affinity4/…/10.244.1.3/8080 goto endpoint4/…/10.244.1.3/8080   (one each)
                               numgen random mod 2 vmap { 0 : goto endpoint4/…, 1 : goto endpoint4/… }
    endpoint4/…/8080           update @affinity4/… { ip saddr }; dnat ip to 10.244.1.3:8080

so that an endpoint that goes takes its memory along, and the others keep theirs. Linear in the service's endpoints.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from cni.service_table import IP, MASQUERADE, Chain, Fact, Memory
from ovnk.kube.service_objects import Service, ServicePort

# "10.244.1.3:8080" or "[fd00::3]:8080", as ovnk.translate.endpoints chooses them.
Targets = tuple[str, ...]

MARK = f"meta mark set meta mark | {MASQUERADE:#x}"


@dataclass(frozen=True, slots=True)
class Place:
    """One port of one service in one address family: what its chains are named after."""

    service: Service
    port: ServicePort
    family: int

    @property
    def protocol(self) -> str:
        """The protocol as nft names it."""
        return self.port.protocol.lower()

    def name(self, kind: str) -> str:
        """The name of this port's chain (or set) of that kind: "local4/shop/web/tcp/80"."""
        return f"{kind}{self.family}/{self.service.key}/{self.protocol}/{self.port.port}"

    def translate(self, target: str) -> str:
        """The statement that sends a packet to "10.96.0.10:80"."""
        return f"meta l4proto {self.protocol} dnat {IP[self.family]} to {target}"


def split(target: str) -> tuple[str, int]:
    """("10.244.1.3", 8080) of "10.244.1.3:8080"."""
    address, _, port = target.rpartition(":")
    return address.strip("[]"), int(port)


def concatenated(target: str) -> str:
    """The target as a map holds it: "10.244.1.3 . 8080"."""
    address, port = split(target)
    return f"{address} . {port}"


def balance(place: Place, kind: str, before: tuple[str, ...], targets: Targets, *ways: str) -> Iterator[Fact]:
    """The chain of that kind: the rules `before`, then one of `targets` at random, or drop if there is none.

    `ways` is where the rules `before` lead, each as an element's value.
    """
    rules = before + (_remembered(place, kind, targets) if place.service.affinity_s else _random(place, targets))
    yield Chain(place.name(kind), rules, leads=frozenset((*ways, *map(concatenated, targets))))
    if place.service.affinity_s:
        yield from _endpoints(place, kind, targets)


def _random(place: Place, targets: Targets) -> tuple[str, ...]:
    if not targets:
        return ("drop",)
    if len(targets) == 1:
        return (place.translate(targets[0]),)
    elements = ", ".join(f"{number} : {concatenated(target)}" for number, target in enumerate(targets))
    return (place.translate(f"numgen random mod {len(targets)} map {{ {elements} }}"),)


def _remembered(place: Place, kind: str, targets: Targets) -> tuple[str, ...]:
    if not targets:
        return ("drop",)
    source = f"{IP[place.family]} saddr"
    again = tuple(
        f"{source} @{_memory(place, kind, target)} goto {_endpoint(place, kind, target)}" for target in targets
    )
    elements = ", ".join(f"{number} : goto {_endpoint(place, kind, target)}" for number, target in enumerate(targets))
    return (*again, f"numgen random mod {len(targets)} vmap {{ {elements} }}")


def _endpoints(place: Place, kind: str, targets: Targets) -> Iterator[Fact]:
    for target in targets:
        memory = Memory(_memory(place, kind, target), place.family, place.service.affinity_s)
        yield memory
        yield Chain(
            _endpoint(place, kind, target),
            (f"update @{memory.name} {{ {IP[place.family]} saddr }}", place.translate(target)),
        )


def _endpoint(place: Place, kind: str, target: str) -> str:
    return f"{place.name(f'{kind}-endpoint')}/{_plain(target)}"


def _memory(place: Place, kind: str, target: str) -> str:
    """The time is in the name: a set's own cannot be changed, so another time is another set."""
    return f"{place.name(f'{kind}-affinity')}/{_plain(target)}/{place.service.affinity_s}"


def _plain(target: str) -> str:
    """The target as part of a name, in which nft takes no colon: "fd00__3/8080"."""
    address, port = split(target)
    return f"{address.replace(':', '_')}/{port}"
