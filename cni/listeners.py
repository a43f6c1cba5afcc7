"""Ports of this node that a process listens on although they lead elsewhere: node ports and host ports.

The rules win, so the process gets nothing of what comes from now on, and neither it nor the owner of the port would
ever know. Looked for when a port becomes one of ours; a process that comes later is not noticed.
"""

import ipaddress
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cni.attachment import Attachment
from cni.service_table import Here, within
from ovnk.incremental.graph import View
from ovnk.kube.objects import Notice
from ovnk.kube.service_objects import Service

# proc(5), /proc/net/tcp: states TCP_LISTEN and, of an unconnected UDP socket, TCP_CLOSE.
_FILES = {"tcp": "0A", "tcp6": "0A", "udp": "07", "udp6": "07"}
_ANY = ("", "0.0.0.0", "::")
REASON = "PortInUse"


@dataclass(frozen=True, slots=True)
class Claim:
    """A port of this node that leads elsewhere for an object; `address` is "" where it is a port of all addresses."""

    kind: str
    key: str
    uid: str
    what: str
    protocol: str
    port: int
    address: str = ""

    def notice(self, node: str) -> Notice:
        """What the object's owner is told."""
        message = (
            f"{self.what} {self.port}/{self.protocol.upper()}: a process of node {node} listens on that port too and "
            f"gets nothing of what comes there from now on; end it, or give the {self.kind} another {self.what}"
        )
        return Notice(self.kind, self.key, REASON, message, self.uid)


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket that waits for whoever comes; `address` as text."""

    protocol: str
    address: str
    port: int


def node_ports(_view: View, service: Service) -> Iterator[Claim]:
    """The Service's node ports."""
    for port in service.ports if service.cluster_ips else ():
        if port.node_port:
            yield Claim("Service", service.key, service.uid, "nodePort", port.protocol.lower(), port.node_port)


def host_ports(_view: View, port: Attachment) -> Iterator[Claim]:
    """The pod's host ports."""
    for mapping in port.host_ports:
        address = "" if mapping.host_ip in _ANY else mapping.host_ip
        yield Claim("Pod", port.interface_id, port.uid, "hostPort", mapping.protocol, mapping.host_port, address)


def contested(claims: Iterable[Claim], listeners: Iterable[Listener], here: Here) -> list[Claim]:
    """The claims to ports that somebody listens on, where packets to the listener's address are taken from it."""
    by_port: dict[tuple[str, int], list[str]] = {}
    for one in listeners:
        by_port.setdefault((one.protocol, one.port), []).append(one.address)
    return [
        claim
        for claim in claims
        if any(_meet(claim, address, here) for address in by_port.get((claim.protocol, claim.port), ()))
    ]


def listening() -> list[Listener]:
    """All listeners in this thread's network namespace, where the kernel has /proc. Raises OSError."""
    found = []
    for name, state in _FILES.items():
        file = Path("/proc/thread-self/net") / name
        # Without IPv6 there are two files less.
        for line in file.read_text().splitlines()[1:] if file.exists() else ():
            fields = line.split()
            if fields[3] == state and fields[2].endswith(":0000"):
                address, _, port = fields[1].partition(":")
                found.append(Listener(name[:3], _text(address), int(port, 16)))
    return found


def _meet(claim: Claim, address: str, here: Here) -> bool:
    if address in _ANY:
        return True
    if claim.kind == "Service":
        same = tuple(cidr for cidr in here.node_port_networks if (":" in cidr) == (":" in address))
        return not same or within(address, same)
    return claim.address in ("", address)


def _text(packed: str) -> str:
    """An address as /proc has it: words in the byte order of this machine, in hexadecimal."""
    words = [int(packed[begin : begin + 8], 16) for begin in range(0, len(packed), 8)]
    address = ipaddress.ip_address(struct.pack(f"={len(words)}I", *words))
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
