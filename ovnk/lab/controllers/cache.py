"""A local copy of one resource, kept by list and watch and by the controllers' own writes.

A controller that creates a Pod must see it at its next reconcile, or it creates a second one; the watch may bring it
later. Upstream counts such «expectations»; here the answer to a write enters the cache at once, and resourceVersions
decide which of two copies is newer (comparable within a resource, KEP-5504). Objects in the cache are never changed
in place. No deltas are kept: handlers get the copy before and the copy after.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable

from ovnk.lab.controllers.resources import Key, Object, Resource, key_of, uid_of, version_of

# Called with (before, after); None stands for absence.
Handler = Callable[[Object | None, Object | None], None]
Index = Callable[[Object], Iterable[Hashable]]


class Cache:
    """The objects of one resource by key, with indexes by what a function makes of each."""

    def __init__(self, resource: Resource) -> None:
        self.resource = resource
        self.objects: dict[Key, Object] = {}
        self._indexes: dict[str, Index] = {}
        self._by: dict[str, dict[Hashable, dict[Key, Object]]] = {}
        self._handlers: list[Handler] = []
        # The newest resourceVersion that the watch has brought: what a slower answer says of the time before is old.
        self._watched = 0

    def index(self, name: str, values: Index) -> None:
        """Keep an index under `name`: `by(name, value)` finds the objects for which `values` yields that value."""
        if name in self._indexes:
            return
        self._indexes[name] = values
        self._by[name] = defaultdict(dict)
        for key, value in self.objects.items():
            for entry in values(value):
                self._by[name][entry][key] = value

    def by(self, name: str, value: Hashable) -> list[Object]:
        """The objects that the index `name` has under `value`."""
        return list(self._by[name].get(value, {}).values())

    def get(self, key: Key) -> Object | None:
        """The object with that key, or None."""
        return self.objects.get(key)

    def subscribe(self, handler: Handler) -> None:
        """Have `handler` called for each change, and at once for each object that is there."""
        self._handlers.append(handler)
        for value in list(self.objects.values()):
            handler(None, value)

    def replace(self, values: Iterable[Object], version: int) -> None:
        """All objects as of a list at resourceVersion `version`; own writes that are newer stay."""
        listed = {key_of(value): value for value in values}
        self._watched = max(self._watched, version)
        for key, value in list(self.objects.items()):
            if key not in listed and version_of(value) <= version:
                self._set(key, None)
        for key, value in listed.items():
            self._put(key, value)

    def watched(self, kind: str, value: Object) -> None:
        """One event of the watch: ADDED, MODIFIED, DELETED or BOOKMARK."""
        version = version_of(value)
        self._watched = max(self._watched, version)
        if kind == "BOOKMARK":
            return
        key = key_of(value)
        if kind == "DELETED":
            held = self.objects.get(key)
            if held is not None and version_of(held) <= version:
                self._set(key, None)
        else:
            self._put(key, value)

    def written(self, value: Object) -> None:
        """The answer to a write of ours; ignored when the watch is already past it."""
        if version_of(value) > self._watched:
            self._put(key_of(value), value)

    def removed(self, value: Object) -> None:
        """The server says that this very object (by UID) is gone."""
        held = self.objects.get(key_of(value))
        if held is not None and uid_of(held) == uid_of(value):
            self._set(key_of(value), None)

    def _put(self, key: Key, value: Object) -> None:
        held = self.objects.get(key)
        if held is None or version_of(held) < version_of(value):
            self._set(key, value)

    def _set(self, key: Key, value: Object | None) -> None:
        held = self.objects.get(key)
        if value is None:
            self.objects.pop(key, None)
        else:
            self.objects[key] = value
        for name, values in self._indexes.items():
            by = self._by[name]
            if held is not None:
                for entry in values(held):
                    by[entry].pop(key, None)
                    if not by[entry]:
                        del by[entry]
            if value is not None:
                for entry in values(value):
                    by[entry][key] = value
        for handler in self._handlers:
            handler(held, value)
