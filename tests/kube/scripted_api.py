"""An API server that does what the test says, request by request: for what a real one does not do on demand."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from ovnk.kube.client import Client

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def status(code: int, reason: str, message: str = "as the test says") -> web.Response:
    body = {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}
    return web.json_response(body, status=code)


def listing(*items: dict[str, Any], version: str = "10", proceed: str = "") -> web.Response:
    metadata = {"resourceVersion": version} | ({"continue": proceed} if proceed else {})
    return web.json_response({"kind": "List", "metadata": metadata, "items": list(items) or None})


def event(kind: str, value: object) -> bytes:
    return json.dumps({"type": kind, "object": value}).encode() + b"\n"


def pod(name: str, version: str = "1", **more: Any) -> dict[str, Any]:
    metadata = {"namespace": "shop", "name": name, "uid": f"uid-{name}", "resourceVersion": version}
    return {"metadata": metadata, "spec": {"nodeName": "n1"}, **more}


class Watch:
    """A WATCH under way; the test sends through it and ends it."""

    def __init__(self, response: web.StreamResponse, request: web.Request) -> None:
        self.query = dict(request.query)
        self._response, self._request = response, request
        self._over = asyncio.Event()

    async def send(self, data: bytes) -> None:
        await self._response.write(data)

    def end(self) -> None:
        """A whole answer: the chunked body is finished."""
        self._over.set()

    def drop(self) -> None:
        """The connection breaks."""
        if self._request.transport:
            self._request.transport.abort()
        self._over.set()


class ScriptedApi:
    """Requests come out of `requests()`; each is answered by the next of `answers`, else by `otherwise`."""

    def __init__(self) -> None:
        self.answers: list[Answer | web.StreamResponse] = []
        self.otherwise: Answer | None = None
        self.seen: list[tuple[str, str, dict[str, str], Any]] = []
        self.headers: list[dict[str, str]] = []
        self.watches: asyncio.Queue[Watch] = asyncio.Queue()
        self.arrived = asyncio.Condition()
        self.port = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.seen.append((request.method, request.path, dict(request.query), json.loads(body) if body else None))
        self.headers.append(dict(request.headers))
        async with self.arrived:
            self.arrived.notify_all()
        if self.answers:
            answer = self.answers.pop(0)
            return answer if isinstance(answer, web.StreamResponse) else await answer(request)
        if self.otherwise:
            return await self.otherwise(request)
        return status(500, "InternalError", "the test has no answer for this")

    async def watch(self, request: web.Request) -> web.StreamResponse:
        """An answer: a watch that the test drives through `watches`."""
        assert request.query.get("watch"), f"not a watch: {request.path_qs}"
        response = web.StreamResponse()
        await response.prepare(request)
        watch = Watch(response, request)
        self.watches.put_nowait(watch)
        await watch._over.wait()
        return response

    async def count(self, number: int) -> None:
        """Wait until so many requests have come."""
        async with self.arrived:
            await self.arrived.wait_for(lambda: len(self.seen) >= number)


@contextlib.asynccontextmanager
async def serve(api: ScriptedApi, port: int = 0, ssl_context: Any = None) -> AsyncIterator[None]:
    runner = web.AppRunner(_application(api), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=ssl_context, reuse_address=True)
    await site.start()
    api.port = runner.addresses[0][1]
    try:
        yield
    finally:
        while not api.watches.empty():
            api.watches.get_nowait().end()
        await runner.cleanup()


def _application(api: ScriptedApi) -> web.Application:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", api.answer)
    return application


def kubeconfig(
    folder: Path, server: str, cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None
) -> Path:
    """A kubeconfig file with one context. JSON is YAML."""
    file = folder / "kubeconfig"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server, **(cluster or {})}}],
        "users": [{"name": "u", "user": user or {"token": "secret"}}],
    }
    file.write_text(json.dumps(document))
    return file


@contextlib.asynccontextmanager
async def scripted(folder: Path) -> AsyncIterator[tuple[ScriptedApi, Client]]:
    """The server and a client of it."""
    api = ScriptedApi()
    async with serve(api):
        client = await Client.connect(kubeconfig(folder, f"http://127.0.0.1:{api.port}"))
        try:
            yield api, client
        finally:
            await client.close()


class Objects:
    """Just enough of an API server for writers: objects by path, resourceVersions, 409, 404, merge patches.

    `broken` answers come first, one a request that writes: a status to refuse with, or "lost" for a write that is
    done but whose answer does not arrive.
    """

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.version = 100
        self.broken: list[int | str] = []
        self.writes: list[tuple[str, str, Any]] = []
        self.changed = asyncio.Condition()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if request.method == "GET":
            found = self.objects.get(request.path)
            return web.json_response(found) if found else status(404, "NotFound")
        document = json.loads(body) if body else {}
        self.writes.append((request.method, request.path, document))
        broken = self.broken.pop(0) if self.broken else None
        response = status(broken, "Broken") if isinstance(broken, int) else self._write(request, document)
        async with self.changed:
            self.changed.notify_all()
        if broken == "lost" and request.transport:
            request.transport.abort()
        return response

    def edit(self, path: str, **parts: Any) -> None:
        """Somebody else writes."""
        self.version += 1
        old = self.objects.get(path, {"metadata": {"name": path.rpartition("/")[2]}})
        self.objects[path] = old | parts
        self.objects[path]["metadata"] = old["metadata"] | {"resourceVersion": str(self.version)}

    async def until(self, condition: Callable[[], bool]) -> None:
        async with self.changed:
            await asyncio.wait_for(self.changed.wait_for(condition), 10)

    def _write(self, request: web.Request, document: dict[str, Any]) -> web.Response:
        path = request.path.removesuffix("/status")
        if request.method == "POST":
            path += "/" + document["metadata"]["name"]
            if path in self.objects:
                return status(409, "AlreadyExists")
            self.objects[path] = document
        old = self.objects.get(path)
        if old is None:
            return status(404, "NotFound")
        asked = document.get("preconditions", document.get("metadata", {})).get("resourceVersion")
        if request.method != "POST" and asked and asked != old["metadata"]["resourceVersion"]:
            return status(409, "Conflict")
        if request.method == "DELETE":
            return web.json_response(self.objects.pop(path))
        self.version += 1
        new = document if request.method in ("PUT", "POST") else old | document
        metadata = (old["metadata"] if request.method == "PATCH" else document["metadata"]) | {
            "resourceVersion": str(self.version)
        }
        self.objects[path] = new | {"metadata": metadata}
        return web.json_response(self.objects[path])


@contextlib.asynccontextmanager
async def stored(folder: Path) -> AsyncIterator[tuple[Objects, Client]]:
    """The store behind a server, and a client of it."""
    async with scripted(folder) as (api, client):
        objects = Objects()
        api.otherwise = lambda request: objects.answer(request)
        yield objects, client
