"""Hears from the kernel when the node's links, addresses and routes change, so that none of them is polled.

A netlink socket in the event loop. A message is read only as far as is needed to tell whether it concerns us: on
a busy node there are thousands. Rules are cni/nft_monitor.py's.
"""

import asyncio
import socket
import struct
from collections.abc import Callable, Iterator

from cni.attachment import HOST_PREFIX

# linux/rtnetlink.h: RTMGRP_LINK | IPV4_IFADDR | IPV4_ROUTE | IPV6_IFADDR | IPV6_ROUTE
_ROUTE_GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
_NEWLINK, _DELLINK, _NEWADDR, _DELADDR, _NEWROUTE, _DELROUTE = 16, 17, 20, 21, 24, 25
_IFLA_IFNAME, _RTA_OIF = 3, 4
_LINK_BYTES, _ROUTE_BYTES, _ADDRESS_BYTES = 16, 12, 8  # struct ifinfomsg, rtmsg, ifaddrmsg
_HEADER = struct.Struct("=IHHII")
_BUFFER_BYTES = 1 << 20


class Watch:
    """Calls `node` for changes of watched interfaces and of any address, `pod_gone` for pods' links that go."""

    def __init__(self, node: Callable[[], None], pod_gone: Callable[[], None]) -> None:
        self._node, self._pod_gone = node, pod_gone
        self._names: frozenset[str] = frozenset()
        self._indices: dict[int, str] = {}
        self._socket: socket.socket | None = None

    def start(self) -> None:
        """Listens from now on, in the calling thread's network namespace."""
        listener = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        listener.bind((0, _ROUTE_GROUPS))
        asyncio.get_running_loop().add_reader(listener, self._read, listener)
        self._socket = listener

    def interfaces(self, names: frozenset[str]) -> None:
        """From now on these interfaces are watched."""
        self._names = names
        self._indices = {index: name for index, name in socket.if_nameindex() if name in names}

    def close(self) -> None:
        """Listens no more."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _read(self, listener: socket.socket) -> None:
        try:
            data = listener.recv(_BUFFER_BYTES)
        except BlockingIOError:
            return
        except OSError:
            # ENOBUFS: the kernel had more to say than fits, so anything may have happened.
            self._node()
            self._pod_gone()
            return
        for kind, body in _messages(data):
            self._take(kind, body)

    def _take(self, kind: int, body: bytes) -> None:
        if len(body) < _ADDRESS_BYTES:
            return
        if kind in (_NEWLINK, _DELLINK):
            name = _attribute(body, _LINK_BYTES, _IFLA_IFNAME).rstrip(b"\0").decode(errors="replace")
            if kind == _DELLINK and name.startswith(HOST_PREFIX):
                self._pod_gone()
            if name in self._names:
                self._indices[struct.unpack_from("=i", body, 4)[0]] = name
                self._node()
        elif kind in (_NEWADDR, _DELADDR):
            # On whatever interface: the cluster may know the node by it, and routes have it as their source.
            self._node()
        elif kind in (_NEWROUTE, _DELROUTE):
            interface = _attribute(body, _ROUTE_BYTES, _RTA_OIF)
            if len(interface) == 4 and struct.unpack("=I", interface)[0] in self._indices:
                self._node()


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, body) of each netlink message in a datagram (netlink(7))."""
    while len(data) >= _HEADER.size:
        length, kind, *_ = _HEADER.unpack_from(data)
        if not _HEADER.size <= length <= len(data):
            return
        yield kind, data[_HEADER.size : length]
        data = data[(length + 3) & ~3 :]


def _attribute(body: bytes, offset: int, wanted: int) -> bytes:
    """The first attribute of that type after a fixed header of `offset` bytes, or b""."""
    while offset + 4 <= len(body):
        length, kind = struct.unpack_from("=HH", body, offset)
        if length < 4:
            break
        if kind == wanted:
            return body[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return b""
