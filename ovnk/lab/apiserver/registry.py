"""Which kinds are served at this moment: the built-in ones and those of established CustomResourceDefinitions."""

import re
from collections.abc import Iterator
from typing import Any, Final

from ovnk.lab.apiserver import kinds
from ovnk.lab.apiserver.kinds import Column, Kind, Resource
from ovnk.lab.apiserver.store import Event, Store

DEFINITIONS: Final = kinds.built_in("customresourcedefinitions", "apiextensions.k8s.io").storage


class Registry:
    """Group, version and plural → Kind. It follows the store's CustomResourceDefinitions by itself.

    `generation` grows whenever the answer may have changed, for those who cache discovery documents.
    """

    def __init__(self, store: Store) -> None:
        self._kinds: dict[tuple[str, str, str], Kind] = {
            (kind.group, kind.version, kind.plural): kind for kind in kinds.BUILT_IN
        }
        self._custom: dict[str, list[Kind]] = {}
        self._storages: dict[Resource, Kind] | None = None
        self.generation = 0
        for stored in store.select(DEFINITIONS):
            self._serve(stored.name, stored.value)
        store.subscribe(DEFINITIONS, self._follow)

    def find(self, group: str, version: str, plural: str) -> Kind | None:
        """The kind, or None when it is not served."""
        return self._kinds.get((group, version, plural))

    def all(self) -> Iterator[Kind]:
        """Every served kind, the built-in ones first."""
        return iter(self._kinds.values())

    def of_group(self, group: str) -> list[Kind]:
        """The kinds of a group in all its versions."""
        return [kind for kind in self._kinds.values() if kind.group == group]

    def groups(self) -> dict[str, list[str]]:
        """Group → its versions, the preferred one first; the core group is ""."""
        groups: dict[str, list[str]] = {}
        for kind in self._kinds.values():
            versions = groups.setdefault(kind.group, [])
            if kind.version not in versions:
                versions.append(kind.version)
        return {group: sorted(versions, key=_priority, reverse=True) for group, versions in groups.items()}

    def storages(self) -> dict[Resource, Kind]:
        """Each resource that holds objects, once, with the kind it is stored as."""
        if self._storages is None:
            self._storages = {
                kind.storage: kind
                for kind in self._kinds.values()
                if kind.preferred and "list" in kind.verbs and kind.storage == (kind.group, kind.plural)
            }
        return self._storages

    def kinds_of(self, definition: str) -> list[Kind]:
        """The kinds a CustomResourceDefinition of that name is serving."""
        return self._custom.get(definition, [])

    def _follow(self, event: Event) -> None:
        self._forget(event.current.name)
        if event.type != "DELETED":
            self._serve(event.current.name, event.current.value)

    def _serve(self, name: str, definition: dict[str, Any]) -> None:
        if established(definition):
            self._custom[name] = custom_kinds(definition)
            self._kinds.update({(kind.group, kind.version, kind.plural): kind for kind in self._custom[name]})
            self._changed()

    def _forget(self, name: str) -> None:
        for kind in self._custom.pop(name, ()):
            del self._kinds[kind.group, kind.version, kind.plural]
            self._changed()

    def _changed(self) -> None:
        self.generation += 1
        self._storages = None


def established(definition: dict[str, Any]) -> bool:
    """Whether a CustomResourceDefinition's status says that it is served."""
    conditions = (definition.get("status") or {}).get("conditions") or ()
    return any(one.get("type") == "Established" and one.get("status") == "True" for one in conditions)


def custom_kinds(definition: dict[str, Any]) -> list[Kind]:
    """One Kind a served version of a valid CustomResourceDefinition."""
    spec = definition["spec"]
    names = spec["names"]
    return [
        Kind(
            group=spec["group"],
            version=version["name"],
            plural=names["plural"],
            kind=names["kind"],
            namespaced=spec["scope"] == "Namespaced",
            short_names=tuple(names.get("shortNames") or ()),
            subresources=frozenset(version.get("subresources") or {}),
            categories=tuple(names.get("categories") or ()),
            storage=Resource(spec["group"], names["plural"]),
            singular=names.get("singular") or names["kind"].lower(),
            list_kind=names.get("listKind") or f"{names['kind']}List",
            schema=(version.get("schema") or {}).get("openAPIV3Schema"),
            columns=_columns(version),
            scale_paths=_scale_paths(version),
            selectable_fields=frozenset(
                field["jsonPath"].removeprefix(".") for field in version.get("selectableFields") or ()
            ),
            preferred=version["storage"],
        )
        for version in spec["versions"]
        if version["served"]
    ]


def _columns(version: dict[str, Any]) -> tuple[Column, ...] | None:
    columns = version.get("additionalPrinterColumns")
    if columns is None:
        return None
    return tuple(
        Column(
            one["name"],
            one["type"],
            one["jsonPath"],
            one.get("format", ""),
            one.get("description", ""),
            one.get("priority", 0),
        )
        for one in columns
    )


def _scale_paths(version: dict[str, Any]) -> dict[str, str] | None:
    scale = (version.get("subresources") or {}).get("scale")
    if scale is None:
        return None
    return {
        "spec": scale["specReplicasPath"],
        "status": scale["statusReplicasPath"],
        "selector": scale.get("labelSelectorPath", ""),
    }


def _priority(version: str) -> tuple[int, int, int, str]:
    """Kubernetes' order of versions: v2 over v1 over v1beta2 over v1alpha1 over anything else."""
    match = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", version)
    if match is None:
        return (0, 0, 0, version)
    major, stage, minor = match.groups()
    return ({None: 3, "beta": 2, "alpha": 1}[stage], int(major), int(minor or 0), version)
