"""What each built-in kind does to an object on its way into the store, beyond defaults: status, generation, names
of one thing in two fields.

The counterpart of the registry strategies of a real API server (pkg/registry/*/strategy.go). In place, on values
that come fresh from a request.
"""

import base64
from collections.abc import Callable
from typing import Any, Final

from ovnk.lab.apiserver.kinds import Kind

Object = dict[str, Any]

# Groups whose kinds count changes of their spec in metadata.generation; so do custom resources, and Pods since 1.33.
_GENERATION_GROUPS: Final = frozenset(
    {"apps", "batch", "autoscaling", "networking.k8s.io", "policy", "apiextensions.k8s.io"}
)


def has_generation(kind: Kind) -> bool:
    """Whether the kind's objects carry metadata.generation."""
    return (
        kind.custom
        or kind.group in _GENERATION_GROUPS
        or (kind.group, kind.kind) in (("", "Pod"), ("discovery.k8s.io", "EndpointSlice"))
    )


def prepare_create(kind: Kind, value: Object) -> None:
    """Make a client's object one that is new: a status is the system's to say, not the creator's."""
    # A kubelet creates its Node with status, and a real server keeps it.
    if "status" in kind.subresources and kind.kind != "Node":
        value.pop("status", None)
    normalize(kind, value)


def initial_status(kind: Kind, value: Object) -> None:
    """Give a new object the status it starts with."""
    function = _INITIAL.get((kind.group, kind.kind))
    if function is not None:
        function(value)
    elif kind.definition and "status" in kind.subresources:
        value.setdefault("status", {})


def prepare_update(kind: Kind, old: Object, new: Object, subresource: str) -> Object:
    """What may replace `old`: a write to the object keeps its status, one to its status keeps all the rest."""
    if subresource == "status":
        # Built-in strategies let labels and annotations through here; custom resources' does not.
        metadata = old["metadata"] if kind.custom else new["metadata"]
        result = {**old, "metadata": dict(metadata)}
        if "status" in new:
            result["status"] = new["status"]
        else:
            result.pop("status", None)
        normalize(kind, result)
        return result
    if "status" in kind.subresources:
        if "status" in old:
            new["status"] = old["status"]
        else:
            new.pop("status", None)
    normalize(kind, new)
    return new


def spec_changed(kind: Kind, old: Object, new: Object) -> bool:
    """Whether a write changes more than metadata and status, which is what generation counts."""
    ignored = (
        ("metadata", "status", "apiVersion")
        if not kind.custom or "status" in kind.subresources
        else ("metadata", "apiVersion")
    )
    return {k: v for k, v in old.items() if k not in ignored} != {k: v for k, v in new.items() if k not in ignored}


def normalize(kind: Kind, value: Object) -> None:
    """Fill the singular and the plural name of one thing from each other, and stringData into data."""
    if kind.group:
        return
    if kind.kind == "Pod":
        _pair(value.get("status"), "podIP", "podIPs", "ip")
        _pair(value.get("status"), "hostIP", "hostIPs", "ip")
    elif kind.kind == "Node":
        _pair(value.get("spec"), "podCIDR", "podCIDRs", "")
    elif kind.kind == "Secret" and "stringData" in value:
        encoded = {key: base64.b64encode(text.encode()).decode() for key, text in value.pop("stringData").items()}
        value["data"] = {**(value.get("data") or {}), **encoded}


def _pair(part: Object | None, one: str, many: str, key: str) -> None:
    if part is None:
        return
    if part.get(many):
        part[one] = part[many][0][key] if key else part[many][0]
    elif part.get(one):
        part[many] = [{key: part[one]}] if key else [part[one]]


def _pod(value: Object) -> None:
    value["status"] = {"phase": "Pending", "qosClass": _quality_of_service(value["spec"])}


def _quality_of_service(spec: Object) -> str:
    """The pod's class by its containers' cpu and memory (pkg/apis/core/v1/helper/qos)."""
    guaranteed, anything = True, False
    for container in spec.get("containers") or ():
        resources = container.get("resources") or {}
        limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
        anything = anything or bool({"cpu", "memory"} & {*limits, *requests})
        guaranteed = guaranteed and all(
            name in limits and requests.get(name, limits[name]) == limits[name] for name in ("cpu", "memory")
        )
    return "BestEffort" if not anything else "Guaranteed" if guaranteed else "Burstable"


def _namespace(value: Object) -> None:
    value["spec"] = {"finalizers": ["kubernetes"]}
    value["status"] = {"phase": "Active"}


def _service(value: Object) -> None:
    value["status"] = {"loadBalancer": {}}


def _claim(value: Object) -> None:
    value["status"] = {"phase": "Pending"}


_INITIAL: Final[dict[tuple[str, str], Callable[[Object], None]]] = {
    ("", "Namespace"): _namespace,
    ("", "PersistentVolume"): _claim,
    ("", "PersistentVolumeClaim"): _claim,
    ("", "Pod"): _pod,
    ("", "Service"): _service,
}
