"""One pod's interface on br-int, as a value: what ADD makes, OVSDB remembers, and CHECK, DEL and GC go by.

The Interface row's external_ids are the agent's only record; nothing is kept in files. Pure.
"""

import hashlib
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

from cni import protocol
from cni.protocol import PortMapping
from ovnk import contract

# The host side of every pod's veth begins so, and nothing else on the node does: one nftables rule covers them all
# (cni/ruleset.py). Not a prefix of ovnk0, nor one that other software uses.
HOST_PREFIX = "ovnkp"

_NAME_BYTES_MAX = 15
_DIGITS = _NAME_BYTES_MAX - len(HOST_PREFIX)


@dataclass(frozen=True, slots=True)
class Addresses:
    """What a pod gets: addresses with prefix length and their gateways, one a family, and a MAC."""

    mac: str
    addresses: tuple[str, ...]
    gateways: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Attachment:
    """A sandbox's interface: who it is of, where it is, and what it has."""

    container_id: str
    ifname: str
    netns: str
    interface_id: str
    uid: str
    host_interface: str
    mac: str
    addresses: tuple[str, ...]
    gateways: tuple[str, ...]
    mtu_bytes: int
    host_ports: tuple[PortMapping, ...] = ()

    def result(self) -> protocol.Result:
        """What ADD answers."""
        return protocol.Result(
            self.host_interface, self.ifname, self.netns, self.mac, self.mtu_bytes, self.addresses, self.gateways
        )

    def external_ids(self) -> dict[str, str]:
        """The Interface's external_ids; the first three are ovn-controller's (ovn-controller(8)), the others ours."""
        ids = {
            "iface-id": self.interface_id,
            "iface-id-ver": self.uid,
            "attached-mac": self.mac,
            "ovnk-container-id": self.container_id,
            "ovnk-ifname": self.ifname,
            "ovnk-netns": self.netns,
            "ovnk-ips": " ".join(self.addresses),
            "ovnk-gateways": " ".join(self.gateways),
            "ovnk-mtu": str(self.mtu_bytes),
        }
        if self.host_ports:
            ids["ovnk-host-ports"] = " ".join(
                f"{one.protocol}/{one.host_port}/{one.container_port}/{one.host_ip}" for one in self.host_ports
            )
        return ids


def make(
    container_id: str,
    ifname: str,
    netns: str,
    pod: protocol.Pod,
    addresses: Addresses,
    mtu_bytes: int,
    attempt: int,
    host_ports: tuple[PortMapping, ...] = (),
) -> Attachment:
    """The attachment of a pod's sandbox; `attempt` picks another host-side name where one is taken by a stranger."""
    return Attachment(
        container_id=container_id,
        ifname=ifname,
        netns=netns,
        interface_id=contract.interface_id(pod.namespace, pod.name),
        uid=pod.uid,
        host_interface=host_interface(container_id, ifname, attempt),
        mac=addresses.mac,
        addresses=addresses.addresses,
        gateways=addresses.gateways,
        mtu_bytes=mtu_bytes,
        host_ports=host_ports,
    )


def read(host: str, external_ids: Mapping[str, str]) -> Attachment | None:
    """The attachment that an Interface row records, or None where the row is not a pod's of ours."""
    if not external_ids.get("ovnk-container-id"):
        return None
    mtu = external_ids.get("ovnk-mtu", "")
    return Attachment(
        container_id=external_ids["ovnk-container-id"],
        ifname=external_ids.get("ovnk-ifname", ""),
        netns=external_ids.get("ovnk-netns", ""),
        interface_id=external_ids.get("iface-id", ""),
        uid=external_ids.get("iface-id-ver", ""),
        host_interface=host,
        mac=external_ids.get("attached-mac", ""),
        addresses=tuple(external_ids.get("ovnk-ips", "").split()),
        gateways=tuple(external_ids.get("ovnk-gateways", "").split()),
        mtu_bytes=int(mtu) if mtu.isdecimal() else 0,
        host_ports=tuple(map(_host_port, external_ids.get("ovnk-host-ports", "").split())),
    )


def _host_port(text: str) -> PortMapping:
    protocol, host_port, container_port, host_ip = text.split("/")
    return PortMapping(protocol, int(host_port), int(container_port), host_ip)


def host_interface(container_id: str, ifname: str, attempt: int = 0) -> str:
    """The host side's name, the same each time for one sandbox: "ovnkp" and 10 hexadecimal digits (40 bits)."""
    digest = hashlib.sha256(f"{container_id}/{ifname}/{attempt}".encode()).hexdigest()
    return HOST_PREFIX + digest[:_DIGITS]


@dataclass(frozen=True, slots=True)
class Found:
    """What is in a pod's namespace under the interface's name: "10.244.1.5/24", default gateways, MTU, up or not."""

    mac: str
    addresses: frozenset[str]
    gateways: frozenset[str]
    mtu_bytes: int
    up: bool


def differences(expected: Attachment, found: Found | None) -> list[str]:
    """What is not as ADD left it, in words; nothing where all is well.

    The MTU is not compared, nor addresses and routes that others added: a plug-in later in the chain may do so.
    """
    if found is None:
        return [f'interface "{expected.ifname}" is missing']
    wrong = []
    if found.mac != expected.mac:
        wrong.append(f'interface "{expected.ifname}" has MAC {found.mac}, not {expected.mac}')
    if not found.up:
        wrong.append(f'interface "{expected.ifname}" is down')
    present = {ipaddress.ip_interface(address) for address in found.addresses}
    wrong += [
        f"address {address} is missing"
        for address in expected.addresses
        if ipaddress.ip_interface(address) not in present
    ]
    wrong += [
        f"default route via {gateway} is missing" for gateway in expected.gateways if gateway not in found.gateways
    ]
    return wrong


def orphans(
    attachments: Mapping[str, Attachment], listed_uids: frozenset[str], vanished: frozenset[str]
) -> list[Attachment]:
    """The attachments (by host-side name) that nobody will ask us to delete.

    Both must hold: the pod's UID is no longer in the NodeNetwork, and its network namespace is gone (`vanished`, by
    path). One alone happens to live pods: a NodeNetwork may be late, a path be unmounted by mistake.
    """
    return [
        attachment
        for attachment in attachments.values()
        if attachment.uid not in listed_uids and attachment.netns in vanished
    ]
