"""Makes the kernel's side of the node as settings.Host says: ovnk0's addresses and routes, sysctls, offload.

Only what differs is touched, so applying it again is free and breaks no connection. Meant for a worker thread in
the node's own network namespace. Pods' links are cni/attach.py's, rules cni/ruleset.py's.
"""

import ctypes
import dataclasses
import errno
import fcntl
import ipaddress
import socket
import struct
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from cni import attach
from cni.settings import Host, Route
from ovnk.contract import MANAGEMENT_INTERFACE

# Marks the routes that are ours on ovnk0 (rtnetlink(7) rtm_protocol; free in iproute2's rt_protos).
ROUTE_PROTOCOL = 111

_MAIN_TABLE = 254
_IFF_UP = 1
_SCOPE_LINK = 253
# linux/if_addr.h. NOPREFIXROUTE: the kernel's own route to an address's subnet would prefer that address as source.
_TENTATIVE, _NOPREFIXROUTE = 0x40, 0x200
_LINK_PRIORITY_IPV6 = 256  # the kernel's own for a link (linux/ipv6_route.h IP6_RT_PRIO_ADDRCONF)
_SIOCETHTOOL = 0x8946  # linux/sockios.h
_ETHTOOL_GTXCSUM = 0x16  # linux/ethtool.h
_FAMILIES = (socket.AF_INET, socket.AF_INET6)


def apply(wanted: Host) -> list[str] | None:
    """Makes it so and returns what was changed, in words; None where ovs-vswitchd has not made ovnk0 yet.

    Raises OSError or NetlinkError where the kernel refuses.
    """
    with IPRoute() as netlink, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        try:
            link = netlink.link("get", ifname=MANAGEMENT_INTERFACE)[0]
        except NetlinkError as error:
            if error.code == errno.ENODEV:
                return None
            raise
        changes = [f"{path}={value}" for path, value in wanted.sysctls if _write(path, value)]
        if not wanted.checksum_offload and _offloads(control.fileno()):
            attach.switch_checksum_offload_off(control.fileno(), MANAGEMENT_INTERFACE)
            changes.append("checksum offload off")
        changes += _settle_addresses(netlink, link["index"], wanted.addresses)
        if not link["flags"] & _IFF_UP:
            attach.set_up(control.fileno(), MANAGEMENT_INTERFACE)
            changes.append("up")
        return changes + _settle_routes(netlink, link["index"], wanted.routes)


def local_addresses() -> frozenset[str]:
    """The addresses of this host, on whatever interface. Raises OSError or NetlinkError."""
    with IPRoute() as netlink:
        return _local(netlink)


def _local(netlink: IPRoute) -> frozenset[str]:
    return frozenset(
        message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
        for message in netlink.get_addr()
        if not (message.get_attr("IFA_FLAGS") or 0) & _TENTATIVE
    )


def _settle_addresses(netlink: IPRoute, index: int, wanted: frozenset[str]) -> list[str]:
    """New ones first: with an interface's last address the kernel drops its routes."""
    has = {
        f"{message.get_attr('IFA_ADDRESS')}/{message['prefixlen']}": message.get_attr("IFA_FLAGS") or 0
        for message in netlink.get_addr(index=index)
        if message["scope"] != _SCOPE_LINK
    }
    # One that is there with the kernel's route is made anew: the flag cannot be set later (IPv4).
    other = {text for text in wanted & has.keys() if not has[text] & _NOPREFIXROUTE}
    changes = []
    for verb, addresses in (("del", other), ("add", wanted - has.keys() | other), ("del", has.keys() - wanted)):
        for text in sorted(addresses):
            address = ipaddress.ip_interface(text)
            flags = {"flags": _NOPREFIXROUTE} if verb == "add" else {}
            netlink.addr(verb, index=index, address=str(address.ip), prefixlen=address.network.prefixlen, **flags)
            changes.append(f"address {verb} {text}")
    return changes


def _settle_routes(netlink: IPRoute, index: int, wanted: frozenset[Route]) -> list[str]:
    """A route that differs is replaced, so that there is no moment without one; routes on the link come first."""
    # The kernel refuses a source that is not (yet) an address of this machine.
    local = _local(netlink)
    wanted = frozenset(route if route.source in local else dataclasses.replace(route, source="") for route in wanted)
    has = {
        Route(_destination(message), message.get_attr("RTA_GATEWAY") or "", message.get_attr("RTA_PREFSRC") or "")
        for family in _FAMILIES
        for message in netlink.get_routes(family=family, table=_MAIN_TABLE, oif=index, proto=ROUTE_PROTOCOL)
    }
    changes = []
    kept = {route.destination for route in wanted}
    for verb, routes in (
        ("replace", wanted - has),
        ("del", {route for route in has if route.destination not in kept}),
    ):
        for route in sorted(routes, key=lambda one: (one.gateway, one.destination)):
            netlink.route(verb, oif=index, proto=ROUTE_PROTOCOL, **_attributes(route))
            changes.append(" ".join(filter(None, ("route", verb, route.destination, route.gateway, route.source))))
    return changes


def _attributes(route: Route) -> dict[str, Any]:
    found: dict[str, Any] = {"dst": route.destination}
    if route.gateway:
        found["gateway"] = route.gateway
    elif ":" in route.destination:
        found["priority"] = _LINK_PRIORITY_IPV6
    else:
        found["scope"] = _SCOPE_LINK
    return found | ({"prefsrc": route.source} if route.source else {})


def _destination(message: Any) -> str:
    """A route's network; the default one has no RTA_DST."""
    family = "::" if message["family"] == socket.AF_INET6 else "0.0.0.0"
    return f"{message.get_attr('RTA_DST') or family}/{message['dst_len']}"


def _write(path: str, value: str) -> bool:
    """Writes a sysctl unless it has the value; True if it was written.

    Where advertisements are refused altogether (accept_ra 0), that is left so.
    """
    file = Path("/proc/sys") / path
    now = file.read_text().strip()
    if now == value or (path.endswith("/accept_ra") and value == "2" and now == "0"):
        return False
    file.write_text(value)
    return True


def _offloads(descriptor: int) -> bool:
    command = ctypes.create_string_buffer(struct.pack("II", _ETHTOOL_GTXCSUM, 0))
    request = struct.pack("16sP16x", MANAGEMENT_INTERFACE.encode(), ctypes.addressof(command))
    fcntl.ioctl(descriptor, _SIOCETHTOOL, request)
    return bool(struct.unpack_from("I", command.raw, 4)[0])
