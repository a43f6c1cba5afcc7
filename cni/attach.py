"""A pod's veth pair and all that is in its namespace: made, looked at, removed.

Kernel only, by netlink and ioctl in this process (2 ms a pod); nothing here knows OVS. Work runs in threads of its
own, which enter a pod's namespace only to open sockets and write sysctls, and always come back.

    node's namespace                pod's namespace
    ovnkp1f3c9a20b7 ──── veth ──── eth0   MAC, MTU, addresses, default route a family
      no IPv6 of its own           lo     up
"""

import asyncio
import ctypes
import errno
import fcntl
import ipaddress
import os
import socket
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from cni import namespace
from cni.attachment import HOST_PREFIX, Attachment, Found
from cni.protocol import INTERNAL, CniError

# Two threads: most of the work holds the interpreter's lock, the rest waits in the kernel (measured: 2.0 ms a pod
# with two, 2.3 with one, 2.5 with four).
_THREADS = 2

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _SIOCETHTOOL = 0x8913, 0x8914, 0x8946  # linux/sockios.h
_IFF_UP = 1
_ETHTOOL_STXCSUM = 0x17  # linux/ethtool.h
_IFA_F_NODAD = 2  # linux/if_addr.h
_RTNH_F_ONLINK = 4  # linux/rtnetlink.h
_LOOPBACK_INDEX = 1

Outcome = TypeVar("Outcome")


class Attacher:
    """Makes and removes pods' interfaces; made once, in the node's own network namespace."""

    def __init__(self) -> None:
        self._home = namespace.own()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="attach")

    async def create(self, attachment: Attachment, checksum_offload: bool) -> None:
        """Makes the pair as the attachment says, in place of what an earlier try left.

        Raises CniError 4 for a namespace that is none, and one of our own codes where the kernel refuses or where
        the interface's name is taken by somebody else's.
        """
        await self._run(_create, attachment, checksum_offload, self._home)

    async def find(self, netns: str, ifname: str) -> Found | None:
        """What the pod has under that name; None if nothing. Raises CniError 4 for a namespace that is none."""
        return await self._run(_find, netns, ifname, self._home)

    async def remove(self, host_interface: str) -> None:
        """Removes the pair by its host side; nothing happens where it is gone already."""
        await self._run(_remove, host_interface)

    def close(self) -> None:
        """Ends the threads; what they are at is finished first."""
        self._threads.shutdown()
        os.close(self._home)

    async def _run(self, work: Callable[..., Outcome], *arguments: object) -> Outcome:
        """The work's outcome. A caller that is cancelled goes only after the work has ended, so it can undo it."""
        future = asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise


def set_up(descriptor: int, interface: str) -> None:
    """Sets an interface up, in the namespace of the socket `descriptor`. Raises OSError."""
    request = struct.pack("16sH22x", interface.encode(), 0)
    flags = struct.unpack_from("H", fcntl.ioctl(descriptor, _SIOCGIFFLAGS, request), 16)[0]
    fcntl.ioctl(descriptor, _SIOCSIFFLAGS, struct.pack("16sH22x", interface.encode(), flags | _IFF_UP))


def switch_checksum_offload_off(descriptor: int, interface: str) -> None:
    """Makes the kernel fill in checksums before it sends (`ethtool -K IFACE tx off`). Raises OSError.

    The userspace datapath reads packets off a socket and passes them on as they are: with offload on, pings work
    and TCP hangs.
    """
    command = ctypes.create_string_buffer(struct.pack("II", _ETHTOOL_STXCSUM, 0))
    fcntl.ioctl(descriptor, _SIOCETHTOOL, struct.pack("16sP16x", interface.encode(), ctypes.addressof(command)))


def _create(attachment: Attachment, checksum_offload: bool, home: int) -> None:
    try:
        with namespace.opened(attachment.netns, home) as pod:
            with namespace.inside(pod, home):
                netlink = IPRoute()
            with netlink:
                _add_pair(netlink, attachment, home)
                try:
                    _configure(netlink, attachment, checksum_offload, pod, home)
                except BaseException:
                    _remove(attachment.host_interface)
                    raise
    except NetlinkError as error:
        raise _refused(attachment, error.code, str(error.args[-1])) from error
    except OSError as error:
        raise _refused(attachment, error.errno or 0, error.strerror or str(error)) from error


def _add_pair(netlink: IPRoute, attachment: Attachment, home: int) -> None:
    for attempt in (1, 2):
        try:
            netlink.link(
                "add",
                ifname=attachment.ifname,
                kind="veth",
                address=attachment.mac,
                mtu=attachment.mtu_bytes,
                peer={"ifname": attachment.host_interface, "net_ns_fd": home, "mtu": attachment.mtu_bytes},
            )
        except NetlinkError as error:
            if error.code != errno.EEXIST or attempt == 2:
                raise
            _remove_leftover(netlink, attachment)
        else:
            return


