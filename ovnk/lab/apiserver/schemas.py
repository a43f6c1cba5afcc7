"""What an object may be made of: OpenAPI schemas, compiled once, for built-in and custom kinds alike.

The built-in ones are Kubernetes 1.37's (builtin_schemas.json, cut from its published OpenAPI definitions: names,
types, list and merge keys; no prose). The same compiled form tells decoding what to prune, patches how to merge lists
and server-side apply who can own what.
"""

from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final

import orjson

from ovnk.lab.apiserver.kinds import Kind

Leaf = type[str] | type[bool]

REFERENCE: Final = "#/components/schemas/"


@dataclass(slots=True, eq=False)
class Schema:
    """One place in an object. Compiled from `source`; not changed once compiled (definitions may be recursive).

    `type` is "" where anything goes. `list_type` is "map" (entries known by `list_keys`), "set" or "atomic".
    `merge_key` is how a strategic merge patch knows the entries of a list; "" with `merges` means by value.
    """

    source: dict[str, Any]
    type: str = ""
    format: str = ""
    properties: dict[str, "Schema"] = field(default_factory=dict)
    values: "Schema | None" = None
    items: "Schema | None" = None
    required: tuple[str, ...] = ()
    nullable: bool = False
    int_or_string: bool = False
    preserve_unknown: bool = False
    embedded_resource: bool = False
    list_type: str = "atomic"
    list_keys: tuple[str, ...] = ()
    atomic_map: bool = False
    merge_key: str = ""
    merges: bool = False
    # The Python type a leaf must have when nothing else is to be checked: the fast path of decoding.
    leaf: Leaf | None = None

    def of(self, key: str) -> "Schema | None":
        """The schema of a field or map value, None where it is not known."""
        return self.properties.get(key) or self.values


UNKNOWN: Final = Schema({}, preserve_unknown=True)

_LEAVES: Final[dict[str, Leaf]] = {"string": str, "boolean": bool}


def compile_schema(source: dict[str, Any]) -> Schema:
    """The compiled form of an openAPIV3Schema (which refers to nothing outside itself)."""
    schema = Schema(source)
    _fill(schema, source)
    return schema


@lru_cache(maxsize=256)
def of(kind: Kind) -> Schema:
    """The kind's schema; UNKNOWN for a custom kind that has none. Its metadata is ObjectMeta's."""
    if kind.definition:
        return definition(kind.definition)
    if kind.schema is None:
        return UNKNOWN
    schema = compile_schema(kind.schema)
    schema.properties["metadata"] = object_meta()
    for name in ("apiVersion", "kind"):
        schema.properties.setdefault(name, Schema({"type": "string"}, type="string", leaf=str))
    return schema


@cache
def definition(name: str) -> Schema:
    """A built-in definition such as "io.k8s.api.core.v1.Pod"; KeyError when it was not cut out."""
    return _compiled(name, _named)


def object_meta() -> Schema:
    """What every object's metadata may be made of."""
    return definition(_OBJECT_META)


def built_in_sources() -> dict[str, dict[str, Any]]:
    """Definition name → its OpenAPI schema, for /openapi/v3."""
    return _sources()


_OBJECT_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_named: Final[dict[str, Schema]] = {}


@cache
def _sources() -> dict[str, dict[str, Any]]:
    loaded: dict[str, dict[str, Any]] = orjson.loads(Path(__file__).with_name("builtin_schemas.json").read_bytes())
    return loaded


def _compiled(name: str, named: dict[str, Schema]) -> Schema:
    schema = named.get(name)
    if schema is None:
        # Registered before it is filled, because JSON schemas and some others contain themselves.
        schema = named[name] = Schema(_sources()[name])
        _fill(schema, schema.source)
    return schema


def _child(source: dict[str, Any]) -> Schema:
    reference = source.get("$ref")
    if reference is None:
        return compile_schema(source)
    target = _compiled(reference.removeprefix(REFERENCE), _named)
    if len(source) == 1:
        return target
    # What stands beside a $ref (list and map types) holds here only.
    beside = Schema({**target.source, **{key: value for key, value in source.items() if key != "$ref"}})
    _fill(beside, beside.source)
    return beside


def _fill(schema: Schema, source: dict[str, Any]) -> None:
    schema.type = source.get("type", "")
    schema.format = source.get("format", "")
    schema.properties.update({key: _child(child) for key, child in (source.get("properties") or {}).items()})
    if isinstance(source.get("additionalProperties"), dict):
        schema.values = _child(source["additionalProperties"])
    if isinstance(source.get("items"), dict):
        schema.items = _child(source["items"])
    schema.required = tuple(source.get("required") or ())
    schema.nullable = source.get("nullable", False)
    schema.int_or_string = source.get("x-kubernetes-int-or-string", False)
    schema.embedded_resource = source.get("x-kubernetes-embedded-resource", False)
    schema.preserve_unknown = source.get("x-kubernetes-preserve-unknown-fields", False)
    if schema.type == "object" and not schema.properties and schema.values is None:
        # FieldsV1 and RawExtension, and `additionalProperties: true`.
        schema.preserve_unknown = schema.preserve_unknown or "properties" not in source
    schema.list_type = source.get("x-kubernetes-list-type", "atomic")
    schema.list_keys = tuple(source.get("x-kubernetes-list-map-keys") or ())
    schema.atomic_map = source.get("x-kubernetes-map-type") == "atomic"
    schema.merges = "merge" in source.get("x-kubernetes-patch-strategy", "").split(",")
    schema.merge_key = source.get("x-kubernetes-patch-merge-key", "")
    if not schema.format:
        schema.leaf = _LEAVES.get(schema.type)
