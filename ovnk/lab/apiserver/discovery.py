"""What clients ask before they ask for anything: API groups and resources, plain and aggregated, and the version."""

from typing import Any, Final

from ovnk.lab.apiserver.kinds import Kind
from ovnk.lab.apiserver.registry import Registry

Object = dict[str, Any]

# The Kubernetes release whose API is spoken (its schemas are builtin_schemas.json).
VERSION: Final = {
    "major": "1",
    "minor": "37",
    "gitVersion": "v1.37.0+ovnk",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "2026-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}

AGGREGATED: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

_SUBRESOURCE_VERBS: Final = {"binding": ["create"], "eviction": ["create"], "finalize": ["update"]}
# A subresource that takes an object of another kind: (group, version, kind).
_SUBRESOURCE_KINDS: Final = {
    "scale": ("autoscaling", "v1", "Scale"),
    "binding": ("", "v1", "Binding"),
    "eviction": ("policy", "v1", "Eviction"),
}


def core_versions() -> Object:
    """GET /api."""
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def groups(registry: Registry) -> Object:
    """GET /apis."""
    listed = [_group(name, versions) for name, versions in registry.groups().items() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}


def group(registry: Registry, name: str) -> Object | None:
    """GET /apis/NAME, or None when there is no such group."""
    versions = registry.groups().get(name) if name else None
    return None if versions is None else {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)}


def resources(registry: Registry, name: str, version: str) -> Object | None:
    """GET /api/v1 or /apis/NAME/VERSION, or None when there is no such group version."""
    kinds = [kind for kind in registry.of_group(name) if kind.version == version]
    if not kinds:
        return None
    listed = [entry for kind in kinds for entry in _resource(kind)]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": kinds[0].api_version,
        "resources": listed,
    }


def aggregated(registry: Registry, *, core: bool) -> Object:
    """GET /api (core) or /apis in one document (apidiscovery.k8s.io/v2), as kubectl asks for it."""
    items = []
    for name, versions in registry.groups().items():
        if (name == "") != core:
            continue
        kinds = registry.of_group(name)
        items.append(
            {
                "metadata": {"name": name, "creationTimestamp": None},
                "versions": [
                    {
                        "version": version,
                        "freshness": "Current",
                        "resources": [_discovered(kind) for kind in kinds if kind.version == version],
                    }
                    for version in versions
                ],
            }
        )
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def _group(name: str, versions: list[str]) -> Object:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def _resource(kind: Kind) -> list[Object]:
    entry: Object = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    entries = [entry]
    for subresource in sorted(kind.subresources):
        group_name, version, name = _SUBRESOURCE_KINDS.get(subresource, (kind.group, kind.version, kind.kind))
        sub: Object = {
            "name": f"{kind.plural}/{subresource}",
            "singularName": "",
            "namespaced": kind.namespaced,
            "kind": name,
            "verbs": _SUBRESOURCE_VERBS.get(subresource, ["get", "patch", "update"]),
        }
        if subresource in _SUBRESOURCE_KINDS:
            sub.update(group=group_name, version=version)
        entries.append(sub)
    return entries


def _discovered(kind: Kind) -> Object:
    entry: Object = {
        "resource": kind.plural,
        "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    if kind.subresources:
        entry["subresources"] = [
            {
                "subresource": name,
                "responseKind": dict(
                    zip(
                        ("group", "version", "kind"),
                        _SUBRESOURCE_KINDS.get(name, (kind.group, kind.version, kind.kind)),
                        strict=True,
                    )
                ),
                "verbs": _SUBRESOURCE_VERBS.get(name, ["get", "patch", "update"]),
            }
            for name in sorted(kind.subresources)
        ]
    return entry