def _remove_leftover(netlink: IPRoute, attachment: Attachment) -> None:
    """Removes what an earlier try left under either name. Raises CniError where the pod's side is not of ours."""
    _remove(attachment.host_interface)
    inner = _link(netlink, attachment.ifname)
    if inner is None:
        return
    with IPRoute() as host:
        for outer in host.get_links(inner.get_attr("IFLA_LINK") or -1):
            if outer.get_attr("IFLA_IFNAME").startswith(HOST_PREFIX) and outer.get_attr("IFLA_LINK") == inner["index"]:
                netlink.link("del", index=inner["index"])
                return
    raise CniError(
        INTERNAL,
        f'interface "{attachment.ifname}" exists already in "{attachment.netns}" and is not of ovnk\'s making',
        "another CNI plug-in made it; two networks cannot have one interface name in one pod",
    )


def _configure(netlink: IPRoute, attachment: Attachment, checksum_offload: bool, pod: int, home: int) -> None:
    v6 = any(":" in address for address in attachment.addresses)
    # The kernel must not take part in the pod's link: it would answer neighbour solicitations with its own address.
    _write_sysctl("ipv6", attachment.host_interface, "disable_ipv6", "1", needed=False)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        set_up(control.fileno(), attachment.host_interface)
    with namespace.inside(pod, home):
        control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        # Addresses are ours to give; a router advertisement on the link must not add one.
        _write_sysctl("ipv6", attachment.ifname, "accept_ra", "0", needed=v6)
        _write_sysctl("ipv6", attachment.ifname, "accept_dad", "0", needed=v6)
        if v6:
            _write_sysctl("ipv6", attachment.ifname, "disable_ipv6", "0", needed=True)
    with control:
        if not checksum_offload:
            switch_checksum_offload_off(control.fileno(), attachment.ifname)
        set_up(control.fileno(), "lo")
        index = netlink.link_lookup(ifname=attachment.ifname)[0]
        for text in attachment.addresses:
            address = ipaddress.ip_interface(text)
            more = {} if address.version == 4 else {"flags": _IFA_F_NODAD}
            netlink.addr("add", index=index, address=str(address.ip), prefixlen=address.network.prefixlen, **more)
        set_up(control.fileno(), attachment.ifname)
    for gateway in attachment.gateways:
        family = socket.AF_INET6 if ":" in gateway else socket.AF_INET
        # On-link: a gateway outside the pod's own prefix is still on this link.
        netlink.route("add", dst="default", gateway=gateway, oif=index, family=family, flags=_RTNH_F_ONLINK)


def _find(netns: str, ifname: str, home: int) -> Found | None:
    with namespace.opened(netns, home) as pod:
        with namespace.inside(pod, home):
            netlink = IPRoute()
        with netlink:
            link = _link(netlink, ifname)
            if link is None:
                return None
            index = link["index"]
            addresses = frozenset(
                f"{message.get_attr('IFA_ADDRESS')}/{message['prefixlen']}" for message in netlink.get_addr(index=index)
            )
            gateways = frozenset(
                route.get_attr("RTA_GATEWAY")
                for family in (socket.AF_INET, socket.AF_INET6)
                for route in netlink.get_default_routes(family=family)
                if route.get_attr("RTA_OIF") == index
            )
            return Found(
                mac=link.get_attr("IFLA_ADDRESS"),
                addresses=addresses,
                gateways=gateways,
                mtu_bytes=link.get_attr("IFLA_MTU"),
                up=bool(link["flags"] & _IFF_UP),
            )


def _remove(host_interface: str) -> None:
    with IPRoute() as netlink:
        link = _link(netlink, host_interface)
        if link is None:
            return
        try:
            netlink.link("del", index=link["index"])
        except NetlinkError as error:
            if error.code != errno.ENODEV:
                raise


def _link(netlink: IPRoute, ifname: str) -> Any:
    """The link's message, or None."""
    try:
        return netlink.link("get", ifname=ifname)[0]
    except NetlinkError as error:
        if error.code == errno.ENODEV:
            return None
        raise


def _write_sysctl(family: str, interface: str, name: str, value: str, needed: bool) -> None:
    """Writes net.FAMILY.conf.INTERFACE.NAME; where IPv6 is absent from the kernel there is no such file."""
    try:
        # A '.' in an interface's name is a '.' in its folder's name.
        Path(f"/proc/sys/net/{family}/conf/{interface}/{name}").write_text(value)
    except FileNotFoundError:
        if needed:
            raise


def _refused(attachment: Attachment, number: int, why: str) -> CniError:
    name = errno.errorcode.get(number, str(number))
    return CniError(
        INTERNAL,
        f'the kernel refused interface "{attachment.ifname}" of pod {attachment.interface_id}: {why.lower()} ({name})',
        f'namespace "{attachment.netns}", addresses {", ".join(attachment.addresses)}; see ovnk\'s log on the node',
    )
