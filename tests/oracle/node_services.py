"""What a node must do with a packet to a Service, by Kubernetes' own words and by what OVN can and cannot do.

Shares no code with cni. Sources: kubernetes.io "Virtual IPs and Service Proxies", "Using Source IP" and the API
reference (externalIPs, loadBalancerSourceRanges); KEP-1138 (external traffic of clients within the cluster).
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from ovnk.kube.objects import Node
from ovnk.kube.service_objects import EndpointSlice, Service, ServicePort
from tests.oracle.nft import Outcome, Packet
from tests.oracle.services import Target, allowed


@dataclass(frozen=True, slots=True)
class World:
    """All that there is, and which node this is."""

    services: tuple[Service, ...]
    slices: tuple[EndpointSlice, ...]
    nodes: tuple[Node, ...]
    here: str
    pods: tuple[str, ...]
    node_port_networks: tuple[str, ...]

    @property
    def zone(self) -> str:
        return next((node.zone for node in self.nodes if node.name == self.here), "")


def fault(world: World, packet: Packet, outcomes: set[Outcome]) -> str:
    """What is wrong with these outcomes, "" if nothing is."""
    found = _asked(world, packet)
    kinds = {one.what for one in outcomes}
    if found is None:
        return "" if kinds == {"untouched"} else "no Service is asked"
    service, port, front = found
    if front == "ClusterIP":
        wanted = _usable(world, service, port, packet.version, service.internal_local)
        if not _beyond_ovn(world, wanted):
            return "" if kinds == {"untouched"} else "OVN balances it"
        return _led(outcomes, wanted, kept=False)
    if front == "load balancer" and service.source_ranges and not _in(packet.source, service.source_ranges):
        return "" if kinds == {"dropped"} else "the client is in no source range"
    everywhere = _usable(world, service, port, packet.version, local=False)
    if not everywhere:
        return "" if kinds == {"refused"} else "nobody can answer"
    within = _in(packet.source, world.pods) or packet.source in packet.own
    if service.external_local and not within:
        here = _usable(world, service, port, packet.version, local=True)
        if not here:
            return "" if kinds == {"dropped"} else "another node is to be tried"
        # A pod answers another node past this one, by way of OVN; so that one is seen as this.
        of_nodes = {address for node in world.nodes for address in node.addresses}
        return _led(outcomes, here, kept=packet.source not in of_nodes)
    if outcomes == {Outcome("translated", (_vip(service, packet.version), port.port), masqueraded=True)}:
        # OVN goes by the ClusterIP's policy, and sees this node as its client.
        balanced = _usable(world, service, port, packet.version, service.internal_local)
        if balanced != everywhere:
            return f"the ClusterIP leads to {balanced}, not to {everywhere}"
        if service.affinity_s:
            return "OVN takes all clients for one"
        return "OVN cannot lead to it" if _beyond_ovn(world, balanced) else ""
    return _led(outcomes, everywhere, kept=False)


def _asked(world: World, packet: Packet) -> tuple[Service, ServicePort, str] | None:
    """The Service and its port, and by what it is asked."""
    claims = []
    for service in world.services:
        for port in service.ports:
            if port.protocol.lower() != packet.protocol or not _vip(service, packet.version):
                continue
            if packet.to in service.cluster_ips and port.port == packet.port:
                return service, port, "ClusterIP"
            if packet.to in (*service.external_ips, *service.load_balancer_ips) and port.port == packet.port:
                front = "load balancer" if packet.to in service.load_balancer_ips else "external IP"
                claims.append((service.created, service.uid, service.key, service, port, front))
    if claims:
        *_, service, port, front = min(claims, key=lambda claim: claim[:3])
        return service, port, front
    networks = tuple(one for one in world.node_port_networks if (":" in one) == (packet.version == 6))
    if packet.to not in packet.own or packet.to == "::1" or (networks and not _in(packet.to, networks)):
        return None
    for service in world.services:
        for port in service.ports:
            if port.node_port == packet.port and port.protocol.lower() == packet.protocol:
                return (service, port, "node port") if _vip(service, packet.version) else None
    return None


def _usable(world: World, service: Service, port: ServicePort, version: int, local: bool) -> set[Target]:
    asked = msgspec.structs.replace(service, internal_local=local)
    found = allowed(asked, world.slices, world.here, world.zone)
    return found[_vip(service, version), port.protocol, port.port]


def _led(outcomes: set[Outcome], wanted: set[Target], kept: bool) -> str:
    """To each of these endpoints and to no other, with the client's address or without."""
    if {one.what for one in outcomes} != {"translated"} or {one.to for one in outcomes} != wanted:
        return f"it is to be led to {sorted(wanted)}"
    if any(one.masqueraded is kept for one in outcomes):
        return "the client's address is to be kept" if kept else "the answer would not pass this node"
    return ""


def _beyond_ovn(world: World, targets: Iterable[Target]) -> bool:
    """OVN knows pods and other nodes; it would send the node's own traffic back to it, and knows nobody else."""
    others = {address for node in world.nodes if node.name != world.here for address in node.addresses}
    return any(not _in(address, world.pods) and address not in others for address, _ in targets)


def _vip(service: Service, version: int) -> str:
    return next((ip for ip in service.cluster_ips if (":" in ip) == (version == 6)), "")


def _in(address: str, cidrs: Iterable[str]) -> bool:
    return any(ipaddress.ip_address(address) in ipaddress.ip_network(cidr) for cidr in cidrs)
