"""The server in a container that has no command: it answers who it is and whom it sees.

HTTP on TCP ports: a line of JSON with pod, node and the client's address, or plain text where the client asks for it;
`GET /bytes/N` sends N bytes, a POST's body is counted. A datagram on a UDP port is answered with the same JSON. The
sockets are made in the pod's network namespace and served by the kubelet's own loop, so a pod costs no process.
"""

import asyncio
import contextlib
import json
import signal
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from aiohttp import web

DEFAULT_PORT = 8080
_CHUNK = b"x" * 65536
# What sh says of a process that a signal ended.
_SIGNALLED = 128


@dataclass(frozen=True, slots=True)
class Identity:
    """Who answers."""

    namespace: str
    pod: str
    node: str
    container: str

    def answer(self, protocol: str, client: Sequence[object], received: int) -> dict[str, object]:
        """What a client is told."""
        host, port = str(client[0]).removeprefix("::ffff:"), client[1]
        return {
            "pod": f"{self.namespace}/{self.pod}",
            "node": self.node,
            "container": self.container,
            "protocol": protocol,
            "client": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
            "clientAddress": host,
            "clientPort": port,
            "received": received,
        }


class Builtin:
    """A running built-in server; it ends by a signal, as a process would."""

    process = 0

    def __init__(self, identity: Identity, sockets: list[socket.socket]) -> None:
        self._identity, self._sockets = identity, sockets
        self._exit: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._runner: web.ServerRunner | None = None
        self._datagrams: list[asyncio.DatagramTransport] = []

    async def start(self) -> None:
        """Serve."""
        self._runner = web.ServerRunner(web.Server(self._handle))
        await self._runner.setup()
        for endpoint in self._sockets:
            if endpoint.type == socket.SOCK_STREAM:
                await web.SockSite(self._runner, endpoint, backlog=512).start()
            else:
                transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                    lambda: _Echo(self._identity), sock=endpoint
                )
                self._datagrams.append(transport)

    def signal(self, number: int) -> None:
        """End; SIGTERM in good order (exit code 0)."""
        if not self._exit.done():
            self._exit.set_result(0 if number == signal.SIGTERM else _SIGNALLED + number)

    async def wait(self) -> int:
        """The exit code, once it has ended."""
        code = await asyncio.shield(self._exit)
        for transport in self._datagrams:
            transport.close()
        if self._runner is not None:
            await self._runner.cleanup()
        for endpoint in self._sockets:
            endpoint.close()
        return code

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        received = 0
        with contextlib.suppress(ConnectionError):
            async for chunk in request.content.iter_chunked(len(_CHUNK)):
                received += len(chunk)
        first, _, rest = request.path.strip("/").partition("/")
        if first == "bytes" and rest.isdecimal():
            return await _send_bytes(request, int(rest))
        client = request.transport.get_extra_info("peername") if request.transport else ("", 0)
        answer = self._identity.answer("TCP", client, received)
        if "text/plain" in request.headers.get("Accept", ""):
            return web.Response(text=f"{answer['pod']} on {answer['node']} sees {answer['client']}\n")
        return web.Response(text=json.dumps(answer) + "\n", content_type="application/json")


class _Echo(asyncio.DatagramProtocol):
    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        # asyncio's own datagram transport is no DatagramTransport in Python 3.11.
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: Sequence[object]) -> None:
        """Answer one datagram."""
        answer = {**self._identity.answer("UDP", addr, len(data)), "data": data[:512].decode(errors="replace")}
        self._transport.sendto(json.dumps(answer).encode() + b"\n", addr)  # type: ignore[arg-type]  # typeshed: two kinds of address


def open_sockets(ports: Sequence[tuple[str, int]]) -> list[socket.socket]:
    """Sockets for these ("TCP" or "UDP", number), in the calling thread's network namespace; both IP families.

    One for each: a container names a port several times where it has several host addresses.
    """
    opened: list[socket.socket] = []
    kinds = {"TCP": socket.SOCK_STREAM, "UDP": socket.SOCK_DGRAM}
    try:
        for protocol, port in dict.fromkeys(ports):
            if protocol not in kinds:
                continue
            endpoint = socket.socket(socket.AF_INET6, kinds[protocol])
            opened.append(endpoint)
            endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            endpoint.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            endpoint.setblocking(False)
            endpoint.bind(("::", port))
    except OSError:
        for endpoint in opened:
            endpoint.close()
        raise
    return opened


async def _send_bytes(request: web.BaseRequest, count: int) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": str(count)})
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        while count > 0:
            await response.write(_CHUNK[:count])
            count -= len(_CHUNK)
        await response.write_eof()
    return response
