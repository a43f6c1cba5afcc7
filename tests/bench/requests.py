"""Many creations at once, at as little cost as can be: requests encoded before, answers not even parsed.

An HTTP client in Python costs as much as the API server it calls (0.3 ms a request), and on two processors that would
be what is measured.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from ovnk.kube.credentials import Credentials

CONNECTIONS = 16


class RefusedError(Exception):
    """An answer that was not 2xx; its beginning."""


class Sender:
    """POSTs bodies over a few kept connections, each with one request under way."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._where = urlsplit(credentials.server)
        self._lines: list[_Line] = []

    async def connect(self, connections: int = CONNECTIONS) -> "Sender":
        """Open the connections."""
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            _, line = await loop.create_connection(
                _Line,
                self._where.hostname,
                self._where.port,
                ssl=self._credentials.ssl_context,
                server_hostname=self._credentials.server_name,
            )
            self._lines.append(line)
        return self

    def encode(self, path: str, bodies: Iterable[bytes]) -> list[bytes]:
        """The requests as they go over the wire."""
        headers = f"Host: {self._where.netloc}\r\nContent-Type: application/json\r\nAccept: application/json\r\n"
        if self._credentials.authorization:
            headers += f"Authorization: {self._credentials.authorization}\r\n"
        return [
            f"POST {path} HTTP/1.1\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in bodies
        ]

    async def send(self, requests: Sequence[bytes]) -> None:
        """Send all of them and wait for the last answer. Raises RefusedError."""
        waiting = deque(requests)
        await asyncio.gather(*(self._work(line, waiting) for line in self._lines))

    def close(self) -> None:
        """End the connections."""
        for line in self._lines:
            line.transport.close()

    async def _work(self, line: "_Line", waiting: deque[bytes]) -> None:
        while waiting:
            await line.ask(waiting.popleft())


class _Line(asyncio.Protocol):
    """One connection: writes a request, knows when the answer is whole."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport = None  # type: ignore[assignment]  # set before anything is asked
        self._answer: asyncio.Future[None] | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # a stream's

    def ask(self, request: bytes) -> "asyncio.Future[None]":
        self._answer = asyncio.get_running_loop().create_future()
        self._received = b""
        self.transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found or self._answer is None:
            return
        headers = head.lower()
        _, sized, length = headers.partition(b"content-length: ")
        if (len(body) >= int(length.split(b"\r\n", 1)[0])) if sized else body.endswith(b"0\r\n\r\n"):
            answer, self._answer = self._answer, None
            if headers[9:10] == b"2":
                answer.set_result(None)
            else:
                answer.set_exception(RefusedError(self._received[:600].decode(errors="replace")))

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer is not None:
            self._answer.set_exception(RefusedError(f"the API server ended the connection: {error}"))
