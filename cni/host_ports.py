"""hostPort: a port of the node that leads to a pod's, by the CNI capability portMappings (CNI conventions).

The pod knows nothing of it. Recorded with the pod's port in OVSDB, so that it ends with it, restarts or not. The pod
sees the client's own address, unless the client is a pod or a node: those it would answer past this node.
"""

from collections.abc import Iterable, Iterator

from cni.attachment import Attachment
from cni.protocol import PortMapping
from cni.service_table import Element, Fact, family
from ovnk.incremental.graph import View

_ANY = {"0.0.0.0": (4,), "::": (6,), "": (4, 6)}


def elements(_view: View, port: Attachment) -> Iterator[Fact]:
    """An element for each host port and each of the pod's addresses that it may lead to."""
    addresses = {family(one): one.partition("/")[0] for one in port.addresses}
    for mapping in port.host_ports:
        for number in _families(mapping):
            if number not in addresses:
                continue
            to = f"{addresses[number]} . {mapping.container_port}"
            socket = (mapping.protocol, str(mapping.host_port))
            if mapping.host_ip in _ANY:
                yield Element(f"host_ports{number}", socket, to)
            else:
                yield Element(f"host_port_addresses{number}", (mapping.host_ip, *socket), to)


def conflict(wanted: Iterable[PortMapping], interface_id: str, ports: Iterable[Attachment]) -> str:
    """Which host port another pod of this node has already, in words; "" when none."""
    for mapping in wanted:
        for other in ports:
            if other.interface_id != interface_id and any(_meet(mapping, theirs) for theirs in other.host_ports):
                return f"host port {mapping.host_port}/{mapping.protocol.upper()} is pod {other.interface_id}'s already"
    return ""


def _families(mapping: PortMapping) -> tuple[int, ...]:
    return _ANY.get(mapping.host_ip) or (family(mapping.host_ip),)


def _meet(one: PortMapping, other: PortMapping) -> bool:
    if (one.protocol, one.host_port) != (other.protocol, other.host_port):
        return False
    if not set(_families(one)) & set(_families(other)):
        return False
    return one.host_ip in _ANY or other.host_ip in _ANY or one.host_ip == other.host_ip
