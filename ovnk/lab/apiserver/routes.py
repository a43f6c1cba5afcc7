"""What a path names: a document about the API, or objects of a kind in it."""

from dataclasses import dataclass
from typing import Any

import orjson

from ovnk.lab.apiserver import discovery, negotiation, openapi, status
from ovnk.lab.apiserver.deletion import NAMESPACES
from ovnk.lab.apiserver.kinds import Kind
from ovnk.lab.apiserver.registry import Registry


@dataclass(frozen=True, slots=True)
class Target:
    """What a path names. `name` "" is the collection."""

    kind: Kind
    namespace: str | None
    name: str = ""
    subresource: str = ""

    @property
    def place(self) -> str:
        """The store's namespace: "" for what is cluster-scoped."""
        return self.namespace or ""


@dataclass(frozen=True, slots=True)
class Document:
    """A whole answer: its bytes and their media type."""

    content: bytes
    media_type: str = "application/json"


def document(registry: Registry, parts: list[str], accept: str) -> Document | None:
    """The answer to a path that names no object, or None. Raises StatusError 404 for an API that is not served."""
    match parts:
        case ["version"]:
            return _found(discovery.VERSION)
        case ["healthz" | "livez" | "readyz", *_]:
            return Document(b"ok", "text/plain")
        case ["api" | "apis"] if negotiation.wants_aggregated(accept):
            content = orjson.dumps(discovery.aggregated(registry, core=parts == ["api"]))
            return Document(content, discovery.AGGREGATED)
        case ["api"]:
            return _found(discovery.core_versions())
        case ["apis"]:
            return _found(discovery.groups(registry))
        case ["apis", group]:
            return _found(discovery.group(registry, group))
        case ["api", version]:
            return _found(discovery.resources(registry, "", version))
        case ["apis", group, version]:
            return _found(discovery.resources(registry, group, version))
        case ["openapi", "v2"]:
            return Document(openapi.document_v2(), openapi.MEDIA_TYPE_V2)
        case ["openapi", "v3"]:
            return _found(openapi.index(registry))
        case ["openapi", "v3", "api", version]:
            return _found(openapi.document(registry, "", version))
        case ["openapi", "v3", "apis", group, version]:
            return _found(openapi.document(registry, group, version))
    return None


def target(registry: Registry, parts: list[str]) -> Target:
    """What /api/v1/… or /apis/GROUP/VERSION/… names. Raises StatusError 404."""
    match parts:
        case ["api", version, *rest]:
            group = ""
        case ["apis", group, version, *rest]:
            pass
        case _:
            raise status.no_such_path()
    namespace = None
    match rest:
        case ["namespaces", given, plural, *more] if not (
            group == "" and plural in NAMESPACES.subresources and not more
        ):
            namespace = given
            rest = [plural, *more]
    kind = registry.find(group, version, rest[0])
    if kind is None or len(rest) > 3 or (namespace is not None and not kind.namespaced):
        raise status.no_such_path()
    name, subresource = rest[1] if len(rest) > 1 else "", rest[2] if len(rest) > 2 else ""
    if name and kind.namespaced and namespace is None:
        raise status.no_such_path()
    if subresource and subresource not in kind.subresources:
        raise status.no_such_path()
    return Target(kind, namespace, name, subresource)


def _found(value: dict[str, Any] | None) -> Document:
    if value is None:
        raise status.no_such_path()
    return Document(orjson.dumps(value))
