"""The agent's unix socket: one request a connection, answered by the verbs; a caller that hangs up is not served on.

Only root may connect (0600). The socket's file is replaced at once at start and never removed at the end, so that
an agent that takes over from another leaves no moment without one.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from cni import framing, metrics, protocol
from cni.protocol import INTERNAL, CniError, Request

# The plug-in sends all it has at once.
_READ_TIMEOUT_S = 30
# More than the pods a node starts at once; the kernel holds what is above net.core.somaxconn back.
_BACKLOG = 1024

log = structlog.get_logger(__name__)


class Server:
    """Serves `answer` (what the plug-in prints, or CniError) on the socket at `path`."""

    def __init__(self, path: Path, answer: Callable[[Request], Awaitable[bytes]]) -> None:
        self._path = path
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._calls: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listens. Raises OSError where the folder or the path is of no use."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, sock=_listen(self._path), backlog=_BACKLOG)

    async def stop(self) -> None:
        """Takes no more calls; those that wait are undone, and their plug-ins say "try again later"."""
        if self._server is None:
            return
        self._server.close()
        for call in self._calls:
            call.cancel()
        if self._calls:
            await asyncio.wait(self._calls)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        call = asyncio.current_task()
        assert call is not None  # asyncio runs this as a task
        self._calls.add(call)
        try:
            async with asyncio.timeout(_READ_TIMEOUT_S):
                environment, stdin = await framing.read_request(reader)
            exit_code, output = await self._until_hang_up(reader, environment, stdin)
            writer.write(framing.encode_reply(exit_code, output))
            await writer.drain()
        except asyncio.IncompleteReadError as error:
            log.debug("a CNI connection ended before its request", bytes=len(error.partial))
        except (framing.FramingError, TimeoutError, ConnectionError) as error:
            log.info("a CNI call ended before its answer", error=str(error))
        finally:
            self._calls.discard(call)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _until_hang_up(
        self, reader: asyncio.StreamReader, environment: dict[str, bytes], stdin: bytes
    ) -> tuple[int, bytes]:
        """The reply; raises ConnectionError once the caller has gone and what it asked for is undone.

        Only an ADD is broken off: nobody would use what it makes. The others are as useful without their caller.
        """
        work = asyncio.create_task(self._reply(environment, stdin))
        hang_up = asyncio.create_task(reader.read(1))
        try:
            await asyncio.wait({work, hang_up}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done() and environment.get("CNI_COMMAND") == b"ADD":
                work.cancel()
                await asyncio.wait({work})
                if work.cancelled():
                    raise ConnectionAbortedError("the plug-in was killed; its ADD is undone")
            return await work
        except asyncio.CancelledError:
            work.cancel()
            await asyncio.wait({work})
            raise
        finally:
            hang_up.cancel()

    async def _reply(self, environment: dict[str, bytes], stdin: bytes) -> tuple[int, bytes]:
        """(exit code, what to print); never raises but when cancelled."""
        command = environment.get("CNI_COMMAND", b"").decode("ascii", "replace")
        known = command if command in protocol.COMMANDS else "unknown"
        begin, code = time.perf_counter(), 0
        waiting = metrics.WAITING.labels(known)
        waiting.inc()
        try:
            return 0, await self._answer(protocol.parse(environment, stdin))
        except CniError as error:
            code = error.code
            log.warning("a CNI call failed", command=command, code=code, error=str(error), **_who(environment))
            return 1, error.encode(protocol.requested_version(stdin))
        except Exception as error:
            code = INTERNAL
            log.exception("a CNI call failed by a fault of ovnk", command=command, **_who(environment))
            failure = CniError(INTERNAL, f"ovnk's node agent failed: {error!r}", "this is a bug; its log has the trace")
            return 1, failure.encode(protocol.requested_version(stdin))
        finally:
            waiting.dec()
            metrics.CALL.labels(known, str(code)).observe(time.perf_counter() - begin)


def _who(environment: dict[str, bytes]) -> dict[str, str]:
    """The fields that tell one call from another in the log."""
    names = {"container": "CNI_CONTAINERID", "args": "CNI_ARGS"}
    return {field: environment.get(name, b"").decode("utf-8", "replace") for field, name in names.items()}


def _listen(path: Path) -> socket.socket:
    """A listening socket at `path`, for root alone, in place of what was there."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    # Linux gives the file the mode that the socket has when it is bound: there is no moment when others may connect.
    os.fchmod(listener.fileno(), 0o600)
    listener.bind(str(fresh))
    listener.listen(_BACKLOG)
    fresh.rename(path)
    return listener
