"""The thin HTTP client of the Kubernetes API: bytes in, bytes out, and one error.

Credentials come from credentials.py, the wire is aiohttp. It knows no kind, decodes no object and retries nothing:
informers and writers do, each in its own way.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from msgspec import Struct

from ovnk.errors import ConfigError
from ovnk.kube.credentials import Credentials

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"

# A request that is not a watch has this long; kube-apiserver itself gives up after 60 s.
REQUEST_S = 30.0
# A stream that is silent for this long is taken for dead; kube-apiserver sends a watch a bookmark every minute.
SILENCE_S = 600.0
# How often the credentials are asked whether a token is due.
REFRESH_S = 10.0


# The reason of an ApiError for an answer that came whole and makes no sense.
GARBAGE = "Garbage"


class ApiError(Exception):
    """The API server refused, or did not answer.

    `status` is the HTTP status, 0 when there was no (whole) answer. `reason` is the Status object's ("NotFound",
    "Conflict", …), or "Unreachable", "Timeout", "Broken" (an answer that stopped in the middle), GARBAGE and
    "Credentials" (they cannot be read just now) for status 0.
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason, self.message = status, reason, message

    @property
    def transient(self) -> bool:
        """Whether the same request may succeed later without anybody changing it (no answer, 429, 5xx, 401)."""
        return self.status in (0, 401, 408, 429) or self.status >= 500


