"""CustomResourceDefinitions: their rules, and their status: accepted as soon as the names are free, served at once.

Schemas are checked as far as serving needs it: types, and that every part has the shape it must have. Not all of
what makes a schema structural is enforced.
"""

import re
from typing import Any, Final

from ovnk.lab.apiserver import names, status
from ovnk.lab.apiserver.kinds import Kind
from ovnk.lab.apiserver.status import Cause

Object = dict[str, Any]

# The finalizer under which a deleted definition waits for its objects to go.
CLEANUP: Final = "customresourcecleanup.apiextensions.k8s.io"


def status_of(definition: Object, others: list[Kind], now: str) -> Object:
    """The status to store with it. `others` are the kinds its group serves apart from its own.

    Conditions that stay as they were keep their lastTransitionTime.
    """
    spec = definition["spec"]
    names = spec["names"]
    taken = [other for other in others if other.kind == names["kind"] or other.plural == names["plural"]]
    before = definition.get("status") or {}
    if taken:
        why = f'"{names["kind"]}" is already in use'
        conditions = [
            ("NamesAccepted", "False", "KindConflict", why),
            ("Established", "False", "NotAccepted", "not all names are accepted"),
        ]
    else:
        conditions = [
            ("NamesAccepted", "True", "NoConflicts", "no conflicts found"),
            ("Established", "True", "InitialNamesAccepted", "the initial names have been accepted"),
        ]
    storage = next(version["name"] for version in spec["versions"] if version.get("storage"))
    stored = before.get("storedVersions") or []
    since = {
        (one.get("type"), one.get("status")): one.get("lastTransitionTime", now)
        for one in before.get("conditions") or ()
    }
    return {
        "acceptedNames": names if not taken else before.get("acceptedNames", {"plural": "", "kind": ""}),
        "conditions": [
            {
                "type": name,
                "status": state,
                "reason": reason,
                "message": message,
                "lastTransitionTime": since.get((name, state), now),
            }
            for name, state, reason, message in conditions
        ],
        "storedVersions": stored if storage in stored else [*stored, storage],
    }


def causes(definition: Object) -> list[Cause]:
    """Everything wrong with a definition that is about to be stored."""
    spec = definition.get("spec") or {}
    called = spec.get("names") or {}
    found = [
        status.required(f"spec.{field}")
        for field, present in (
            ("group", spec.get("group")),
            ("names.plural", called.get("plural")),
            ("names.kind", called.get("kind")),
            ("scope", spec.get("scope")),
            ("versions", spec.get("versions")),
        )
        if not present
    ]
    if found:
        return found
    found.extend(names.label_causes(called["plural"], "spec.names.plural"))
    if definition["metadata"]["name"] != f"{called['plural']}.{spec['group']}":
        why = 'must be spec.names.plural+"."+spec.group'
        found.append(status.invalid_value("metadata.name", definition["metadata"]["name"], why))
    if spec["scope"] not in ("Cluster", "Namespaced"):
        found.append(status.not_supported("spec.scope", spec["scope"], ["Cluster", "Namespaced"]))
    for index, version in enumerate(spec["versions"]):
        found.extend(_version_causes(version, f"spec.versions[{index}]"))
    if sum(version.get("storage") is True for version in spec["versions"]) != 1:
        why = "must have exactly one version marked as storage version"
        found.append(status.invalid_value("spec.versions", spec["versions"], why))
    return found


_VERSION: Final = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


def _version_causes(version: Object, path: str) -> list[Cause]:
    found = [status.required(f"{path}.{name}") for name in ("name", "served", "storage") if name not in version]
    if not _VERSION.fullmatch(version.get("name", "")):
        found.append(status.invalid_value(f"{path}.name", version.get("name", ""), "must be a DNS-1035 label"))
    schema = (version.get("schema") or {}).get("openAPIV3Schema")
    here = f"{path}.schema.openAPIV3Schema"
    if schema is None:
        return [*found, status.required(here, "schemas are required")]
    if isinstance(schema, dict) and schema.get("type") != "object":
        found.append(status.invalid_value(f"{here}.type", schema.get("type", ""), "must be object at the root"))
    return [*found, *_schema_causes(schema, here)]


_TYPES: Final = ["array", "boolean", "integer", "number", "object", "string"]
_MAPS_OF_SCHEMAS: Final = ("properties",)
_LISTS_OF_SCHEMAS: Final = ("allOf", "anyOf", "oneOf")
_LIMITS: Final = ("maximum", "minimum", "multipleOf")
# What a keyword's value must be: its name → (Python types, keywords).
_SHAPES: Final[dict[str, tuple[tuple[type, ...], tuple[str, ...]]]] = {
    "list": ((list,), ("enum", "required", "x-kubernetes-list-map-keys")),
    "string": ((str,), ("pattern", "format")),
    "number": (
        (int, float),
        ("maxItems", "minItems", "maxLength", "minLength", "maxProperties", "minProperties", *_LIMITS),
    ),
}


def _schema_causes(schema: Any, path: str) -> list[Cause]:
    """What of a schema has a shape that cannot be read."""
    if not isinstance(schema, dict):
        return [status.type_invalid(path, schema, "must be a schema")]
    found: list[Cause] = []
    kind = schema.get("type", "")
    if kind and kind not in _TYPES:
        found.append(status.not_supported(f"{path}.type", kind, _TYPES))
    if "$ref" in schema:
        found.append(status.field_forbidden(f"{path}.$ref", "$ref is not supported"))
    found.extend(
        status.type_invalid(f"{path}.{name}", schema[name], f"must be a {wanted}")
        for wanted, (types, names_of_type) in _SHAPES.items()
        for name in names_of_type
        if name in schema and (not isinstance(schema[name], types) or isinstance(schema[name], bool))
    )
    for name, inner in _inner(schema, path, found):
        found.extend(_schema_causes(inner, name))
    return found


def _inner(schema: Object, path: str, found: list[Cause]) -> list[tuple[str, Any]]:
    """(path, schema) of every schema in a schema; a part of the wrong shape is added to `found`."""
    inner: list[tuple[str, Any]] = []
    for name in _MAPS_OF_SCHEMAS:
        part = schema.get(name, {})
        if isinstance(part, dict):
            inner.extend((f"{path}.{name}[{key}]", child) for key, child in part.items())
        else:
            found.append(status.type_invalid(f"{path}.{name}", part, "must be an object"))
    for name in _LISTS_OF_SCHEMAS:
        part = schema.get(name, [])
        if isinstance(part, list):
            inner.extend((f"{path}.{name}[{index}]", child) for index, child in enumerate(part))
        else:
            found.append(status.type_invalid(f"{path}.{name}", part, "must be a list"))
    inner.extend((f"{path}.{name}", schema[name]) for name in ("items", "not") if name in schema)
    if not isinstance(schema.get("additionalProperties", True), bool):
        inner.append((f"{path}.additionalProperties", schema["additionalProperties"]))
    return inner
