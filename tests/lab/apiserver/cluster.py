"""An API server without HTTP, for tests: operations over an empty store, and the objects they are tried with."""

import copy
import ipaddress
from typing import Any

import pytest

from ovnk.lab.apiserver import kinds, patches, services
from ovnk.lab.apiserver.bodies import Write
from ovnk.lab.apiserver.collection import Collector
from ovnk.lab.apiserver.deletion import Delete
from ovnk.lab.apiserver.kinds import Kind
from ovnk.lab.apiserver.operations import Operations
from ovnk.lab.apiserver.registry import Registry
from ovnk.lab.apiserver.status import StatusError
from ovnk.lab.apiserver.store import Store
from ovnk.lab.apiserver.stored import Stored

PODS, NAMESPACES, CONFIG_MAPS = kinds.built_in("pods"), kinds.built_in("namespaces"), kinds.built_in("configmaps")
DEPLOYMENTS, DEFINITIONS = (
    kinds.built_in("deployments", "apps"),
    kinds.built_in("customresourcedefinitions", "apiextensions.k8s.io"),
)
NODES, SECRETS = kinds.built_in("nodes"), kinds.built_in("secrets")
CORE_EVENTS, NEW_EVENTS = kinds.built_in("events"), kinds.built_in("events", "events.k8s.io")
WRITE = Write("test")


class Cluster:
    """Operations over an empty store with namespace default; deletes are followed up by hand."""

    def __init__(self, cidrs: tuple[str, ...] = ("10.96.0.0/24",)) -> None:
        self.store = Store()
        self.registry = Registry(self.store)
        networks = tuple(ipaddress.ip_network(cidr) for cidr in cidrs)
        self.operations = Operations(self.store, self.registry, services.ServiceAddresses(self.store, networks))
        self.collector = Collector(self.operations, lambda: None)
        self.create(NAMESPACES, {"metadata": {"name": "default"}})

    def create(
        self, kind: Kind, body: dict[str, Any], namespace: str = "default", write: Write = WRITE
    ) -> dict[str, Any]:
        return self.operations.create(kind, namespace if kind.namespaced else "", copy.deepcopy(body), write).value

    def get(self, kind: Kind, name: str, namespace: str = "default") -> dict[str, Any] | None:
        stored = self.store.get(kind.storage, namespace if kind.namespaced else "", name)
        return None if stored is None else stored.value

    def patch(
        self, kind: Kind, name: str, patch: Any, subresource: str = "", media_type: str = patches.MERGE
    ) -> dict[str, Any]:
        write = Write("test", subresource=subresource)
        namespace = "default" if kind.namespaced else ""
        return self.operations.patch(kind, namespace, name, media_type, patch, write).value

    def delete(self, kind: Kind, name: str, **options: Any) -> tuple[Stored, bool]:
        return self.operations.delete(kind, "default" if kind.namespaced else "", name, Delete(**options))

    def refusal(self, call: Any, *arguments: Any, **more: Any) -> StatusError:
        with pytest.raises(StatusError) as refused:
            call(*arguments, **more)
        return refused.value


def pod(name: str = "web", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}


def config_map(name: str = "a", **more: Any) -> dict[str, Any]:
    metadata = {"name": name, **more.pop("metadata", {})}
    return {"metadata": metadata, "data": {"k": "v"}, **more}


def deployment(**spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "d"}}, "spec": pod()["spec"]}
    return {
        "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": {"app": "d"}}, "template": template, **spec},
    }


def owned_by(owner: dict[str, Any], **more: Any) -> dict[str, Any]:
    reference = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
    }
    return {"ownerReferences": [{**reference, **more}]}


def definition(**names: Any) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {
            "spec": {"type": "object", "properties": {"size": {"type": "integer"}}},
            "status": {"type": "object"},
        },
    }
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
    }
    second = {**version, "name": "v2beta1", "storage": False}
    return {
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Cluster",
            "names": {"plural": "widgets", "kind": "Widget", **names},
            "versions": [version, second],
        },
    }
