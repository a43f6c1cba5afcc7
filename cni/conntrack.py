"""UDP connections that the kernel tracks for this host: lists them, and forgets some (nfnetlink_conntrack.h).

Spoken over a netlink socket of its own, for a worker thread in the node's own network namespace. What a kernel datapath
of Open vSwitch tracks for OVN is in zones, and none of ours. Whether one is stale is cni/stale.py's business.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_NETLINK_NETFILTER = 12
# NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW, _GET, _DELETE
_NEW, _GET, _DELETE = 0x100, 0x101, 0x102
_ERROR, _DONE = 2, 3
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_NESTED, _TYPE_MASK = 0x8000, 0x3FFF
_HEADER = struct.Struct("=IHHII")
_FAMILY = struct.Struct("!BBH")  # struct nfgenmsg
# enum ctattr_type, ctattr_tuple, ctattr_ip, ctattr_l4proto, ctattr_filter
_ORIGINAL, _REPLY, _ID, _ZONE, _FILTER = 1, 2, 12, 18, 25
_IP, _PROTOCOL = 1, 2
_SOURCES, _DESTINATIONS = (1, 3), (2, 4)
_NUMBER, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3
_FILTER_ORIGINAL, _FILTER_NUMBER = 1, 1 << 3
_TIMEOUT_S = 10.0
_BUFFER_BYTES = 1 << 16

Socket = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Connection:
    """One connection: its first packet went from `source` to `to`, its replies come from `by` and go to `back`.

    `key` is how the kernel knows it.
    """

    source: Socket
    to: Socket
    by: Socket
    back: Socket
    family: int
    key: bytes


def listed() -> list[Connection]:
    """The host's UDP connections, of both families. Raises OSError."""
    with _opened() as kernel:
        return [one for family in (socket.AF_INET, socket.AF_INET6) for one in _dump(kernel, family)]


def forget(connections: Iterable[Connection]) -> int:
    """Forgets them; how many of them there still were. Raises OSError."""
    forgotten = 0
    with _opened() as kernel:
        for one in connections:
            kernel.send(_message(_DELETE, _REQUEST | _ACK, one.family, one.key))
            try:
                list(_answers(kernel))
            except FileNotFoundError:
                continue  # it has ended meanwhile
            forgotten += 1
    return forgotten


def _opened() -> socket.socket:
    kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
    kernel.settimeout(_TIMEOUT_S)
    kernel.bind((0, 0))
    return kernel


def _dump(kernel: socket.socket, family: int) -> Iterator[Connection]:
    """Asks for UDP only; a kernel before 5.8 does not know the filter and tells of all."""
    protocol = _attribute(_PROTOCOL | _NESTED, _attribute(_NUMBER, bytes([socket.IPPROTO_UDP])))
    only = _attribute(_FILTER | _NESTED, _attribute(_FILTER_ORIGINAL, struct.pack("=I", _FILTER_NUMBER)))
    kernel.send(_message(_GET, _REQUEST | _DUMP, family, _attribute(_ORIGINAL | _NESTED, protocol) + only))
    for body in _answers(kernel):
        if one := _connection(family, body):
            yield one


def _answers(kernel: socket.socket) -> Iterator[bytes]:
    """The bodies of the answer's messages, to its end. Raises OSError with the kernel's error number."""
    while True:
        data = kernel.recv(_BUFFER_BYTES)
        while len(data) >= _HEADER.size:
            length, kind, *_ = _HEADER.unpack_from(data)
            body = data[_HEADER.size : length]
            if kind == _ERROR and (code := -struct.unpack_from("=i", body)[0]):
                raise OSError(code, f"conntrack: {os.strerror(code)}")
            if kind in (_DONE, _ERROR):
                return
            if kind == _NEW:
                yield body[_FAMILY.size :]
            if length < _HEADER.size:
                raise OSError(errno.EBADMSG, "conntrack: a netlink message without a length")
            data = data[(length + 3) & ~3 :]


def _connection(family: int, body: bytes) -> Connection | None:
    """None for what is not UDP or not this host's own."""
    found = dict(_attributes(body))
    if _ZONE in found or _ORIGINAL not in found or _REPLY not in found:
        return None
    original, reply = _ends(found[_ORIGINAL]), _ends(found[_REPLY])
    if original is None or reply is None:
        return None
    key = _attribute(_ORIGINAL | _NESTED, found[_ORIGINAL])
    if _ID in found:
        key += _attribute(_ID, found[_ID])
    return Connection(*original, *reply, family, key)


def _ends(packed: bytes) -> tuple[Socket, Socket] | None:
    """(source, destination) of a tuple, None unless it is UDP's."""
    parts = dict(_attributes(packed))
    protocol, addresses = dict(_attributes(parts[_PROTOCOL])), dict(_attributes(parts[_IP]))
    if protocol[_NUMBER][0] != socket.IPPROTO_UDP:
        return None
    source, destination = (
        next(_text(addresses[kind]) for kind in kinds if kind in addresses) for kinds in (_SOURCES, _DESTINATIONS)
    )
    ports = (struct.unpack("!H", protocol[kind])[0] for kind in (_SOURCE_PORT, _DESTINATION_PORT))
    return (source, next(ports)), (destination, next(ports))


def _text(address: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


def _message(kind: int, flags: int, family: int, attributes: bytes) -> bytes:
    body = _FAMILY.pack(family, 0, 0) + attributes
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, 1, 0) + body


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if length < 4:
            return
        yield kind & _TYPE_MASK, data[4:length]
        data = data[(length + 3) & ~3 :]