class Lines:
    """Bytes as they come, in lines: what follows the last newline waits in `rest`. Empty lines are left out."""

    def __init__(self) -> None:
        self.rest = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that are whole with this chunk."""
        *lines, self.rest = (self.rest + chunk).split(b"\n")
        return [line for line in lines if line]


class Client:
    """A connection pool to one API server. Made by `connect`, ended by `close`."""

    def __init__(self, kubeconfig: Path | None, credentials: Credentials) -> None:
        self._kubeconfig = kubeconfig
        self._credentials = credentials
        self._session = _session()
        self._refresh_due = asyncio.get_running_loop().time() + REFRESH_S
        self._refused = False
        self._refreshing = asyncio.Lock()

    @classmethod
    async def connect(cls, kubeconfig: Path | None) -> "Client":
        """A client by this kubeconfig, or by the pod's service account when None. Raises ConfigError.

        No request is sent: a server that is down is found, and waited for, by those who ask it.
        """
        return cls(kubeconfig, await asyncio.to_thread(Credentials, kubeconfig))

    @property
    def server(self) -> str:
        """The API server's URL, for messages."""
        return self._credentials.server

    async def close(self) -> None:
        """End all connections."""
        await self._session.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = JSON,
        timeout_s: float = REQUEST_S,
    ) -> bytes:
        """The answer's body. `body` is sent as it is when bytes, else as JSON. Raises ApiError."""
        data = body if body is None or isinstance(body, bytes) else msgspec.json.encode(body)
        headers = {"Content-Type": content_type} if data is not None else {}
        try:
            arguments = await self._arguments(headers, query)
            limit = aiohttp.ClientTimeout(total=timeout_s)
            url = self.server + path
            async with self._session.request(method, url, data=data, timeout=limit, **arguments) as response:
                content = await response.read()
                self._check(method, path, response, content)
                return content
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unanswered(method, path, error) from error

    async def stream(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        read_timeout_s: float = SILENCE_S,
        accepted: Callable[[], None] = lambda: None,
    ) -> AsyncGenerator[bytes, None]:
        """The answer's lines as they come, until the server ends it; `accepted` is called when it has begun to answer.

        Raises ApiError; with status 0 also when nothing came for `read_timeout_s`, or the end was in mid-line.
        """
        try:
            arguments = await self._arguments({}, query)
            limit = aiohttp.ClientTimeout(total=None, sock_connect=REQUEST_S, sock_read=read_timeout_s)
            async with self._session.request(method, self.server + path, timeout=limit, **arguments) as response:
                if response.status >= 400:
                    self._check(method, path, response, await response.read())
                _keep_alive(response)
                accepted()
                lines = Lines()
                async for chunk in response.content.iter_any():
                    for line in lines.feed(chunk):
                        yield line
                if lines.rest:
                    raise ApiError(0, "Broken", f"{self.server}{path}: the answer ended in the middle of a line")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unanswered(method, path, error) from error

    async def _arguments(self, headers: dict[str, str], query: Mapping[str, str] | None) -> dict[str, Any]:
        await self._refresh()
        credentials = self._credentials
        if credentials.authorization:
            headers["Authorization"] = credentials.authorization
        return {
            "headers": headers,
            "params": query,
            "ssl": credentials.ssl_context or True,
            "server_hostname": credentials.server_name,
        }

    async def _refresh(self) -> None:
        """Let a due token be read again; after a 401 read everything again, for the kubeconfig may have changed."""
        now = asyncio.get_running_loop().time()
        if not self._refused and now < self._refresh_due:
            return
        async with self._refreshing:
            if not self._refused and now < self._refresh_due:
                return
            try:
                if self._refused:
                    self._credentials = await asyncio.to_thread(Credentials, self._kubeconfig)
                else:
                    await asyncio.to_thread(self._credentials.refresh)
            except ConfigError as error:
                raise ApiError(0, "Credentials", str(error)) from error
            self._refused = False
            self._refresh_due = now + REFRESH_S

    def _check(self, method: str, path: str, response: aiohttp.ClientResponse, content: bytes) -> None:
        if response.status < 400:
            return
        if response.status == 401:
            self._refused = True
        try:
            status = msgspec.json.decode(content, type=_Status)
        except (ValueError, RecursionError):  # a proxy's page, or half an answer
            status = _Status()
        reason = status.reason or response.reason or "Unknown"
        message = status.message or content[:200].decode(errors="replace").strip() or reason
        raise ApiError(response.status, reason, f"{method} {path}: {response.status} {reason}: {message}")

    def _unanswered(self, method: str, path: str, error: Exception) -> ApiError:
        where = f"{method} {self.server}{path}"
        if isinstance(error, TimeoutError):
            return ApiError(0, "Timeout", f"{where}: no answer in time; is the API server overloaded or stalled?")
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            cause = error.certificate_error
            return ApiError(
                0, "Unreachable", f"{where}: its certificate is not trusted by the kubeconfig's CA: {cause}"
            )
        if isinstance(error, aiohttp.ClientConnectorError):
            cause = error.os_error
            if isinstance(cause, ssl.SSLError):
                return ApiError(0, "Unreachable", f"{where}: TLS failed: {cause}")
            return ApiError(
                0, "Unreachable", f"{where}: cannot be reached: {os.strerror(cause.errno) if cause.errno else cause}"
            )
        return ApiError(0, "Broken", f"{where}: the connection broke: {error or type(error).__name__}")


class _Status(Struct):
    """A meta/v1 Status, as errors come."""

    reason: str | None = None
    message: str | None = None


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        # Watches hold a connection each: a limit would be a deadlock.
        connector=aiohttp.TCPConnector(limit=0),
        # Uncompressed: in a cluster's own network the CPU for gzip (both ends) is dearer than the bytes.
        headers={"Accept": JSON, "Accept-Encoding": "identity", "User-Agent": "ovnk"},
        cookie_jar=aiohttp.DummyCookieJar(),
        read_bufsize=1 << 20,
    )


def _keep_alive(response: aiohttp.ClientResponse) -> None:
    """Have the kernel probe a silent connection: a machine that vanished is noticed after 30 s, not minutes."""
    transport = response.connection.transport if response.connection else None
    found = transport.get_extra_info("socket") if transport else None
    if found is not None:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in ((socket.TCP_KEEPIDLE, 15), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3)):
            found.setsockopt(socket.IPPROTO_TCP, option, value)
