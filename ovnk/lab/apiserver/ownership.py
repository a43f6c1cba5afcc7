"""Who owns which field: metadata.managedFields, kept on every write, and server-side apply on top of it.

The algorithm is structured-merge-diff's: a writer owns what it changes, an applier owns what its manifest says; an
apply that would change what another manager owns is a conflict unless forced, and what an applier no longer says and
nobody else owns is removed. Sets recorded for another version of the kind are compared as they are (no conversion).
"""

from dataclasses import dataclass
from typing import Any, Final

from ovnk.lab.apiserver import fields, status
from ovnk.lab.apiserver.fields import Fields
from ovnk.lab.apiserver.schemas import Schema
from ovnk.lab.apiserver.status import Cause


@dataclass(frozen=True, slots=True)
class Manager:
    """One entry's identity in managedFields; `operation` is "Apply" or "Update"."""

    name: str
    operation: str
    api_version: str
    subresource: str = ""


@dataclass(frozen=True, slots=True)
class Owned:
    """What one manager owns, and since when ("2026-11-25T10:00:00Z")."""

    fields: Fields
    time: str


Managers = dict[Manager, Owned]

# What no manager owns: identity, and what the server itself writes.
_UNOWNED: Final = frozenset({"apiVersion", "kind"})
_UNOWNED_METADATA: Final = frozenset(
    [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "resourceVersion",
        "generation",
        "managedFields",
        "selfLink",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generateName",
    ]
)


def read(value: dict[str, Any]) -> Managers:
    """The managers of an object. Entries that are not FieldsV1 or lack a part are dropped."""
    managers: Managers = {}
    for entry in value["metadata"].get("managedFields") or ():
        if entry.get("fieldsType", "FieldsV1") == "FieldsV1" and isinstance(entry.get("fieldsV1"), dict):
            manager = Manager(
                entry.get("manager", ""),
                entry.get("operation", "Update"),
                entry.get("apiVersion", ""),
                entry.get("subresource", ""),
            )
            managers[manager] = Owned(entry["fieldsV1"], entry.get("time", ""))
    return managers


def written(managers: Managers) -> list[dict[str, Any]]:
    """The value of managedFields: appliers first, then writers, the latest last."""
    ordered = sorted(managers.items(), key=lambda item: (item[0].operation, item[1].time))
    entries = []
    for manager, owned in ordered:
        entry: dict[str, Any] = {
            "manager": manager.name,
            "operation": manager.operation,
            "apiVersion": manager.api_version,
            "time": owned.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": owned.fields,
        }
        if manager.subresource:
            entry["subresource"] = manager.subresource
        entries.append(entry)
    return entries


def created(schema: Schema, value: dict[str, Any], manager: Manager, time: str) -> Managers:
    """The managers of a new object: its creator owns all of it."""
    owned = fields.of(schema, _ownable(value, manager.subresource))
    return {manager: Owned(owned, time)} if owned else {}


def updated(
    schema: Schema, managers: Managers, old: dict[str, Any], new: dict[str, Any], manager: Manager, time: str
) -> Managers:
    """The managers after a write: the writer owns what it added or changed, nobody what it removed."""
    present, absent = fields.changed(schema, _ownable(old, manager.subresource), _ownable(new, manager.subresource))
    if not present and not absent:
        return managers
    lost = fields.union(present, absent)
    result: Managers = {}
    for other, owned in managers.items():
        remaining = fields.difference(owned.fields, absent if other == manager else lost)
        if remaining:
            result[other] = Owned(remaining, owned.time) if remaining != owned.fields else owned
    if present:
        own = result.get(manager)
        result[manager] = Owned(fields.union(own.fields, present) if own else present, time)
    return result


def apply(
    schema: Schema,
    managers: Managers,
    live: dict[str, Any],
    applied: dict[str, Any],
    manager: Manager,
    time: str,
    *,
    force: bool,
) -> tuple[dict[str, Any], Managers]:
    """(the object after server-side apply, its managers). Raises StatusError 409 on conflicts unless `force`."""
    wanted = fields.of(schema, _ownable(applied, manager.subresource))
    merged = fields.merge(schema, live, applied)
    present, _ = fields.changed(schema, _ownable(live, manager.subresource), _ownable(merged, manager.subresource))
    others = {other: owned for other, owned in managers.items() if other != manager}
    disputed = {other: fields.intersection(owned.fields, present) for other, owned in others.items()}
    disputed = {other: at for other, at in disputed.items() if at}
    if disputed and not force:
        raise status.apply_conflict(
            [_conflict(other, path) for other, at in disputed.items() for path in fields.paths(at)]
        )
    remaining: Managers = {}
    for other, owned in others.items():
        rest = fields.difference(owned.fields, disputed[other]) if other in disputed else owned.fields
        if rest:
            remaining[other] = Owned(rest, owned.time)
    before = managers.get(manager)
    kept = wanted
    for owned in remaining.values():
        kept = fields.union(kept, owned.fields)
    if before is not None:
        gone = fields.difference(before.fields, kept)
        if gone:
            merged = fields.remove(schema, merged, gone, kept)
    if before is not None and before.fields == wanted:
        remaining[manager] = before
    elif wanted:
        remaining[manager] = Owned(wanted, time)
    return merged, remaining


def _conflict(manager: Manager, path: str) -> Cause:
    using = f" using {manager.api_version}" if manager.operation == "Update" else ""
    subresource = f' with subresource "{manager.subresource}"' if manager.subresource else ""
    return Cause("FieldManagerConflict", f'conflict with "{manager.name}"{subresource}{using}', path)


def _ownable(value: dict[str, Any], subresource: str) -> dict[str, Any]:
    """The part of an object that a write to this subresource can own."""
    if subresource == "status":
        return {"status": value["status"]} if "status" in value else {}
    result = {key: item for key, item in value.items() if key not in _UNOWNED}
    metadata = {key: item for key, item in value.get("metadata", {}).items() if key not in _UNOWNED_METADATA}
    if metadata:
        result["metadata"] = metadata
    else:
        result.pop("metadata", None)
    return result
