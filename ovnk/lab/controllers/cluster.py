"""The cluster as the controllers see and change it: caches filled by watches, and writes that enter them at once.

The only file here that talks to the API server. Every resource is listed and watched once, however many
controllers read it. What a write means is the controllers' business.
"""

import asyncio
import contextlib
import datetime
import random
from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson
import structlog

from ovnk.kube.client import MERGE_PATCH, ApiError, Client
from ovnk.lab.controllers.cache import Cache
from ovnk.lab.controllers.resources import EVENTS, Key, Object, Resource, key_of, name_of, namespace_of, uid_of

log = structlog.get_logger()

PAGE = 500
WATCH_S = 300
# A watch that lasted this long ended in peace; others are begun again after AGAIN_S, twice that, and so on.
SETTLED_S = 5.0
AGAIN_S, AGAIN_S_MAX = 0.02, 10.0
EXPIRED = 410
NOT_FOUND = 404


class Cluster:
    """Caches of the resources that controllers asked for, and the verbs to change them. One event loop's."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._caches: dict[Resource, Cache] = {}
        self._synced: dict[Resource, asyncio.Event] = {}

    def cache(self, resource: Resource) -> Cache:
        """The cache of that resource; empty until `run` has listed it."""
        if resource not in self._caches:
            self._caches[resource] = Cache(resource)
            self._synced[resource] = asyncio.Event()
        return self._caches[resource]

    async def run(self) -> None:
        """Keep every cache current until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for cache in self._caches.values():
                tasks.create_task(self._follow(cache))

    async def synced(self) -> None:
        """Return when every cache has been listed once."""
        for event in self._synced.values():
            await event.wait()

    async def create(self, resource: Resource, value: Object) -> Object:
        """Create an object; the answer, defaults filled in, is in the cache when this returns. Raises ApiError."""
        path = resource.path(namespace_of(value))
        return self._written(resource, await self._client.request("POST", path, body=value))

    async def update(self, resource: Resource, value: Object, subresource: str = "") -> Object:
        """Replace an object; its resourceVersion decides: ApiError 409 when it is no longer the current one."""
        path = resource.path_of(key_of(value), subresource)
        return self._written(resource, await self._client.request("PUT", path, body=value))

    async def patch(self, resource: Resource, key: Key, patch: Mapping[str, Any], subresource: str = "") -> Object:
        """Merge `patch` into an object (RFC 7386: None removes a field, lists are replaced). Raises ApiError."""
        answer = await self._client.request(
            "PATCH",
            resource.path_of(key, subresource),
            body=patch,
            content_type=MERGE_PATCH,
        )
        return self._written(resource, answer)

    async def delete(self, resource: Resource, value: Object, propagation: str = "Background") -> None:
        """Delete this very object (by UID); that it is gone, or another has its name, is no error."""
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid_of(value)},
            "propagationPolicy": propagation,
        }
        try:
            answer = await self._client.request("DELETE", resource.path_of(key_of(value)), body=options)
        except ApiError as error:
            # 409: the name is another object's now (the UID precondition).
            if error.status not in (NOT_FOUND, 409):
                raise
            self.cache(resource).removed(value)
            return
        left = orjson.loads(answer)
        if left.get("kind") == resource.kind and left["metadata"].get("deletionTimestamp"):
            self.cache(resource).written(left)

    async def request(self, method: str, path: str, body: Object | None = None) -> bytes:
        """Any other request, past the caches (discovery, subresources that do not answer with their object)."""
        return await self._client.request(method, path, body=body)

    async def event(self, resource: Resource, value: Object, kind: str, reason: str, message: str) -> None:
        """Tell of something on an object (kubectl describe shows it); a server that won't take it is no error."""
        now = timestamp()
        namespace = namespace_of(value) or "default"
        report = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{name_of(value)}.", "namespace": namespace},
            "involvedObject": {
                "apiVersion": resource.api_version,
                "kind": resource.kind,
                "namespace": namespace_of(value),
                "name": name_of(value),
                "uid": uid_of(value),
            },
            "type": kind,
            "reason": reason,
            "message": message,
            "source": {"component": "ovnk-lab"},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        with contextlib.suppress(ApiError):
            await self._client.request("POST", EVENTS.path(namespace), body=report)

    def _written(self, resource: Resource, answer: bytes) -> Object:
        value: Object = orjson.loads(answer)
        self.cache(resource).written(value)
        return value

    async def _follow(self, cache: Cache) -> None:
        """List, then watch from there; after a 410 list again; each end in quick succession is waited for longer."""
        loop = asyncio.get_running_loop()
        version, failures = "", 0
        while True:
            began = loop.time()
            try:
                if not version:
                    version = await self._list(cache)
                    self._synced[cache.resource].set()
                async for event in self._watch(cache.resource, version):
                    value = event["object"]
                    if event["type"] == "ERROR":
                        raise ApiError(value.get("code", 0), value.get("reason", ""), value.get("message", ""))
                    version = value["metadata"]["resourceVersion"]
                    cache.watched(event["type"], value)
            except ApiError as error:
                if error.status == EXPIRED:
                    version = ""
                elif not error.transient:
                    log.warning("cannot be watched", resource=cache.resource.plural, why=str(error))
            failures = 0 if loop.time() - began > SETTLED_S else failures + 1
            await asyncio.sleep(min(AGAIN_S_MAX, AGAIN_S * 2 ** min(failures, 16)) * random.uniform(0.5, 1.0))

    async def _list(self, cache: Cache) -> str:
        values: list[Object] = []
        query = {"limit": str(PAGE)}
        while True:
            page = orjson.loads(await self._client.request("GET", cache.resource.path(), query=query))
            values += page.get("items") or ()
            more = page["metadata"].get("continue")
            if not more:
                break
            query["continue"] = more
        version: str = page["metadata"]["resourceVersion"]
        for value in values:
            # Items of a list do not name their kind; what controllers hand on does.
            value.setdefault("apiVersion", cache.resource.api_version)
            value.setdefault("kind", cache.resource.kind)
        cache.replace(values, int(version))
        return version

    async def _watch(self, resource: Resource, version: str) -> AsyncIterator[Object]:
        query = {
            "watch": "1",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_S),
        }
        async for line in self._client.stream("GET", resource.path(), query=query):
            yield orjson.loads(line)


def timestamp() -> str:
    """Now, as the API writes it (RFC 3339, UTC, whole seconds)."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
