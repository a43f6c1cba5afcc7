"""HTTP: paths to verbs, verbs to answers, and every failure to a Status object.

    request ─▶ token? ─▶ discovery, openapi, version
                     └▶ routes: kind, namespace, name, subresource ─▶ operations, listing, watching ─▶ JSON

It decides nothing about objects. Everything but reading a body and streaming a watch is synchronous, so a request is
one step: no two writes ever interleave.
"""

import asyncio
import contextlib
import hmac
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final

import orjson
import structlog
from aiohttp import web

from ovnk.errors import ConfigError
from ovnk.lab.apiserver import (
    bodies,
    listing,
    negotiation,
    patches,
    rendering,
    representation,
    routes,
    selectors,
    services,
    status,
    subresources,
    watching,
)
from ovnk.lab.apiserver.bodies import Write
from ovnk.lab.apiserver.collection import Collector
from ovnk.lab.apiserver.deletion import NAMESPACES, Delete
from ovnk.lab.apiserver.kinds import Kind
from ovnk.lab.apiserver.operations import Operations
from ovnk.lab.apiserver.registry import Registry
from ovnk.lab.apiserver.status import StatusError
from ovnk.lab.apiserver.store import Store
from ovnk.lab.apiserver.stored import Stored

Object = dict[str, Any]

log = structlog.get_logger()

SERVICE_CIDRS: Final = ("10.96.0.0/16",)
# A real API server's limit on a request's body.
BODY_BYTES_MAX: Final = 3 * 1024 * 1024
BOOKMARK_INTERVAL_S: Final = 60.0

_OPEN_PATHS: Final = frozenset({"/version", "/healthz", "/livez", "/readyz"})
_FIRST_NAMESPACES: Final = ("default", "kube-node-lease", "kube-public", "kube-system")


def create_app(
    store: Store,
    *,
    token: str | None = None,
    service_cidrs: tuple[str, ...] = SERVICE_CIDRS,
    bookmark_interval_s: float = BOOKMARK_INTERVAL_S,
) -> web.Application:
    """The server over a store, as an aiohttp application. With a token every request must bear it.

    Raises ConfigError for service CIDRs that are none.

    `service_cidrs` are what Services' cluster IPs come from: one a family, the primary first.
    """
    cidrs = tuple(_network(cidr) for cidr in service_cidrs)
    if not cidrs or len({cidr.version for cidr in cidrs}) != len(cidrs):
        raise ConfigError(f'service CIDRs "{",".join(service_cidrs)}" must be one a family, the primary first')
    server = _Server(store, token, cidrs, bookmark_interval_s)
    app = web.Application(client_max_size=BODY_BYTES_MAX)
    app.router.add_route("*", "/{path:.*}", server.handle)
    app.on_startup.append(server.start)
    app.on_shutdown.append(server.shut_down)
    return app


