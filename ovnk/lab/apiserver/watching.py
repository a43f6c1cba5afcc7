"""Watch: the events of one resource as lines, to one client, from wherever it left off.

A watcher holds a position in the store's log and nothing else: writers only wake it, and a slow client costs no
memory but is told 410 once the log has passed it. Lines are encoded once a kind, however many watchers there are.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from ovnk.lab.apiserver import representation, status
from ovnk.lab.apiserver.kinds import Kind
from ovnk.lab.apiserver.selectors import Selector
from ovnk.lab.apiserver.store import Compacted, Event, Store
from ovnk.lab.apiserver.stored import Stored

INITIAL_EVENTS_END = "k8s.io/initial-events-end"

# (kind, object) → the object as the client asked to see it: itself, its metadata, or a row of a table
Render = Callable[[Kind, Stored], bytes]


@dataclass(frozen=True, slots=True)
class Request:
    """What is watched. `version` None starts with the objects there are, as ADDED; `from_now` starts with none."""

    kind: Kind
    namespace: str | None
    selector: Selector
    version: int | None
    render: Render
    from_now: bool = False
    bookmarks: bool = False
    initial_bookmark: bool = False
    timeout_s: float = 1800.0
    bookmark_interval_s: float = 60.0


class Watchers:
    """All watches of one server, so that a shutdown can end them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._awake: set[asyncio.Event] = set()
        self._closing = False

    def close(self) -> None:
        """End every watch after the events it already has."""
        self._closing = True
        for awake in self._awake:
            awake.set()

    async def lines(self, request: Request) -> AsyncIterator[bytes]:
        """Chunks of whole lines ({"type":…,"object":…}); ends at the timeout, at a shutdown, or after an ERROR."""
        awake = asyncio.Event()
        unsubscribe = self._store.subscribe(request.kind.storage, lambda _: awake.set())
        self._awake.add(awake)
        try:
            async for chunk in self._follow(request, awake):
                yield chunk
        finally:
            self._awake.discard(awake)
            unsubscribe()

    async def _follow(self, request: Request, awake: asyncio.Event) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        end = loop.time() + request.timeout_s
        log = self._store.log(request.kind.storage)
        try:
            if request.version is not None and request.version > self._store.version:
                # From before a restart that lost the objects: what it saw is not what there is.
                raise Compacted(request.version, self._store.version)
            position = log.end() if request.version is None else log.position(request.version)
            if request.version is None and not request.from_now:
                yield self._initial(request)
            while not self._closing:
                # The wake-up is cleared before the log is read: what comes in between wakes again.
                awake.clear()
                events = log.read(position)
                position += len(events)
                chunk = b"".join(line for event in events if (line := _line_for(request, event)))
                if chunk:
                    yield chunk
                remaining_s = end - loop.time()
                if remaining_s <= 0:
                    return
                if not await _woken(awake, min(remaining_s, request.bookmark_interval_s)) and request.bookmarks:
                    yield _bookmark(request.kind, self._store.version)
        except Compacted:
            why = "The resourceVersion for the provided watch is too old."
            yield _line(b"ERROR", orjson.dumps(status.expired(why).body()))

    def _initial(self, request: Request) -> bytes:
        stored = self._store.select(request.kind.storage, request.namespace)
        lines = [_line(b"ADDED", request.render(request.kind, one)) for one in stored if request.selector.matches(one)]
        if request.initial_bookmark:
            lines.append(_bookmark(request.kind, self._store.version, {INITIAL_EVENTS_END: "true"}))
        return b"".join(lines)


async def _woken(awake: asyncio.Event, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            await awake.wait()
    except TimeoutError:
        return False
    return True


def _line_for(request: Request, event: Event) -> bytes | None:
    """The event as this watcher sees it, or None: an object that enters or leaves its selection is added or deleted."""
    if request.namespace is not None and event.current.namespace != request.namespace:
        return None
    matches = request.selector.matches(event.current)
    kind = request.kind
    if event.type != "MODIFIED":
        # A deleted object was selected by what it was before: nobody else may hear of it.
        return _line(event.type.encode(), request.render(kind, event.current)) if matches else None
    matched = event.previous is not None and request.selector.matches(event.previous)
    if matches and matched:
        return _line(b"MODIFIED", request.render(kind, event.current))
    if matches:
        return _line(b"ADDED", request.render(kind, event.current))
    return _line(b"DELETED", request.render(kind, _left(event))) if matched else None


@lru_cache(maxsize=256)
def _left(event: Event) -> Stored:
    """The object that left a selection: as it was, at the version at which it changed."""
    previous = event.previous or event.current
    metadata = {**previous.value["metadata"], "resourceVersion": str(event.version)}
    value = {**previous.value, "metadata": metadata}
    return Stored(value, event.version)


def _bookmark(kind: Kind, version: int, annotations: dict[str, str] | None = None) -> bytes:
    metadata: dict[str, Any] = {"resourceVersion": str(version), "creationTimestamp": None}
    if annotations:
        metadata["annotations"] = annotations
    shown = {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata}
    return _line(b"BOOKMARK", orjson.dumps(shown))


def _line(event_type: bytes, shown: bytes) -> bytes:
    return b'{"type":"' + event_type + b'","object":' + shown + b"}\n"


def whole(kind: Kind, stored: Stored) -> bytes:
    """The plain Render: the object itself."""
    return representation.encoded(kind, stored)
