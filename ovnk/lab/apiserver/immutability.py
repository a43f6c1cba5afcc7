"""What an update must not change: finalizers of what is being deleted, and the fixed fields of built-in kinds."""

from collections.abc import Callable
from typing import Any, Final

from ovnk.lab.apiserver import status
from ovnk.lab.apiserver.kinds import Kind
from ovnk.lab.apiserver.status import Cause

Object = dict[str, Any]


def changes(kind: Kind, old: Object, new: Object) -> list[Cause]:
    """Every change from `old` to `new` that is not allowed."""
    causes = finalizers(old, new)
    if old.get("immutable") and kind.kind in ("ConfigMap", "Secret"):
        causes.extend(
            status.field_forbidden(name, "field is immutable when `immutable` is set")
            for name in ("data", "binaryData", "immutable")
            if old.get(name) != new.get(name)
        )
    function = _IMMUTABLE.get((kind.group, kind.kind))
    if function is not None:
        causes.extend(function(old, new))
    return causes


def finalizers(old: Object, new: Object) -> list[Cause]:
    """Finalizers added to what is being deleted already."""
    if not new["metadata"].get("deletionTimestamp"):
        return []
    before = set(old["metadata"].get("finalizers") or ())
    added = [one for one in new["metadata"].get("finalizers") or () if one not in before]
    why = f"no new finalizers can be added if the object is being deleted, found new finalizers {added}"
    return [status.field_forbidden("metadata.finalizers", why)] if added else []


def _pod_change(old: Object, new: Object) -> list[Cause]:
    """A pod's spec is fixed but for images, deadlines, tolerations added, and scheduling gates removed."""
    before, after = _fixed(old.get("spec") or {}), _fixed(new.get("spec") or {})
    if before == after:
        return []
    why = (
        "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
        "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
        "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
    )
    changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    return [status.field_forbidden("spec", f"{why}\nchanged: {', '.join(changed)}")]


def _fixed(spec: Object) -> Object:
    loose = ("activeDeadlineSeconds", "tolerations", "schedulingGates", "terminationGracePeriodSeconds")
    result = {name: item for name, item in spec.items() if name not in loose}
    for name in ("containers", "initContainers"):
        result[name] = [{key: item for key, item in one.items() if key != "image"} for one in spec.get(name) or ()]
    return result


def _immutable(*paths: str) -> Callable[[Object, Object], list[Cause]]:
    def check(old: Object, new: Object) -> list[Cause]:
        return [
            status.invalid_value(path, _at(new, path), "field is immutable")
            for path in paths
            if _at(old, path) != _at(new, path)
        ]

    return check


def _at(value: Any, path: str) -> Any:
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _service_change(old: Object, new: Object) -> list[Cause]:
    if "ExternalName" in (old["spec"].get("type"), new["spec"].get("type")):
        return []
    before, after = old["spec"].get("clusterIP"), new["spec"].get("clusterIP")
    if before and before != after:
        return [status.invalid_value("spec.clusterIP", after or "", "field is immutable")]
    return []


def _stateful_set_change(old: Object, new: Object) -> list[Cause]:
    fixed = ("serviceName", "selector", "podManagementPolicy", "volumeClaimTemplates")
    if all(old["spec"].get(name) == new["spec"].get(name) for name in fixed):
        return []
    why = (
        "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
        "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
    )
    return [status.field_forbidden("spec", why)]


def _node_change(old: Object, new: Object) -> list[Cause]:
    before, after = (old.get("spec") or {}).get("podCIDRs"), (new.get("spec") or {}).get("podCIDRs")
    if before and before != after:
        return [status.field_forbidden("spec.podCIDRs", 'node updates may not change podCIDR except from "" to valid')]
    return []


_IMMUTABLE: Final[dict[tuple[str, str], Callable[[Object, Object], list[Cause]]]] = {
    ("", "Node"): _node_change,
    ("", "Pod"): _pod_change,
    ("", "Secret"): _immutable("type"),
    ("", "Service"): _service_change,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _immutable("spec.group", "spec.scope", "spec.names.plural"),
    ("apps", "DaemonSet"): _immutable("spec.selector"),
    ("apps", "Deployment"): _immutable("spec.selector"),
    ("apps", "ReplicaSet"): _immutable("spec.selector"),
    ("apps", "StatefulSet"): _stateful_set_change,
    ("batch", "Job"): _immutable("spec.template", "spec.completions"),
    ("discovery.k8s.io", "EndpointSlice"): _immutable("addressType"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): _immutable("roleRef"),
    ("rbac.authorization.k8s.io", "RoleBinding"): _immutable("roleRef"),
}
