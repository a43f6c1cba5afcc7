"""What Services' owners should be told, with an Event: what cannot be balanced, and what two both claim.

None of it withdraws anything; what is done instead is in the message.
"""

from collections.abc import Iterator

from ovnk.incremental.graph import View
from ovnk.kube.objects import Notice
from ovnk.kube.service_objects import EndpointSlice, Service
from ovnk.translate import addressing
from ovnk.translate.values import CLUSTER, EVERYWHERE, Cluster, NodeSubnets, SubnetSize

# (address, protocol, port) from outside the cluster
Claim = tuple[str, str, int]
# So many addresses are named in a message.
NAMED_MOST = 5


def claims(service: Service) -> set[Claim]:
    """The external sockets that the Service wants for itself: its externalIPs and load balancer addresses.

    None of a family in which it has no ClusterIP, since it cannot serve them.
    """
    families = {addressing.family(ip) for ip in service.cluster_ips}
    addresses = {ip for ip in (*service.external_ips, *service.load_balancer_ips) if addressing.family(ip) in families}
    return {(address, port.protocol, port.port) for address in addresses for port in service.ports}


def overlap(view: View, service: Service) -> Iterator[Notice]:
    """An external socket that an older Service has already; of one age, the one with the lesser UID has it."""
    taken: dict[str, list[str]] = {}
    for claim in sorted(claims(service)):
        rivals = [one for one in view.by(Service, "claim", claim) if _age(one) < _age(service)]
        if rivals:
            address, protocol, port = claim
            owner = min(rivals, key=_age).key
            taken.setdefault(owner, []).append(f"{addressing.socket(address, port)} {protocol}")
    for owner, sockets in taken.items():
        message = (
            f'{", ".join(sockets)} is Service "{owner}"\'s already and leads there; give this Service another address '
            "or port, or delete the other one"
        )
        yield Notice("Service", service.key, "ExternalAddressTaken", message, service.uid)


def endpoints(view: View, one: EndpointSlice) -> Iterator[Notice]:
    """Endpoints to which nobody can be led: names, and ready ones in the pods' network that no node has.

    Addresses outside of the cluster's networks are anybody's, and fine.
    """
    if not one.service:
        return
    if one.fqdn:
        message = (
            "addressType FQDN: names are not looked up by a load balancer, so the slice's endpoints are left out; "
            "use an ExternalName Service, or a slice of addresses"
        )
        yield Notice("EndpointSlice", one.key, "EndpointsLeftOut", message, one.uid)
    elif lost := [each.address for each in one.endpoints if each.ready and _is_nowhere(view, each.address)]:
        more = f" and {len(lost) - NAMED_MOST} more" if len(lost) > NAMED_MOST else ""
        message = (
            f"{', '.join(lost[:NAMED_MOST])}{more}: in the pods' network, but in no node's part of it, so that nothing "
            "answers there; correct the endpoints, or delete the slice"
        )
        yield Notice("EndpointSlice", one.key, "EndpointsNowhere", message, one.uid)


def subnet_sizes(_view: View, subnets: NodeSubnets) -> Iterator[SubnetSize]:
    """The sizes of a node's subnets."""
    for part in subnets.ranges:
        yield SubnetSize(addressing.family(part.cidr), int(part.cidr.rpartition("/")[2]))


def _is_nowhere(view: View, address: str) -> bool:
    cluster = view.get(Cluster, CLUSTER)
    family = addressing.family(address)
    networks = [cidr for cidr in cluster.cluster_cidrs if addressing.family(cidr) == family] if cluster else []
    if not any(addressing.within(address, int(cidr.rpartition("/")[2])) == cidr for cidr in networks):
        return False
    sizes = [size.length for size in view.by(SubnetSize, EVERYWHERE, True) if size.family == family]
    return not any(view.by(NodeSubnets, "network", addressing.within(address, length)) for length in sizes)


def _age(service: Service) -> tuple[str, str, str]:
    return service.created, service.uid, service.key
