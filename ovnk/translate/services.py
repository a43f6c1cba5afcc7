"""Services: a Load_Balancer for each Service and protocol, on every switch that clients are on.

    switch node-1 ─▶ group "ovnk-services" ──────────▶ shop/web:tcp                the same for everybody
                 ─▶ group "ovnk-services@zone:eu-1" ─▶ shop/near:tcp@zone:eu-1     topology hints: a row a zone
                 ─▶ its own load_balancer ───────────▶ shop/log:tcp@node:node-1    its own endpoints: a row a node
                                                       shop/log:tcp@elsewhere:     … and one for all the others

The vips are ClusterIPs alone. What comes to a node port, an external IP or a load balancer's address is sent to the
ClusterIP by the node's own nftables, where the node's NIC is; OVN balances it as it enters through ovnk0. Endpoints in
the host's network and addresses outside the cluster are endpoints as any others here.

sessionAffinity is OVN's affinity_timeout (since 22.12), of a client on one switch, which is where a pod and a node are.
Its flows drop the packet from which they learn; the node's agent puts that right (cni/affinity.py).

One Service's change touches one Service's rows. Each vip is in exactly one row that a switch refers to. Linear in the
endpoints of the Service and, where clients get different ones by node, in the nodes.
"""

from collections.abc import Iterator
from itertools import groupby

from ovnk.incremental.graph import View
from ovnk.kube.service_objects import EndpointSlice, Service
from ovnk.northbound.facts import Fact, Member, Ref, row
from ovnk.translate import addressing, names
from ovnk.translate.endpoints import Choice, Targets, choose
from ovnk.translate.values import EVERYWHERE, Place, Zone

# ovn-nb(5), Load_Balancer options:affinity_timeout; Kubernetes allows a day.
_AFFINITY_S_MAX = 65535

# vip → what a client gets there
Vips = dict[str, Choice]


def load_balancer(view: View, service: Service) -> Iterator[Fact]:
    """The rows of the Service, and which switches they are on. Nothing for one without ClusterIP."""
    if not service.cluster_ips:
        return
    slices = tuple(view.by(EndpointSlice, "service", service.key))
    by_protocol = sorted(service.ports, key=lambda port: port.protocol)
    for protocol, ports in groupby(by_protocol, key=lambda port: port.protocol):
        vips = {
            addressing.socket(address, port.port): choose(
                slices, port, addressing.family(address), service.internal_local
            )
            for port in ports
            for address in service.cluster_ips
        }
        by_reach = {
            reach: {vip: choice for vip, choice in vips.items() if choice.reach == reach}
            for reach in ("cluster", "zone", "node")
        }
        yield from _everywhere(service, protocol, by_reach["cluster"])
        yield from _by_zone(view, service, protocol, by_reach["zone"])
        yield from _by_node(view, service, protocol, by_reach["node"])


def _everywhere(service: Service, protocol: str, vips: Vips) -> Iterator[Fact]:
    if vips:
        key = names.load_balancer(service.key, protocol)
        yield _row(service, protocol, key, {vip: choice.others for vip, choice in vips.items()})
        yield Member("Load_Balancer_Group", names.SERVICE_GROUP, "load_balancer", Ref("Load_Balancer", key))


def _by_zone(view: View, service: Service, protocol: str, vips: Vips) -> Iterator[Fact]:
    for zone in view.by(Zone, EVERYWHERE, True) if vips else ():
        key = names.load_balancer(service.key, protocol, names.in_zone(zone.name))
        yield _row(service, protocol, key, {vip: choice.at("", zone.name) for vip, choice in vips.items()})
        yield Member("Load_Balancer_Group", names.zone_group(zone.name), "load_balancer", Ref("Load_Balancer", key))


def _by_node(view: View, service: Service, protocol: str, vips: Vips) -> Iterator[Fact]:
    """A row for each node that has endpoints of its own, and one for the others (of each zone, where zones matter)."""
    own = {node for choice in vips.values() for node in choice.nodes}
    zones = {zone for choice in vips.values() for zone in choice.zones}
    for place in view.by(Place, EVERYWHERE, True) if vips else ():
        where = names.on_node(place.node)
        if place.node not in own:
            where = names.elsewhere(place.zone if place.zone in zones else "")
        key = names.load_balancer(service.key, protocol, where)
        yield _row(service, protocol, key, {vip: choice.at(place.node, place.zone) for vip, choice in vips.items()})
        yield Member("Logical_Switch", names.node_switch(place.node), "load_balancer", Ref("Load_Balancer", key))


def _row(service: Service, protocol: str, key: str, vips: dict[str, Targets]) -> Fact:
    options = {
        # A vip without endpoints answers at once: a TCP reset, else ICMP port unreachable.
        "reject": "true",
        # For routers; a switch answers for no vip, which is always behind the router's own address.
        "neighbor_responder": "none",
    }
    if protocol == "UDP":
        # A client that goes on sending from its port would stay with an endpoint that is gone. TCP is not flushed:
        # a connection may finish with an endpoint that is terminating, as with kube-proxy (pkg/proxy/conntrack).
        options["ct_flush"] = "true"
    if service.affinity_s:
        options["affinity_timeout"] = str(min(service.affinity_s, _AFFINITY_S_MAX))
    return row(
        "Load_Balancer",
        key,
        names.owner("Service", service.key),
        "services.load_balancer",
        name=key,
        protocol=protocol.lower(),
        vips={vip: ",".join(targets) for vip, targets in vips.items()},
        options=options,
    )
