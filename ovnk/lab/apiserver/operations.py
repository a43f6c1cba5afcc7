"""The verbs, without HTTP: get, list, create, update, patch and delete, with everything a write goes through.

    body → decode, prune ─▶ default ─▶ keep what is the server's ─▶ validate ─▶ owners of fields ─▶ allocate ─▶ store

Each verb either gives the object as it is stored now or raises a StatusError. What follows later from a delete
(owned objects, namespaces' content) is collection.py's; the kinds' own ways are in strategies.py and defaults.py.
"""

import secrets
import uuid
from collections.abc import Callable
from typing import Any, Final

from ovnk.lab.apiserver import (
    bodies,
    decoding,
    defaults,
    definitions,
    deletion,
    ownership,
    representation,
    schemas,
    status,
    strategies,
    structural,
    validation,
)
from ovnk.lab.apiserver.bodies import Write
from ovnk.lab.apiserver.clock import timestamp
from ovnk.lab.apiserver.deletion import NAMESPACES, PODS, Delete
from ovnk.lab.apiserver.kinds import Kind
from ovnk.lab.apiserver.ownership import Manager, Managers
from ovnk.lab.apiserver.registry import Registry
from ovnk.lab.apiserver.selectors import Selector
from ovnk.lab.apiserver.services import ServiceAddresses
from ovnk.lab.apiserver.store import Store
from ovnk.lab.apiserver.stored import Stored

Object = dict[str, Any]


# What a generated name ends in: no vowels, so no words (apimachinery's rand.String).
_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"
_STATUS_PARTS: Final = ("apiVersion", "kind", "metadata", "status")
# Set by the server alone; whatever a write says about them, the object's own stay.
_SERVERS_METADATA: Final = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")