class _Server:
    def __init__(
        self, store: Store, token: str | None, cidrs: tuple[services.Network, ...], bookmark_interval_s: float
    ) -> None:
        self._store = store
        self._authorization = None if token is None else f"Bearer {token}".encode()
        self._token = token
        self._bookmark_interval_s = bookmark_interval_s
        self._registry = Registry(store)
        self._operations = Operations(store, self._registry, services.ServiceAddresses(store, cidrs))
        self._watchers = watching.Watchers(store)
        self._collector = Collector(self._operations, self._wake_collector)
        self._verbs: dict[str, Callable[[web.Request, routes.Target], Awaitable[web.StreamResponse]]] = {
            "GET": self._get,
            "POST": self._post,
            "PUT": self._put,
            "PATCH": self._patch,
            "DELETE": self._delete,
        }
        for name in _FIRST_NAMESPACES:
            if store.get(NAMESPACES.storage, "", name) is None:
                self._operations.create(NAMESPACES, "", {"metadata": {"name": name}}, Write("ovnk-apiserver"))

    async def handle(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._answer(request)
        except StatusError as error:
            return _json(error.body(), error.code)
        except web.HTTPRequestEntityTooLarge:
            refusal = status.too_large(BODY_BYTES_MAX)
            return _json(refusal.body(), refusal.code)
        except ConnectionError:
            raise
        except (RecursionError, orjson.JSONEncodeError):
            refusal = status.bad_request("the object is nested too deeply, or holds a number of more than 64 bits")
            return _json(refusal.body(), refusal.code)
        except Exception as error:  # whatever a request does, the server goes on and says so
            log.exception("request failed", method=request.method, path=request.path)
            failure = status.internal(repr(error))
            return _json(failure.body(), failure.code)

    async def start(self, _: web.Application) -> None:
        # A state file may hold deletions that were under way.
        self._collector.run()

    async def shut_down(self, _: web.Application) -> None:
        self._watchers.close()

    def _wake_collector(self) -> None:
        with contextlib.suppress(RuntimeError):  # no loop yet: `start` runs it
            asyncio.get_running_loop().call_soon(self._collector.run)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        if self._authorization is not None and path not in _OPEN_PATHS:
            given = request.headers.get("Authorization", "").encode()
            if not hmac.compare_digest(given, self._authorization):
                raise status.unauthorized()
        parts = [part for part in path.split("/") if part]
        document = routes.document(self._registry, parts, request.headers.get("Accept", ""))
        if document is not None:
            return web.Response(body=document.content, headers={"Content-Type": document.media_type})
        return await self._verb(request)(request, routes.target(self._registry, parts))

    def _verb(self, request: web.Request) -> Callable[[web.Request, routes.Target], Awaitable[web.StreamResponse]]:
        verb = self._verbs.get(request.method)
        if verb is None:
            raise status.method_not_allowed()
        return verb

    async def _get(self, request: web.Request, target: routes.Target) -> web.StreamResponse:
        kind, query = target.kind, request.query
        accepted = negotiation.accepted(request.headers.get("Accept", ""), query.get("includeObject", ""))
        if target.name:
            stored = self._operations.get(kind, target.place, target.name)
            if target.subresource == "scale":
                return _json(subresources.scale_of(kind, stored.value))
            if target.subresource not in ("", "status"):
                raise status.method_not_allowed()
            return _encoded(rendering.one(kind, stored, accepted))
        if "list" not in kind.verbs:
            raise status.method_not_allowed()
        selector = _selector(kind, query)
        if query.get("watch") in ("1", "true"):
            return await self._watch(request, target, selector, accepted)
        page = listing.page(
            self._store,
            kind,
            listing.Query(
                target.namespace,
                selector,
                _integer(query.get("limit")),
                query.get("continue", ""),
                query.get("resourceVersion", ""),
                query.get("resourceVersionMatch", ""),
            ),
        )
        return _encoded(rendering.page(kind, page, accepted))

    async def _watch(
        self, request: web.Request, target: routes.Target, selector: selectors.Selector, accepted: negotiation.Accepted
    ) -> web.StreamResponse:
        query, kind = request.query, target.kind
        initial = query.get("sendInitialEvents") in ("true", "1")
        given = query.get("resourceVersion", "")
        if given and not given.isdigit():
            raise status.bad_request(f'resourceVersion: Invalid value: "{given}": must be an unsigned integer')
        version = None if given in ("", "0") or initial else int(given)

        def render(kind: Kind, stored: Stored) -> bytes:
            return rendering.one(kind, stored, accepted)

        watched = watching.Request(
            kind=kind,
            namespace=target.namespace,
            selector=selector,
            version=version,
            render=watching.whole if accepted.shape == "object" else render,
            from_now=query.get("sendInitialEvents") in ("false", "0") and version is None,
            bookmarks=query.get("allowWatchBookmarks") in ("true", "1"),
            initial_bookmark=initial and query.get("allowWatchBookmarks") in ("true", "1"),
            timeout_s=_integer(query.get("timeoutSeconds")) or 1800,
            bookmark_interval_s=self._bookmark_interval_s,
        )
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        await _stream(response, self._watchers.lines(watched))
        return response

    async def _post(self, request: web.Request, target: routes.Target) -> web.StreamResponse:
        kind = target.kind
        body = await self._body(request)
        write = negotiation.write(request.query, request.headers.get("User-Agent", ""))
        if target.name and target.subresource not in ("binding", "eviction"):
            raise status.method_not_allowed()
        if kind.namespaced and target.namespace is None:
            raise status.method_not_allowed()
        if target.subresource == "binding" or kind.kind == "Binding":
            return _json(subresources.bind(self._operations, target.place, target.name, body, write), 201)
        if target.subresource == "eviction":
            eviction = bodies.typed(subresources.EVICTION, body)
            options = negotiation.delete(request.query, eviction.get("deleteOptions"))
            return _json(subresources.evict(self._operations, target.place, target.name, options), 201)
        if kind.verbs == ("create",):
            return _json(subresources.reviewed(kind, body, self._token), 201)
        stored = self._operations.create(kind, target.place, body, write)
        return self._written(kind, stored, write, 201)

    async def _put(self, request: web.Request, target: routes.Target) -> web.StreamResponse:
        kind = target.kind
        if not target.name:
            raise status.method_not_allowed()
        body = await self._body(request)
        write = negotiation.write(request.query, request.headers.get("User-Agent", ""), target.subresource)
        if target.subresource == "scale":
            return self._scaled(target, body, write)
        if target.subresource == "finalize":
            return self._finalized(target, body, write)
        stored = self._operations.update(kind, target.place, target.name, body, write)
        return self._written(kind, stored, write, 200)

    async def _patch(self, request: web.Request, target: routes.Target) -> web.StreamResponse:
        kind, media_type = target.kind, request.content_type
        if not target.name:
            raise status.method_not_allowed()
        if media_type not in (patches.JSON, patches.MERGE, patches.STRATEGIC, patches.APPLY):
            known = [patches.JSON, patches.MERGE, patches.STRATEGIC, patches.APPLY]
            raise status.unsupported_media_type(", ".join(known))
        body = await self._body(request)
        write = negotiation.write(request.query, request.headers.get("User-Agent", ""), target.subresource)
        if media_type == patches.APPLY:
            if not request.query.get("fieldManager"):
                raise status.bad_request(
                    'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch'
                )
            stored, created = self._operations.apply(kind, target.place, target.name, body, write)
            return self._written(kind, stored, write, 201 if created else 200)
        if target.subresource == "scale":
            before = subresources.scale_of(kind, self._operations.get(kind, target.place, target.name).value)
            # A Scale has no lists, so a strategic merge patch of one is a merge patch.
            merged = bodies.patched(kind, before, patches.JSON if media_type == patches.JSON else patches.MERGE, body)
            return self._scaled(target, merged, write)
        stored = self._operations.patch(kind, target.place, target.name, media_type, body, write)
        return self._written(kind, stored, write, 200)

    def _scaled(self, target: routes.Target, scale: Any, write: Write) -> web.Response:
        kind = target.kind
        value = self._operations.get(kind, target.place, target.name).value
        wanted = orjson.loads(orjson.dumps(subresources.scaled(kind, value, scale)))
        stored = self._operations.update(kind, target.place, target.name, wanted, write)
        return _json(subresources.scale_of(kind, stored.value))

    def _finalized(self, target: routes.Target, body: Any, write: Write) -> web.Response:
        stored = self._operations.get(target.kind, target.place, target.name)
        finalizers = (bodies.typed(target.kind.definition, body).get("spec") or {}).get("finalizers") or []

        def change(value: Object) -> None:
            value["spec"] = {**value["spec"], "finalizers": finalizers}

        return self._written(target.kind, self._operations.change(target.kind, stored, change), write, 200)

    async def _delete(self, request: web.Request, target: routes.Target) -> web.StreamResponse:
        kind = target.kind
        content = await request.read()
        options = negotiation.delete(
            request.query, negotiation.body(content, request.content_type) if content else None
        )
        if not target.name:
            return self._delete_collection(request, target, options)
        if target.subresource:
            raise status.method_not_allowed()
        stored, gone = self._operations.delete(kind, target.place, target.name, options)
        if gone and kind.kind not in ("Pod", "Service", "ServiceAccount", "PersistentVolume", "PersistentVolumeClaim"):
            return _json(status.success(kind, target.name, stored.value["metadata"]["uid"]))
        return _encoded(representation.encoded(kind, stored))

    def _delete_collection(self, request: web.Request, target: routes.Target, options: Delete) -> web.Response:
        kind, query = target.kind, request.query
        if "deletecollection" not in kind.verbs:
            raise status.method_not_allowed()
        selector = _selector(kind, query)
        found = self._operations.select(kind, target.namespace, selector)
        for stored in found:
            self._operations.delete(kind, stored.namespace, stored.name, options)
        return _encoded(rendering.page(kind, listing.Page(found, self._store.version), negotiation.Accepted()))

    async def _body(self, request: web.Request) -> Any:
        return negotiation.body(await request.read(), request.content_type if "Content-Type" in request.headers else "")

    def _written(self, kind: Kind, stored: Stored, write: Write, code: int) -> web.Response:
        response = _encoded(representation.encoded(kind, stored), code)
        for warning in write.warnings:
            escaped = warning.replace("\\", "\\\\").replace('"', '\\"')
            response.headers.add("Warning", f'299 - "{escaped}"')
        return response


def _network(cidr: str) -> services.Network:
    try:
        return ipaddress.ip_network(cidr)
    except ValueError as error:
        raise ConfigError(f'service CIDR "{cidr}" is not a network: {error}') from error


def _selector(kind: Kind, query: Mapping[str, str]) -> selectors.Selector:
    try:
        return selectors.parse(kind, query.get("labelSelector", ""), query.get("fieldSelector", ""))
    except ValueError as error:
        raise status.bad_request(str(error)) from error


async def _stream(response: web.StreamResponse, lines: AsyncIterator[bytes]) -> None:
    try:
        async for chunk in lines:
            await response.write(chunk)
        await response.write_eof()
    except ConnectionError:
        pass  # the client has gone, as watchers do


def _json(value: Object, code: int = 200) -> web.Response:
    return _encoded(orjson.dumps(value), code)


def _encoded(content: bytes, code: int = 200) -> web.Response:
    return web.Response(body=content, status=code, content_type="application/json")


def _integer(text: str | None) -> int:
    if not text:
        return 0
    if not text.isdigit():
        raise status.bad_request(f'"{text}" is not an unsigned integer')
    return int(text)
