"""/openapi/v3: the schemas again, for kubectl's validation, apply, diff and explain.

One document a group version. kubectl decides by the `fieldValidation` parameter of a PATCH that the server validates,
and reads list and merge keys from the schemas. Descriptions are left out, so explain shows names and types only.
"""

import hashlib
from typing import Any, Final

import orjson

from ovnk.lab.apiserver import schemas
from ovnk.lab.apiserver.kinds import Kind
from ovnk.lab.apiserver.registry import Registry

Object = dict[str, Any]


def index(registry: Registry) -> Object:
    """GET /openapi/v3. A group version's address changes with its content, as clients may keep it for ever."""
    paths = {}
    for group, versions in registry.groups().items():
        for version in versions:
            path = f"apis/{group}/{version}" if group else f"api/{version}"
            content = orjson.dumps([_identity(kind) for kind in registry.of_group(group)])
            digest = hashlib.sha256(content).hexdigest()[:32].upper()
            paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest}"}
    return {"paths": paths}


def document(registry: Registry, group: str, version: str) -> Object | None:
    """GET /openapi/v3/apis/GROUP/VERSION, or None when there is no such group version."""
    kinds = [kind for kind in registry.of_group(group) if kind.version == version]
    if not kinds:
        return None
    components: Object = {}
    for kind in kinds:
        _add_schema(components, kind)
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.37.0"},
        "paths": {path: operations for kind in kinds for path, operations in _paths(kind).items()},
        "components": {"schemas": components},
    }


# gnostic's openapi.v2.Document with swagger (1), info (2: title 1, version 2) and empty paths (8) and definitions (9).
_DOCUMENT_V2: Final = b"\x0a\x032.0\x12\x15\x0a\x0aKubernetes\x12\x07v1.37.0\x42\x00\x4a\x00"
MEDIA_TYPE_V2: Final = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"


def document_v2() -> bytes:
    """GET /openapi/v2, as protobuf and empty: kubectl asks it about kinds v3 does not know, and is told so."""
    return _DOCUMENT_V2


def _identity(kind: Kind) -> list[Any]:
    return [kind.version, kind.kind, kind.definition, kind.schema]


def schema_name(kind: Kind) -> str:
    """The component's name: the built-in definition's, or the reversed group's as for custom resources."""
    if kind.definition:
        return kind.definition
    return ".".join([*reversed(kind.group.split(".")), kind.version, kind.kind])


def _add_schema(components: Object, kind: Kind) -> None:
    extension = {"x-kubernetes-group-version-kind": [{"group": kind.group, "version": kind.version, "kind": kind.kind}]}
    name = schema_name(kind)
    if kind.definition:
        _add_definition(components, kind.definition)
        components[name] = {**components[name], **extension}
        return
    source = kind.schema or {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    meta = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
    _add_definition(components, meta)
    properties = {
        **(source.get("properties") or {}),
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"$ref": schemas.REFERENCE + meta},
    }
    components[name] = {**source, "properties": properties, **extension}


def _add_definition(components: Object, name: str) -> None:
    if name in components:
        return
    source = components[name] = schemas.built_in_sources()[name]
    for reference in _references(source):
        _add_definition(components, reference)


def _references(source: Any) -> list[str]:
    if isinstance(source, dict):
        found = [reference for child in source.values() for reference in _references(child)]
        reference = source.get("$ref")
        return [*found, reference.removeprefix(schemas.REFERENCE)] if isinstance(reference, str) else found
    if isinstance(source, list):
        return [reference for child in source for reference in _references(child)]
    return []


_QUERY: Final = [
    {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
    for name in ("dryRun", "fieldManager", "fieldValidation")
]
_PATCHES: Final = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)


def _paths(kind: Kind) -> Object:
    gvk = {"group": kind.group, "version": kind.version, "kind": kind.kind}
    reference = {"$ref": schemas.REFERENCE + schema_name(kind)}
    answer = {"responses": {"200": {"description": "OK", "content": {"application/json": {"schema": reference}}}}}
    common = {"parameters": _QUERY, "x-kubernetes-group-version-kind": gvk, **answer}
    body = {"requestBody": {"content": {"*/*": {"schema": reference}}}}
    base = kind.path + ("/namespaces/{namespace}" if kind.namespaced else "") + f"/{kind.plural}"
    patches = {
        media_type: {"schema": {"type": "object"}}
        for media_type in _PATCHES
        if not kind.custom or "strat" not in media_type
    }
    operations: Object = {base: {"post": {**common, **body, "x-kubernetes-action": "post"}}}
    if "patch" in kind.verbs:
        operations[base]["get"] = {**common, "x-kubernetes-action": "list"}
        operations[base + "/{name}"] = {
            "get": {**common, "x-kubernetes-action": "get"},
            "put": {**common, **body, "x-kubernetes-action": "put"},
            "patch": {**common, "requestBody": {"content": patches}, "x-kubernetes-action": "patch"},
            "delete": {**common, "x-kubernetes-action": "delete"},
        }
    return operations
