"""Looks at the node: which interface carries the tunnels, and whether the kernel has Open vSwitch's datapath.

Reads only, by netlink; meant for a worker thread in the node's own network namespace.
"""

import ipaddress
import socket
from collections.abc import Iterable, Iterator
from typing import Any

from pyroute2 import GenericNetlinkSocket, IPRoute
from pyroute2.netlink import genlmsg
from pyroute2.netlink.exceptions import NetlinkError

from cni.settings import AUTO, Chassis, Underlay
from ovnk.contract import MANAGEMENT_INTERFACE
from ovnk.errors import ConfigError

_SCOPE_GLOBAL = 0  # linux/rtnetlink.h RT_SCOPE_UNIVERSE
_MAIN_TABLE = 254


def find(chassis: Chassis) -> Underlay:
    """The interface with the address that the operator names, or else that of the way out of this node.

    In this order: the default route's interface (IPv4, then IPv6), the one towards a southbound server, the only one
    with a global address. Raises ConfigError, naming the flag, where none can be told.
    """
    with IPRoute() as netlink:
        addresses = [
            (message["index"], message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS"))
            for message in netlink.get_addr(scope=_SCOPE_GLOBAL)
        ]
        ours = {index for name in (MANAGEMENT_INTERFACE, chassis.bridge) for index in netlink.link_lookup(ifname=name)}
        addresses = [(index, address) for index, address in addresses if index not in ours]
        if chassis.encap_ip != AUTO:
            named = ipaddress.ip_address(chassis.encap_ip)
            holders = [index for index, address in addresses if ipaddress.ip_address(address) == named]
            if not holders:
                raise ConfigError(f"--encap-ip {chassis.encap_ip}: no interface of this node has that address")
            return _underlay(netlink, holders[0], str(named))
        for index, preferred in _ways_out(netlink, chassis.southbound):
            here = [address for holder, address in addresses if holder == index]
            if here:
                return _underlay(netlink, index, preferred if preferred is not None and preferred in here else here[0])
        holders = sorted({index for index, _ in addresses})
        if len(holders) != 1:
            raise ConfigError(
                "--encap-ip auto: this node has no default route and its addresses are on "
                f"{len(holders)} interfaces; give --encap-ip the address by which other nodes reach it"
            )
        return _underlay(netlink, holders[0], addresses[0][1])


def kernel_has_datapath() -> bool:
    """Whether the kernel has Open vSwitch's datapath; asking makes it load the module where it is one.

    Open_vSwitch.datapath_types lists what the daemon was built with, on every machine both.
    """
    with GenericNetlinkSocket() as generic:
        try:
            generic.bind("ovs_datapath", genlmsg)
        except NetlinkError:
            return False
    return True


def _ways_out(netlink: IPRoute, southbound: str) -> Iterator[tuple[int, str | None]]:
    """(interface's index, source address the route prefers), the best first."""
    for family in (socket.AF_INET, socket.AF_INET6):
        routes = netlink.get_default_routes(family=family, table=_MAIN_TABLE)
        yield from _interfaces(sorted(routes, key=lambda route: route.get_attr("RTA_PRIORITY") or 0))
    for address in _hosts(southbound):
        try:
            yield from _interfaces(netlink.route("get", dst=address))
        except NetlinkError:
            continue


def _interfaces(routes: Iterable[Any]) -> Iterator[tuple[int, str | None]]:
    for route in routes:
        hops = route.get_attr("RTA_MULTIPATH")
        index = hops[0]["oif"] if hops else route.get_attr("RTA_OIF")
        if index is not None:
            yield index, route.get_attr("RTA_PREFSRC")


def _hosts(remotes: str) -> Iterator[str]:
    """The addresses in "tcp:10.0.0.1:6642,ssl:[fd00::1]:6642"; a name is not looked up, a unix socket has none."""
    for remote in remotes.split(","):
        kind, _, rest = remote.strip().partition(":")
        host = rest.rpartition(":")[0].strip("[]")
        if kind in ("tcp", "ssl"):
            try:
                yield str(ipaddress.ip_address(host))
            except ValueError:
                continue


def _underlay(netlink: IPRoute, index: int, address: str) -> Underlay:
    link = netlink.get_links(index)[0]
    return Underlay(link.get_attr("IFLA_IFNAME"), str(ipaddress.ip_address(address)), link.get_attr("IFLA_MTU"))
