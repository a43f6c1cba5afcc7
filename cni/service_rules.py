"""What this node does with traffic to services: pure functions, a Service and what it reads → facts of the table.

Traffic to a ClusterIP, from this node too, is OVN's business; it enters through ovnk0. Left for the node:

    node port, external IP, load balancer's address   DNAT to the ClusterIP, masqueraded; OVN balances
    … with externalTrafficPolicy Local                from outside: DNAT to an endpoint here, client's address kept;
                                                      from a pod or this node: as without the policy (kube-proxy)
    a ClusterIP with an endpoint on this node's own   DNAT to an endpoint itself: OVN would send the packet back with
    address, or outside the cluster                   this node's address as its source, which the kernel refuses

Where the ClusterIP would not do what external traffic needs (such an endpoint; internalTrafficPolicy Local; affinity,
since OVN would see one client for all of the world), external traffic goes to an endpoint itself too.

Which endpoints a client gets is chosen by the function that OVN's balancers are made with.
"""

from collections.abc import Iterator

from cni.service_chains import MARK, Place, Targets, balance, concatenated, split
from cni.service_table import HERE, IP, REFUSE, Chain, Element, Fact, Here, family, within
from cni.settings import merged
from ovnk.incremental.graph import View
from ovnk.kube.objects import Node
from ovnk.kube.service_objects import EndpointSlice, Service
from ovnk.translate import addressing, endpoints

# (address, protocol, port)
Claim = tuple[str, str, int]


def claims(service: Service) -> set[Claim]:
    """The sockets outside the cluster that the Service wants; of several Services the oldest has one.

    Of a family in which it has no ClusterIP it can serve none.
    """
    families = {family(ip) for ip in service.cluster_ips}
    addresses = [one for one in (*service.external_ips, *service.load_balancer_ips) if family(one) in families]
    return {(address, port.protocol, port.port) for address in addresses for port in service.ports}


def service(view: View, one: Service) -> Iterator[Fact]:
    """All that the Service causes in the table; nothing for one without ClusterIP, or before the node is known."""
    here = view.get(Here, HERE)
    if here is None or not one.cluster_ips:
        return
    slices = tuple(view.by(EndpointSlice, "service", one.key))
    for cluster_ip in one.cluster_ips:
        for port in one.ports:
            yield from _port(view, here, slices, Place(one, port, family(cluster_ip)), cluster_ip)


def _port(view: View, here: Here, slices: tuple[EndpointSlice, ...], place: Place, cluster_ip: str) -> Iterator[Fact]:
    one, port = place.service, place.port
    node = view.get(Node, here.node)
    zone = node.zone if node else ""

    def chosen(local: bool) -> Targets:
        return endpoints.choose(slices, port, place.family, local).at(here.node, zone)

    everywhere = chosen(local=False)
    inside = chosen(local=True) if one.internal_local else everywhere
    outward = tuple(_outward(view, place))
    exposed = bool(port.node_port or outward)
    unbalanced = _beyond_ovn(view, here, inside)
    direct = exposed and (one.internal_local or one.affinity_s > 0 or _beyond_ovn(view, here, everywhere))

    if unbalanced:
        kind = "internal" if one.internal_local else "cluster"
        yield _element("address", place, (cluster_ip,), port.port, f"goto {place.name(kind)}")
        if one.internal_local:
            yield from balance(place, "internal", (MARK,), inside)
    if everywhere and (direct or (unbalanced and not one.internal_local)):
        yield from balance(place, "cluster", (MARK,), everywhere)
    if exposed:
        local = chosen(local=True) if one.external_local else None
        yield from _exposed(place, outward, _way(place, cluster_ip, everywhere, direct), local)


def _way(place: Place, cluster_ip: str, everywhere: Targets, direct: bool) -> str:
    """The statement for external traffic that may go to any endpoint."""
    if not everywhere:
        return REFUSE
    if direct:
        return f"goto {place.name('cluster')}"
    return place.translate(addressing.socket(cluster_ip, place.port.port))


def _exposed(place: Place, outward: tuple[str, ...], way: str, local: Targets | None) -> Iterator[Fact]:
    """Node port, external IPs and load balancer's addresses; `local` are this node's endpoints, if only they count.

    A service without any endpoint is refused, one that has some elsewhere is dropped: the sender of a load balancer
    that does not look at the health check yet shall try another node (kube-proxy's externalTrafficPolicy Local).
    """
    one, port = place.service, place.port
    if local is not None and way != REFUSE:
        insiders = (f"{IP[place.family]} saddr @pods{place.family} {way}", f"fib saddr type local {way}")
        yield from balance(place, "local", insiders, local, _value(place, way))
        way = f"goto {place.name('local')}"
    if port.node_port:
        yield _element("node_port", place, (), port.node_port, way)
    restricted = [address for address in outward if one.source_ranges and address in one.load_balancer_ips]
    if restricted:
        leads = frozenset({_value(place, way)})
        yield Chain(place.name("allowed"), (*_not_allowed(place), way), leads=leads)
    for address in outward:
        to = f"goto {place.name('allowed')}" if address in restricted else way
        yield _element("address", place, (address,), port.port, to)


def _element(what: str, place: Place, address: tuple[str, ...], port: int, way: str) -> Element:
    """The socket's element: in the map of verdicts, or in that of ClusterIPs where it simply leads to one."""
    value = _value(place, way)
    maps = {"address": "addresses", "node_port": "node_ports"}[what] if value != way else f"{what}_chains"
    return Element(f"{maps}{place.family}", (*address, place.protocol, str(port)), value)


def _value(place: Place, way: str) -> str:
    """The statement as an element's value: "10.96.0.10 . 80" if it translates, else itself."""
    prefix = place.translate("")
    return concatenated(way.removeprefix(prefix)) if way.startswith(prefix) else way


def _not_allowed(place: Place) -> tuple[str, ...]:
    """loadBalancerSourceRanges: who is in none of them is dropped, and so is a family of which there is none."""
    cidrs = [cidr for cidr in merged(place.service.source_ranges) if family(cidr) == place.family]
    if not cidrs:
        return ("drop",)
    return (f"{IP[place.family]} saddr != {{ {', '.join(cidrs)} }} drop",)


def _outward(view: View, place: Place) -> Iterator[str]:
    """The external addresses of the family that no older Service has with this port.

    That one has it is told with an Event (ovnk.translate.service_notices), by the same rule.
    """
    one = place.service
    for address in sorted({*one.external_ips, *one.load_balancer_ips}):
        if family(address) == place.family:
            claim = (address, place.port.protocol, place.port.port)
            if all(_age(one) <= _age(rival) for rival in view.by(Service, "claim", claim)):
                yield address


def _age(one: Service) -> tuple[str, str, str]:
    return one.created, one.uid, one.key


def _beyond_ovn(view: View, here: Here, targets: Targets) -> bool:
    """Whether one of them is to be reached by this host and not through OVN: neither a pod's nor another node's."""
    for target in targets:
        address, _ = split(target)
        if within(address, here.pods):
            continue
        owners = [node.name for node in view.by(Node, "address", address)]
        if not owners or here.node in owners:
            return True
    return False
