"""Kubernetes resources as the controllers address them: raw objects, their paths, their keys and owners.

Controllers here work on the API's own JSON, not on ovnk.kube's narrow values: they copy templates and statuses
whole. What is read of an object by all of them (key, owner, version) is read here; nothing is written here.
"""

from dataclasses import dataclass
from typing import Any

# An object of the API as it came over the wire. Those in a cache are shared: never changed in place.
Object = dict[str, Any]
# "namespace/name", or "name" for what is cluster-scoped.
Key = str


@dataclass(frozen=True, slots=True)
class Resource:
    """One collection of the API: `api_version` as objects spell it ("v1", "apps/v1"), `plural` as paths do."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool = True

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path of the collection (of all namespaces without `namespace`), an object or its subresource."""
        root = "/apis/" if "/" in self.api_version else "/api/"
        parts = [root + self.api_version]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/".join(parts)

    def path_of(self, key: Key, subresource: str = "") -> str:
        """The URL path of the object with that key."""
        namespace, name = split(key)
        return self.path(namespace, name, subresource)


NAMESPACES = Resource("v1", "Namespace", "namespaces", namespaced=False)
NODES = Resource("v1", "Node", "nodes", namespaced=False)
PODS = Resource("v1", "Pod", "pods")
SERVICES = Resource("v1", "Service", "services")
SERVICE_ACCOUNTS = Resource("v1", "ServiceAccount", "serviceaccounts")
EVENTS = Resource("v1", "Event", "events")
ENDPOINT_SLICES = Resource("discovery.k8s.io/v1", "EndpointSlice", "endpointslices")
CONTROLLER_REVISIONS = Resource("apps/v1", "ControllerRevision", "controllerrevisions")
REPLICA_SETS = Resource("apps/v1", "ReplicaSet", "replicasets")
DEPLOYMENTS = Resource("apps/v1", "Deployment", "deployments")
STATEFUL_SETS = Resource("apps/v1", "StatefulSet", "statefulsets")
DAEMON_SETS = Resource("apps/v1", "DaemonSet", "daemonsets")
JOBS = Resource("batch/v1", "Job", "jobs")


def split(key: Key) -> tuple[str, str]:
    """(namespace, name) of a key; the namespace is "" for what is cluster-scoped."""
    namespace, _, name = key.rpartition("/")
    return namespace, name


def key_of(value: Object) -> Key:
    """The object's key."""
    metadata = value["metadata"]
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])


def name_of(value: Object) -> str:
    """The object's name."""
    return str(value["metadata"]["name"])


def namespace_of(value: Object) -> str:
    """The object's namespace, "" for what is cluster-scoped."""
    return str(value["metadata"].get("namespace", ""))


def uid_of(value: Object) -> str:
    """The object's UID: an object deleted and created again under its name has another."""
    return str(value["metadata"]["uid"])


def labels_of(value: Object) -> dict[str, str]:
    """The object's labels."""
    return value["metadata"].get("labels") or {}


def annotations_of(value: Object) -> dict[str, str]:
    """The object's annotations."""
    return value["metadata"].get("annotations") or {}


def version_of(value: Object) -> int:
    """The object's resourceVersion as a number: later writes of one collection have greater ones."""
    return int(value["metadata"].get("resourceVersion") or 0)


def deleting(value: Object) -> bool:
    """Whether the object has been deleted and only lingers (finalizers, a grace period)."""
    return bool(value["metadata"].get("deletionTimestamp"))


def controller_of(value: Object) -> Object | None:
    """The owner reference that says controller: true, or None."""
    return next((owner for owner in value["metadata"].get("ownerReferences") or () if owner.get("controller")), None)


def controller_uid(value: Object) -> str:
    """The UID of the object's controller, "" when it has none."""
    owner = controller_of(value)
    return str(owner["uid"]) if owner else ""


def owner_reference(resource: Resource, owner: Object) -> Object:
    """The reference by which an object is said to be controlled by `owner`."""
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "name": name_of(owner),
        "uid": uid_of(owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }
