"""Hears when anybody but the agent changes one of its nftables tables (a flush, an edit), so that it is not polled.

The kernel names in each message the socket that asked for the change, and nft's socket is numbered as its process
(netlink(7), nl_pid).
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable

_NETLINK_NETFILTER = 12
_GROUPS = 1 << 6  # linux/netfilter/nfnetlink.h NFNLGRP_NFTABLES is 7
_SO_RCVBUFFORCE = 33
_HEADER = struct.Struct("=IHHII")
_BUFFER_BYTES = 8 << 20


class Monitor:
    """Calls `changed` for a change of `table` by a process that was not announced with `expect`."""

    def __init__(self, table: str, changed: Callable[[], None]) -> None:
        self._table = table.encode() + b"\0"
        self._changed = changed
        self._own: set[int] = set()
        self._socket: socket.socket | None = None

    def start(self) -> None:
        """Listens from now on, in the calling thread's network namespace."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _NETLINK_NETFILTER)
        with contextlib.suppress(PermissionError):
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        self._socket.bind((0, _GROUPS))
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def close(self) -> None:
        """Listens no more."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def expect(self, process: int) -> None:
        """What this process changes is ours."""
        self._own.add(process)

    def forget(self) -> None:
        """All announced processes have ended; what they changed is heard before their numbers mean others."""
        self._read()
        self._own.clear()

    def _read(self) -> None:
        while self._socket is not None:
            try:
                data = self._socket.recv(1 << 16)
            except BlockingIOError:
                return
            except OSError:
                # ENOBUFS: the kernel had more to say than fits, so anything may have happened.
                self._changed()
                return
            if self._strange(data):
                self._changed()

    def _strange(self, data: bytes) -> bool:
        while len(data) >= _HEADER.size:
            length, _kind, _flags, _sequence, process = _HEADER.unpack_from(data)
            if not _HEADER.size <= length <= len(data):
                return False
            if process not in self._own and self._table in data[:length]:
                return True
            data = data[(length + 3) & ~3 :]
        return False
