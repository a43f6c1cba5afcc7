"""Endpoints: which of a Service's endpoints a client gets, by the node and zone the client is on.

The rules are Kubernetes', as kube-proxy 1.36 has them (pkg/proxy/topology.go CategorizeEndpoints): ready endpoints;
where there is none, serving and terminating ones (KEP-1669); of these only the node's own where the traffic policy is
Local; else those that hints give to the client's node or zone, if every ready endpoint has such a hint and one of
them is for this client (KEP-2433, KEP-3015). Nothing here knows what a load balancer is.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ovnk.kube.service_objects import Endpoint, EndpointSlice, ServicePort
from ovnk.translate import addressing

# "10.244.1.3:8080" or "[fd00::3]:8080", sorted.
Targets = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """What clients get of one port: those on a node in `nodes` that, those in a zone of `zones` that, or `others`."""

    others: Targets = ()
    zones: Mapping[str, Targets] = field(default_factory=dict)
    nodes: Mapping[str, Targets] = field(default_factory=dict)

    @property
    def reach(self) -> str:
        """What the client's place must be known by: "node", "zone", or "cluster" where all get the same."""
        return "node" if self.nodes else "zone" if self.zones else "cluster"

    def at(self, node: str, zone: str) -> Targets:
        """What a client on that node, in that zone, gets; empty when it is to be refused."""
        return self.nodes[node] if node in self.nodes else self.zones.get(zone, self.others)


def choose(slices: Iterable[EndpointSlice], port: ServicePort, family: int, local: bool) -> Choice:
    """The choice for one port of a Service and one address family; `local` is internalTrafficPolicy Local.

    Linear in the endpoints of the Service.
    """
    candidates = _candidates(slices, port, family)
    ready = {target: one for target, one in candidates.items() if one.ready}
    leaving = {target: one for target, one in candidates.items() if one.serving and one.terminating}
    if local:
        return Choice(nodes={**_by_node(leaving), **_by_node(ready)})
    if not ready:
        return Choice(tuple(sorted(leaving)))
    return Choice(
        tuple(sorted(ready)),
        zones=_by_hint({target: one.zones for target, one in ready.items()}),
        nodes=_by_hint({target: one.nodes for target, one in ready.items()}),
    )


def _candidates(slices: Iterable[EndpointSlice], port: ServicePort, family: int) -> dict[str, Endpoint]:
    """Every endpoint of the port by where it is reached. Each slice has its own number for the port.

    One that several slices have (a slice may be about to give it to another) is as ready as the best of them says,
    and has the hints of all: no order of the slices may matter.
    """
    found: dict[str, Endpoint] = {}
    for one in slices:
        numbers = [number for name, protocol, number in one.ports if (name, protocol) == (port.name, port.protocol)]
        for endpoint in one.endpoints if numbers else ():
            if addressing.family(endpoint.address) != family:
                continue
            for number in numbers:
                target = addressing.socket(endpoint.address, number)
                known = found.get(target)
                found[target] = endpoint if known is None or known == endpoint else _merged(known, endpoint)
    return found


def _merged(one: Endpoint, other: Endpoint) -> Endpoint:
    leaving = (one.serving and one.terminating) or (other.serving and other.terminating)
    return Endpoint(
        address=one.address,
        ready=one.ready or other.ready,
        serving=leaving or one.serving or other.serving,
        terminating=leaving,
        node=max(one.node, other.node),
        zones=tuple(sorted({*one.zones, *other.zones})),
        nodes=tuple(sorted({*one.nodes, *other.nodes})),
    )


def _by_node(endpoints: Mapping[str, Endpoint]) -> dict[str, Targets]:
    return _grouped((endpoint.node, target) for target, endpoint in endpoints.items() if endpoint.node)


def _by_hint(hints: Mapping[str, tuple[str, ...]]) -> dict[str, Targets]:
    """Where hints lead; nowhere unless every endpoint has one, since the others would get no traffic at all."""
    if not all(hints.values()):
        return {}
    return _grouped((place, target) for target, places in hints.items() for place in places)


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, Targets]:
    places: dict[str, list[str]] = defaultdict(list)
    for place, target in pairs:
        places[place].append(target)
    return {place: tuple(sorted(targets)) for place, targets in places.items()}
