"""python-ovs made fit for large messages: JSON by orjson, and poll(2) in place of select(2).

python-ovs parses JSON one character at a time in Python when its C parser is absent, as it is in the package from
PyPI; and its poller fails on file descriptors above 1023. `install` replaces both in this process; the protocol
itself stays python-ovs' own.
"""

import errno
import json
import select
from collections import deque
from typing import Any

import orjson
import ovs.jsonrpc
import ovs.poller

# A TLS record holds 16 KiB; unix and TCP sockets give whatever they have.
_RECEIVE_BYTES = 1 << 18
_WHITESPACE = " \t\r\n"
_decoder = json.JSONDecoder()


class Framer:
    """Cuts a stream of bytes into JSON messages, wherever the pieces were torn apart (RFC 7047 §4 has no separator)."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[Any]:
        """The messages that `data` completes; what is left waits for the next piece.

        Raises ValueError for what cannot become an OVSDB message: not an object, or not UTF-8.
        """
        rest = self._rest
        rest += data
        if rest and rest[0] not in b"{ \t\r\n":
            raise ValueError(f"not an OVSDB message: it starts with {bytes(rest[:20])!r}")
        # A message ends with "}", so nothing can be complete unless the last piece ends one. Messages glued to the
        # torn first half of another wait for its second half; it is already on its way.
        if not rest or rest[-1] not in b"} \t\r\n":
            return []
        try:
            messages = [orjson.loads(rest)]
        except orjson.JSONDecodeError:
            pass
        else:
            rest.clear()
            return messages
        return self._split(rest.decode())

    def _split(self, text: str) -> list[Any]:
        messages: list[Any] = []
        position = 0
        while True:
            while position < len(text) and text[position] in _WHITESPACE:
                position += 1
            if position == len(text):
                break
            try:
                message, position = _decoder.raw_decode(text, position)
            except json.JSONDecodeError:
                break
            messages.append(message)
        self._rest = bytearray(text[position:].encode())
        return messages


class Connection(ovs.jsonrpc.Connection):  # type: ignore[misc]  # python-ovs has no types
    """A JSON-RPC connection that frames with orjson and keeps what it sends as bytes.

    The stock one slices text by the number of bytes sent, which tears a partly sent message that is not ASCII.
    """

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self.output: str | bytes = b""
        self._framer = Framer()
        self._received: deque[Any] = deque()
        self._drained = True

    def send(self, msg: Any) -> int:
        """Queues the message; 0, or the errno that ended the connection."""
        if self.status:
            return int(self.status)
        was_empty = not self.output
        encoded = orjson.dumps(msg.to_json())
        self.output = encoded if was_empty else self.output + encoded  # type: ignore[operator]  # "" only when empty
        if was_empty:
            self.run()
        return int(self.status)

    def recv(self) -> tuple[int, Any]:
        """(0, the next message), or (errno, None): EAGAIN when there is none yet."""
        while not self.status:
            if self._received:
                message = ovs.jsonrpc.Message.from_json(self._received.popleft())
                if isinstance(message, ovs.jsonrpc.Message):
                    return 0, message
                self.error(errno.EPROTO)
                break
            error, data = self.stream.recv(_RECEIVE_BYTES)
            if error == errno.EAGAIN:
                self._drained = True
                return error, None
            if error or not data:
                self.error(error or ovs.jsonrpc.EOF)
                break
            self._drained = False
            self.received_bytes += len(data)
            try:
                self._received.extend(self._framer.feed(data))
            except ValueError:
                self.error(errno.EPROTO)
        return int(self.status), None

    def recv_wait(self, poller: Any) -> None:
        """Wakes the poller when `recv` has something to say.

        A TLS stream may hold decrypted data that its socket no longer shows, so an undrained stream counts as ready.
        """
        if self.status or self._received or not self._drained:
            poller.immediate_wake()
        else:
            self.stream.recv_wait(poller)


class Poll:
    """What python-ovs needs of select.poll: a descriptor registered twice waits for both events."""

    def __init__(self) -> None:
        self._events: dict[int, int] = {}

    def register(self, descriptor: Any, events: int) -> None:
        """Waits for `events` on the descriptor too."""
        number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
        self._events[number] = self._events.get(number, 0) | events

    def poll(self, timeout_ms: int) -> list[tuple[int, int]]:
        """The descriptors that are ready, with their events; none after `timeout_ms` (-1 = never)."""
        system = select.poll()
        for number, events in self._events.items():
            system.register(number, events)
        return system.poll(timeout_ms)


def install() -> None:
    """Makes python-ovs use both, in the whole process; doing it again changes nothing."""
    ovs.jsonrpc.Connection = Connection
    ovs.poller.SelectPoll = Poll