class Operations:
    """One cluster's objects and their rules, over a store."""

    def __init__(self, store: Store, registry: Registry, addresses: ServiceAddresses) -> None:
        self.store, self.registry, self._addresses = store, registry, addresses

    def get(self, kind: Kind, namespace: str, name: str) -> Stored:
        """The object. Raises 404."""
        stored = self.store.get(kind.storage, namespace, name)
        if stored is None:
            raise status.not_found(kind, name)
        return stored

    def select(self, kind: Kind, namespace: str | None, selector: Selector) -> list[Stored]:
        """The selected objects, by namespace and name."""
        found = self.store.select(kind.storage, namespace)
        return [stored for stored in found if selector.matches(stored)] if selector else found

    def create(self, kind: Kind, namespace: str, body: Object, write: Write) -> Stored:
        """Create an object from a fresh value. Raises 404 (namespace), 409, 422, 403, 400."""
        value = bodies.decoded(kind, body, write)
        metadata: Object = value["metadata"]
        if metadata.get("resourceVersion"):
            raise status.bad_request("resourceVersion should not be set on objects to be created")
        self._place(kind, namespace, metadata)
        metadata.pop("managedFields", None)
        now = timestamp()
        for name in _SERVERS_METADATA:
            metadata.pop(name, None)
        metadata["uid"] = str(uuid.uuid4())
        metadata["creationTimestamp"] = now
        if strategies.has_generation(kind):
            metadata["generation"] = 1
        strategies.prepare_create(kind, value)
        self._default(kind, value)
        value = representation.to_storage(kind, value)
        causes = self._causes(kind, None, value)
        if causes:
            raise status.invalid(kind, metadata["name"], causes)
        if self.store.get(kind.storage, namespace, metadata["name"]) is not None:
            raise status.already_exists(kind, metadata["name"])
        manager = Manager(write.manager, "Update", kind.api_version)
        metadata["managedFields"] = ownership.written(
            ownership.created(representation.storage_schema(kind), value, manager, now)
        )
        return self._add(kind, value, write)

    def update(self, kind: Kind, namespace: str, name: str, body: Object, write: Write) -> Stored:
        """Replace an object by a fresh value (PUT). Raises 404, 409, 422, 400."""
        stored = self.get(kind, namespace, name)
        value = bodies.decoded(kind, body, write)
        return self._replace(kind, stored, value, write)

    def patch(self, kind: Kind, namespace: str, name: str, media_type: str, patch: Any, write: Write) -> Stored:
        """Change an object by a JSON, merge or strategic merge patch. Raises 404, 409, 415, 422, 400."""
        stored = self.get(kind, namespace, name)
        patched = bodies.patched(kind, representation.shown(kind, stored.fresh()), media_type, patch)
        if write.subresource == "status" and isinstance(patched, dict):
            # The rest stays as it is, so it need not be read again.
            patched = {name: patched[name] for name in _STATUS_PARTS if name in patched}
        # The patch of a resourceVersion is a lock; without one the patch holds for whatever is there now.
        return self._replace(kind, stored, bodies.decoded(kind, patched, write), write)

    def apply(self, kind: Kind, namespace: str, name: str, body: Object, write: Write) -> tuple[Stored, bool]:
        """Server-side apply: (the object, whether it is new). Raises 409 when others own fields of it, 422, 400."""
        applied = bodies.decoded(kind, body, write)
        metadata = applied["metadata"]
        if metadata.get("managedFields"):
            raise status.bad_request("metadata.managedFields must be nil")
        if metadata.get("name", name) != name:
            raise _other_name(metadata["name"], name)
        metadata["name"] = name
        manager = Manager(write.manager, "Apply", kind.api_version, write.subresource)
        stored = self.store.get(kind.storage, namespace, name)
        if stored is None:
            if write.subresource:
                raise status.not_found(kind, name)
            if metadata.get("uid"):
                why = f"uid mismatch: the provided object specified uid {metadata['uid']}, and there is no such object"
                raise status.conflict(kind, name, why)
            return self._apply_new(kind, namespace, applied, manager, write), True
        if metadata.get("resourceVersion", "") not in ("", str(stored.version)):
            raise status.conflict(kind, name)
        if not write.subresource and "status" in kind.subresources:
            applied.pop("status", None)
        live = representation.shown(kind, stored.fresh())
        merged, managers = ownership.apply(
            schemas.of(kind), ownership.read(live), live, applied, manager, timestamp(), force=write.force
        )
        merged["metadata"]["resourceVersion"] = str(stored.version)
        return self._replace(kind, stored, bodies.decoded(kind, merged, write), write, managers), False

    def delete(self, kind: Kind, namespace: str, name: str, options: Delete) -> tuple[Stored, bool]:
        """(the object's last or present state, whether it is gone already). Raises 404, 409.

        It stays, with a deletionTimestamp, while it has finalizers, while a Pod's node has not stopped it, and while
        a Namespace has content.
        """
        stored = self.get(kind, namespace, name)
        deletion.check(kind, stored.value, options)
        marked = deletion.marked(kind, stored.value, options)
        if marked is None:
            return self._remove(kind, _copy(stored.value), options.dry_run), True
        if marked == stored.value:
            return stored, False
        return self._put(kind, marked, options.dry_run), False

    def bind(self, namespace: str, name: str, node: str, annotations: dict[str, str], write: Write) -> None:
        """Assign a pod to a node (pods/binding). Raises 404, 409 when it has one."""
        stored = self.get(PODS, namespace, name)
        if stored.value["metadata"].get("deletionTimestamp"):
            raise status.conflict(PODS, name, f"pod {name} is being deleted, cannot be assigned to a host")
        assigned = stored.value["spec"].get("nodeName")
        if assigned:
            raise status.conflict(PODS, name, f'pod {name} is already assigned to node "{assigned}"')
        value = _copy(stored.value)
        value["spec"] = {**value["spec"], "nodeName": node}
        if annotations:
            value["metadata"]["annotations"] = {**(value["metadata"].get("annotations") or {}), **annotations}
        conditions = [one for one in value["status"].get("conditions") or () if one.get("type") != "PodScheduled"]
        scheduled = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": timestamp()}
        value["status"] = {**value["status"], "conditions": [*conditions, scheduled]}
        self._put(PODS, value, write.dry_run)

    def change(self, kind: Kind, stored: Stored, change: Callable[[Object], None]) -> Stored:
        """Let the server itself change an object: `change` gets a copy of two levels. It may end its deletion."""
        value = _copy(stored.value)
        change(value)
        if value == stored.value:
            return stored
        return self._settle(kind, value, dry_run=False)

    def _default(self, kind: Kind, value: Object) -> None:
        if kind.definition:
            defaults.apply(kind, value)
        else:
            structural.default(schemas.of(kind), value)

    def _causes(self, kind: Kind, old: Object | None, new: Object) -> list[status.Cause]:
        if kind.definition:
            missing = decoding.missing(representation.storage_schema(kind), new)
            if missing:
                return [status.required(path) for path in missing]
        causes = validation.validate(kind, new) if old is None else validation.validate_update(kind, old, new)
        if kind.custom:
            causes.extend(structural.validate(schemas.of(kind), new))
        return causes

    def _place(self, kind: Kind, namespace: str, metadata: Object) -> None:
        """Settle a new object's namespace and name."""
        if not metadata.get("name") and metadata.get("generateName"):
            # A real server cuts the prefix to 58 characters, so that the name is at most 63.
            metadata["name"] = metadata["generateName"][:58] + "".join(secrets.choice(_ALPHABET) for _ in range(5))
        if not metadata.get("name"):
            cause = status.required("metadata.name", "name or generateName is required")
            raise status.invalid(kind, "", [cause])
        if not kind.namespaced:
            metadata.pop("namespace", None)
            return
        if metadata.setdefault("namespace", namespace) != namespace:
            raise status.bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        holder = self.store.get(NAMESPACES.storage, "", namespace)
        if holder is None:
            raise status.not_found(NAMESPACES, namespace)
        if holder.value["metadata"].get("deletionTimestamp"):
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            cause = status.Cause(
                "NamespaceTerminating", f"namespace {namespace} is being terminated", "metadata.namespace"
            )
            raise status.forbidden(kind, metadata["name"], why, (cause,))

    def _apply_new(self, kind: Kind, namespace: str, applied: Object, manager: Manager, write: Write) -> Stored:
        if "status" in kind.subresources:
            applied.pop("status", None)
        managers = ownership.created(schemas.of(kind), applied, manager, timestamp())
        created = self.create(kind, namespace, applied, Write(write.manager, dry_run=True, field_validation="Ignore"))
        value = _copy(created.value)
        value["metadata"]["managedFields"] = ownership.written(managers)
        return self._put(kind, value, write.dry_run)

    def _add(self, kind: Kind, value: Object, write: Write) -> Stored:
        """Store a new, valid object, with what the server adds after its creator."""
        name = value["metadata"]["name"]
        if kind.kind == "Service" and not kind.group:
            causes = self._addresses.allocate(None, value)
            if causes:
                raise status.invalid(kind, name, causes)
        strategies.initial_status(kind, value)
        if kind.kind == "CustomResourceDefinition":
            value["status"] = definitions.status_of(value, self.registry.of_group(value["spec"]["group"]), timestamp())
        return self._put(kind, value, write.dry_run)

    def _replace(
        self, kind: Kind, stored: Stored, shown: Object, write: Write, managers: Managers | None = None
    ) -> Stored:
        """Everything between a decoded new value and the store. `managers` are given by server-side apply."""
        old = stored.value
        new = representation.to_storage(kind, shown)
        metadata = new["metadata"]
        name = old["metadata"]["name"]
        self._check_identity(kind, stored, metadata)
        _keep_servers(kind, old["metadata"], metadata)
        if managers is None:
            base = new if "managedFields" in metadata else old
            managers_before = ownership.read(base)
        new = strategies.prepare_update(kind, old, new, write.subresource)
        new["metadata"] = metadata = dict(new["metadata"])
        if not write.subresource:
            self._default(kind, new)
        if kind.kind == "Service" and not kind.group and not write.subresource:
            causes = self._addresses.allocate(old, new)
            if causes:
                raise status.invalid(kind, name, causes)
        if write.subresource == "status" and kind.definition:
            causes = validation.validate_status_update(kind, old, new)
        else:
            causes = self._causes(kind, old, new)
        if causes:
            raise status.invalid(kind, name, causes)
        if managers is None:
            manager = Manager(write.manager, "Update", kind.api_version, write.subresource)
            managers = ownership.updated(
                representation.storage_schema(kind), managers_before, old, new, manager, timestamp()
            )
        metadata["managedFields"] = ownership.written(managers)
        if not metadata["managedFields"]:
            del metadata["managedFields"]
        metadata["resourceVersion"] = old["metadata"]["resourceVersion"]
        new["apiVersion"] = old["apiVersion"]
        if new == old:
            return stored
        if strategies.has_generation(kind) and strategies.spec_changed(kind, old, new):
            metadata["generation"] = old["metadata"].get("generation", 1) + 1
        if kind.kind == "CustomResourceDefinition" and not write.subresource:
            others = [
                one
                for one in self.registry.of_group(new["spec"]["group"])
                if one.plural != new["spec"]["names"]["plural"]
            ]
            new["status"] = definitions.status_of(new, others, timestamp())
        return self._settle(kind, new, write.dry_run)

    def _check_identity(self, kind: Kind, stored: Stored, metadata: Object) -> None:
        name = stored.name
        if metadata.get("name") != name:
            raise _other_name(metadata.get("name", ""), name)
        if metadata.get("namespace", stored.namespace) != stored.namespace:
            raise status.bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        version = metadata.get("resourceVersion", "")
        if version not in ("", str(stored.version)):
            if not version.isdigit():
                cause = status.invalid_value("metadata.resourceVersion", version, "must be an unsigned integer")
                raise status.invalid(kind, name, [cause])
            raise status.conflict(kind, name)
        uid = stored.value["metadata"]["uid"]
        if metadata.get("uid", uid) != uid:
            why = f"Precondition failed: UID in precondition: {metadata['uid']}, UID in object meta: {uid}"
            raise status.conflict(kind, name, why)

    def _settle(self, kind: Kind, value: Object, dry_run: bool) -> Stored:
        """Store a changed object, or remove it when this change took the last thing its deletion waited for."""
        metadata = value["metadata"]
        if not metadata.get("finalizers"):
            metadata.pop("finalizers", None)
        if metadata.get("deletionTimestamp") and not deletion.waits(kind, value):
            return self._remove(kind, value, dry_run)
        return self._put(kind, value, dry_run)

    def _put(self, kind: Kind, value: Object, dry_run: bool) -> Stored:
        if dry_run:
            return Stored(value, self.store.version)
        return self.store.write(kind.storage, value)

    def _remove(self, kind: Kind, value: Object, dry_run: bool) -> Stored:
        if dry_run:
            return Stored(value, self.store.version)
        return self.store.remove(kind.storage, value)


def _keep_servers(kind: Kind, old: Object, metadata: Object) -> None:
    """Have in `metadata` what is the server's alone as it is in the old one."""
    for name in _SERVERS_METADATA:
        if name in old:
            metadata[name] = old[name]
        else:
            metadata.pop(name, None)
    metadata["name"] = old["name"]
    if kind.namespaced:
        metadata["namespace"] = old["namespace"]


def _other_name(given: str, wanted: str) -> status.StatusError:
    return status.bad_request(f"the name of the object ({given}) does not match the name on the URL ({wanted})")


def _copy(value: Object) -> Object:
    """A copy whose metadata may be changed; everything below is shared."""
    return {**value, "metadata": dict(value["metadata"])}
