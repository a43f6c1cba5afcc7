"""What Services' owners should be told, with an Event: what cannot be balanced, and what two both claim.

None of it withdraws anything; what is done instead is in the message.
"""

from collections.abc import Iterator

from ovnk.incremental.graph import View
from ovnk.kube.objects import Notice
from ovnk.kube.service_objects import EndpointSlice, Service
from ovnk.translate import addressing

# (address, protocol, port) from outside the cluster
Claim = tuple[str, str, int]


def claims(service: Service) -> set[Claim]:
    """The external sockets that the Service wants for itself: its externalIPs and load balancer addresses."""
    addresses = {*service.external_ips, *service.load_balancer_ips}
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


def fqdn(_view: View, one: EndpointSlice) -> Iterator[Notice]:
    """A slice of names has no endpoints for a load balancer."""
    if one.fqdn and one.service:
        message = (
            "addressType FQDN: names are not looked up by a load balancer, so the slice's endpoints are left out; "
            "use an ExternalName Service, or a slice of addresses"
        )
        yield Notice("EndpointSlice", one.key, "EndpointsLeftOut", message, one.uid)


def _age(service: Service) -> tuple[str, str, str]:
    return service.created, service.uid, service.key
