"""The versioned store: objects, one growing resourceVersion, and a bounded log of events a resource.

What etcd and the watch cache are to a real API server. Values go in and are never changed again: a writer hands over
a value of its own, a reader must not touch what it gets. It knows neither kinds nor HTTP, and checks nothing: rules
are operations.py's. Everything is synchronous and on one thread; a write calls the subscribers before it returns.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import orjson

from ovnk.lab.apiserver.journal import Journal, Record
from ovnk.lab.apiserver.kinds import Resource
from ovnk.lab.apiserver.stored import Stored

EventType = Literal["ADDED", "MODIFIED", "DELETED"]

LOG_LENGTH: Final = 10_000


class Compacted(Exception):  # noqa: N818  etcd's word for it
    """The version asked for is older than the log; `floor` is the oldest one that can be resumed from."""

    def __init__(self, version: int, floor: int) -> None:
        super().__init__(f"version {version} is compacted, the log starts after {floor}")
        self.version, self.floor = version, floor


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """One change. `current` is the object after it (a deleted one: its last state at the version of its deletion)."""

    type: EventType
    resource: Resource
    current: Stored
    previous: Stored | None

    @property
    def version(self) -> int:
        """The resourceVersion the change made."""
        return self.current.version


Subscriber = Callable[[Event], None]


class Log:
    """The last events of one resource, read by position, so that a slow reader holds nothing but a number.

    A position counts events from the beginning of time; `floor` is the version of the newest event that is gone.
    """

    def __init__(self, length_max: int, floor: int) -> None:
        self._length_max = length_max
        self._events: list[Event] = []
        self._versions: list[int] = []
        self._first = 0  # index of the oldest event kept
        self._dropped = 0  # events removed from the lists' front, ever
        self.floor = floor

    def append(self, event: Event) -> None:
        """Add the newest event; beyond the length the oldest becomes unreadable."""
        self._events.append(event)
        self._versions.append(event.version)
        if len(self._events) - self._first > self._length_max:
            self.floor = self._versions[self._first]
            self._first += 1
            # The list's front is cut in lumps: a pop(0) a write would be linear in the log.
            if self._first >= max(self._length_max, 64):
                del self._events[: self._first], self._versions[: self._first]
                self._dropped += self._first
                self._first = 0

    def position(self, version: int) -> int:
        """Where to read on to get every event after `version`. Raises Compacted when some of them are gone."""
        if version < self.floor:
            raise Compacted(version, self.floor)
        return self._dropped + bisect_right(self._versions, version, lo=self._first)

    def end(self) -> int:
        """The position of the next event."""
        return self._dropped + len(self._events)

    def read(self, position: int) -> list[Event]:
        """The events from `position` on. Raises Compacted when the reader was so slow that some are gone."""
        index = position - self._dropped
        if index < self._first:
            raise Compacted(0, self.floor)
        return self._events[index:]

    def compact(self, floor: int) -> None:
        """Forget the events up to and including version `floor`."""
        if floor > self.floor:
            self.floor = floor
            self._first = bisect_right(self._versions, floor, lo=self._first)


class Store:
    """All objects of all resources. With a path, every change is in the file before the write returns."""

    def __init__(self, path: Path | None = None, *, log_length: int = LOG_LENGTH) -> None:
        self._log_length = log_length
        self._objects: dict[Resource, dict[str, dict[str, Stored]]] = {}
        self._logs: dict[Resource, Log] = {}
        self._subscribers: dict[Resource | None, list[Subscriber]] = {None: []}
        self._count = 0
        self.version = 1
        self._floor = 1
        self._journal: Journal | None = None
        if path is not None:
            self._journal = Journal(path)
            for record in self._journal.load():
                self._replay(record)

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._journal is not None:
            self._journal.close()

    def get(self, resource: Resource, namespace: str, name: str) -> Stored | None:
        """The object of that name ("" is the namespace of cluster-scoped ones), or None."""
        return self._objects.get(resource, {}).get(namespace, {}).get(name)

    def select(self, resource: Resource, namespace: str | None = None) -> list[Stored]:
        """The objects of a resource, in one namespace or in all, ordered by namespace and name."""
        return _ordered(self._objects.get(resource, {}), namespace)

    def holds(self, resource: Resource, namespace: str) -> bool:
        """Whether a namespace has any object of the resource."""
        return bool(self._objects.get(resource, {}).get(namespace))

    def at(self, resource: Resource, version: int, namespace: str | None = None) -> list[Stored]:
        """What `select` gave at that version: today's objects with the events since undone. Raises Compacted."""
        log = self.log(resource)
        objects = {space: dict(names) for space, names in self._objects.get(resource, {}).items()}
        for event in reversed(log.read(log.position(version))):
            names = objects.setdefault(event.current.namespace, {})
            if event.previous is None:
                del names[event.current.name]
            else:
                names[event.current.name] = event.previous
        return _ordered(objects, namespace)

    def write(self, resource: Resource, value: dict[str, Any]) -> Stored:
        """Store `value` under its metadata's namespace and name; its resourceVersion is set, and it is now ours."""
        self.version += 1
        value["metadata"]["resourceVersion"] = str(self.version)
        stored = Stored(value, self.version)
        previous = self._objects.get(resource, {}).get(stored.namespace, {}).get(stored.name)
        self._change(Event("ADDED" if previous is None else "MODIFIED", resource, stored, previous))
        return stored

    def remove(self, resource: Resource, value: dict[str, Any]) -> Stored:
        """Delete the object `value` names; `value` is its last state. Its deletion has a version of its own."""
        previous = self._objects[resource][value["metadata"].get("namespace", "")][value["metadata"]["name"]]
        self.version += 1
        value["metadata"]["resourceVersion"] = str(self.version)
        stored = Stored(value, self.version)
        self._change(Event("DELETED", resource, stored, previous))
        return stored

    def log(self, resource: Resource) -> Log:
        """The resource's event log."""
        log = self._logs.get(resource)
        if log is None:
            log = self._logs[resource] = Log(self._log_length, self._floor)
        return log

    def compact(self) -> None:
        """Forget all events: every older resourceVersion is Expired from now on."""
        self._floor = self.version
        for log in self._logs.values():
            log.compact(self.version)

    def subscribe(self, resource: Resource | None, subscriber: Subscriber) -> Callable[[], None]:
        """Call `subscriber` on every event of a resource (None: of all). The result ends the subscription."""
        subscribers = self._subscribers.setdefault(resource, [])
        subscribers.append(subscriber)
        return lambda: subscribers.remove(subscriber)

    def _change(self, event: Event) -> None:
        self._apply(event)
        if self._journal is not None:
            self._journal.append(Record(event.type, event.resource, event.current.encoded))
            if self._journal.should_rewrite(self._count):
                self._journal.rewrite(self.version, self._records())
        for subscriber in (*self._subscribers.get(event.resource, ()), *self._subscribers[None]):
            subscriber(event)

    def _apply(self, event: Event) -> None:
        names = self._objects.setdefault(event.resource, {}).setdefault(event.current.namespace, {})
        if event.type == "DELETED":
            del names[event.current.name]
            if not names:
                del self._objects[event.resource][event.current.namespace]
            self._count -= 1
        else:
            names[event.current.name] = event.current
            self._count += event.previous is None
        self.log(event.resource).append(event)

    def _records(self) -> Iterator[Record]:
        for resource, spaces in self._objects.items():
            for names in spaces.values():
                for stored in names.values():
                    yield Record("HELD", resource, stored.encoded)

    def _replay(self, record: Record) -> None:
        if record.type == "START":
            self.version = self._floor = orjson.loads(record.encoded)["version"]
            return
        value = record.value or orjson.loads(record.encoded)
        stored = Stored(value, int(value["metadata"]["resourceVersion"]), record.encoded)
        previous = self.get(record.resource, stored.namespace, stored.name)
        if record.type == "HELD":
            self._objects.setdefault(record.resource, {}).setdefault(stored.namespace, {})[stored.name] = stored
            self._count += 1
            return
        self.version = max(self.version, stored.version)
        self._apply(Event(record.type, record.resource, stored, previous))


def _ordered(objects: dict[str, dict[str, Stored]], namespace: str | None) -> list[Stored]:
    if namespace is not None:
        names = objects.get(namespace, {})
        return [names[name] for name in sorted(names)]
    return [names[name] for _, names in sorted(objects.items()) for name in sorted(names)]
