"""What follows a delete: owned objects go with their owners, a namespace with its content, a CRD with its objects.

The garbage collector and the namespace controller of a real cluster, driven by the store's events: a change only puts
the objects it concerns on a list, and `run` works the list off, so a delete answers before its consequences.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from ovnk.lab.apiserver import definitions
from ovnk.lab.apiserver.deletion import DEFINITIONS, FOREGROUND, NAMESPACES, ORPHAN, Delete
from ovnk.lab.apiserver.kinds import Kind, Resource
from ovnk.lab.apiserver.operations import Operations
from ovnk.lab.apiserver.status import StatusError
from ovnk.lab.apiserver.store import Event
from ovnk.lab.apiserver.stored import Stored


class Key(NamedTuple):
    """One object, by place."""

    resource: Resource
    namespace: str
    name: str


class Collector:
    """Follows one store. `wake` is called when `run` has something to do."""

    def __init__(self, operations: Operations, wake: Callable[[], None]) -> None:
        self._operations, self._store, self._wake = operations, operations.store, wake
        self._live: dict[str, Key] = {}
        self._dependents: dict[str, set[Key]] = {}
        self._pending: dict[Key, None] = {}
        self._emptied: set[str] = set()  # UIDs of terminating namespaces whose content is all being deleted
        for resource in operations.registry.storages():
            for stored in self._store.select(resource):
                self._live[stored.value["metadata"]["uid"]] = Key(resource, stored.namespace, stored.name)
        for key in list(self._live.values()):
            stored_now = self._store.get(*key)
            if stored_now is not None:
                self._index(key, stored_now)
        self._store.subscribe(None, self._follow)

    def run(self) -> None:
        """Do all there is to do now; what waits for others (a finalizer, a kubelet) comes back with their events."""
        while self._pending:
            key = next(iter(self._pending))
            del self._pending[key]
            stored = self._store.get(*key)
            kind = self._operations.registry.storages().get(key.resource)
            if stored is not None and kind is not None:
                self._settle(kind, key, stored)

    def _follow(self, event: Event) -> None:
        key = Key(event.resource, event.current.namespace, event.current.name)
        if event.previous is not None and event.previous.value["metadata"].get("ownerReferences"):
            for uid in _owners(event.previous):
                self._dependents.get(uid, set()).discard(key)
        if event.type == "DELETED":
            self._gone(key, event.current)
        else:
            self._live[event.current.value["metadata"]["uid"]] = key
            self._index(key, event.current)

    def _index(self, key: Key, stored: Stored) -> None:
        metadata = stored.value["metadata"]
        owners = _owners(stored)
        for uid in owners:
            self._dependents.setdefault(uid, set()).add(key)
        abandoned = owners and not any(uid in self._live for uid in owners)
        if abandoned or metadata.get("deletionTimestamp"):
            self._add(key)

    def _gone(self, key: Key, stored: Stored) -> None:
        uid = stored.value["metadata"]["uid"]
        self._live.pop(uid, None)
        for dependent in self._dependents.pop(uid, ()):
            self._add(dependent)
        for owner in _owners(stored):
            if owner in self._live:
                self._add(self._live[owner])
        if key.namespace:
            self._add_if_terminating(Key(NAMESPACES.storage, "", key.namespace))
        if key.resource.group:
            self._add_if_terminating(Key(DEFINITIONS.storage, "", f"{key.resource.plural}.{key.resource.group}"))

    def _add_if_terminating(self, key: Key) -> None:
        stored = self._store.get(*key)
        if stored is not None and stored.value["metadata"].get("deletionTimestamp"):
            self._add(key)

    def _add(self, key: Key) -> None:
        if not self._pending:
            self._wake()
        self._pending[key] = None

    def _settle(self, kind: Kind, key: Key, stored: Stored) -> None:
        metadata = stored.value["metadata"]
        finalizers = metadata.get("finalizers") or []
        if metadata.get("deletionTimestamp"):
            if kind is NAMESPACES:
                self._empty_namespace(stored)
            elif kind is DEFINITIONS and definitions.CLEANUP in finalizers:
                self._empty_definition(stored)
            elif ORPHAN in finalizers:
                self._orphan(kind, stored)
            elif FOREGROUND in finalizers:
                self._delete_dependents_first(kind, stored)
        elif _owners(stored) and not any(uid in self._live for uid in _owners(stored)):
            self._delete(kind, stored, Delete(uid=metadata["uid"]))

    def _empty_namespace(self, stored: Stored) -> None:
        storages = self._operations.registry.storages()
        # Once everything is being deleted nothing is added, so the next visits only look whether it is gone.
        if stored.value["metadata"]["uid"] not in self._emptied:
            self._emptied.add(stored.value["metadata"]["uid"])
            for resource, kind in storages.items():
                for content in self._store.select(resource, stored.name) if kind.namespaced else ():
                    if not content.value["metadata"].get("deletionTimestamp"):
                        self._delete(kind, content, Delete())
        if not any(self._store.holds(resource, stored.name) for resource in storages):
            self._emptied.discard(stored.value["metadata"]["uid"])
            self._operations.change(NAMESPACES, stored, _finalized)

    def _empty_definition(self, stored: Stored) -> None:
        left = False
        for kind in self._operations.registry.kinds_of(stored.name)[:1]:
            for content in self._store.select(kind.storage):
                if not content.value["metadata"].get("deletionTimestamp"):
                    self._delete(kind, content, Delete())
                left = left or self._store.get(kind.storage, content.namespace, content.name) is not None
        if not left:
            self._operations.change(DEFINITIONS, stored, _without_finalizer(definitions.CLEANUP))

    def _orphan(self, kind: Kind, stored: Stored) -> None:
        uid = stored.value["metadata"]["uid"]
        for key in list(self._dependents.get(uid, ())):
            dependent, dependent_kind = self._store.get(*key), self._operations.registry.storages().get(key.resource)
            if dependent is not None and dependent_kind is not None:
                self._operations.change(dependent_kind, dependent, _without_owner(uid))
        self._operations.change(kind, stored, _without_finalizer(ORPHAN))

    def _delete_dependents_first(self, kind: Kind, stored: Stored) -> None:
        blocked = False
        uid = stored.value["metadata"]["uid"]
        for key in list(self._dependents.get(uid, ())):
            dependent, dependent_kind = self._store.get(*key), self._operations.registry.storages().get(key.resource)
            if dependent is None or dependent_kind is None:
                continue
            if not dependent.value["metadata"].get("deletionTimestamp"):
                self._delete(dependent_kind, dependent, Delete(propagation="Foreground"))
            present = self._store.get(*key)
            blocked = blocked or (present is not None and _blocks(present, uid))
        if not blocked:
            self._operations.change(kind, stored, _without_finalizer(FOREGROUND))

    def _delete(self, kind: Kind, stored: Stored, options: Delete) -> None:
        try:
            self._operations.delete(kind, stored.namespace, stored.name, options)
        except StatusError as error:
            # Another object took the name meanwhile: it is not the one to collect.
            if error.code not in (404, 409):
                raise


def _owners(stored: Stored) -> list[str]:
    return [owner["uid"] for owner in stored.value["metadata"].get("ownerReferences") or ()]


def _blocks(stored: Stored, uid: str) -> bool:
    references = stored.value["metadata"].get("ownerReferences") or ()
    return any(owner["uid"] == uid and owner.get("blockOwnerDeletion") for owner in references)


def _finalized(namespace: dict[str, Any]) -> None:
    kept = [one for one in namespace["spec"].get("finalizers") or () if one != "kubernetes"]
    namespace["spec"] = {**namespace["spec"], "finalizers": kept}


def _without_finalizer(name: str) -> Callable[[dict[str, Any]], None]:
    def change(value: dict[str, Any]) -> None:
        value["metadata"]["finalizers"] = [one for one in value["metadata"].get("finalizers") or () if one != name]

    return change


def _without_owner(uid: str) -> Callable[[dict[str, Any]], None]:
    def change(value: dict[str, Any]) -> None:
        kept = [owner for owner in value["metadata"].get("ownerReferences") or () if owner["uid"] != uid]
        value["metadata"]["ownerReferences"] = kept
        if not kept:
            del value["metadata"]["ownerReferences"]

    return change
