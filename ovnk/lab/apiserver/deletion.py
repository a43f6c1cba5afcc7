"""How an object is deleted: at once, or marked and left to those who have to finish something first.

Pure. It stays, with a deletionTimestamp, while it has finalizers (the propagation policy's is one of them), while a
Pod's node has not stopped it, and while a Namespace has content.
"""

from dataclasses import dataclass
from typing import Any, Final

from ovnk.lab.apiserver import definitions, kinds, status, strategies
from ovnk.lab.apiserver.clock import timestamp
from ovnk.lab.apiserver.kinds import Kind

Object = dict[str, Any]

NAMESPACES: Final = kinds.built_in("namespaces")
PODS: Final = kinds.built_in("pods")
DEFINITIONS: Final = kinds.built_in("customresourcedefinitions", "apiextensions.k8s.io")

FOREGROUND: Final = "foregroundDeletion"
ORPHAN: Final = "orphan"


@dataclass(frozen=True, slots=True)
class Delete:
    """metav1.DeleteOptions. `propagation` is "Background", "Foreground" or "Orphan"."""

    grace_s: int | None = None
    propagation: str = "Background"
    uid: str = ""
    resource_version: str = ""
    dry_run: bool = False


def check(kind: Kind, value: Object, options: Delete) -> None:
    """Raise StatusError 409 unless the delete's preconditions hold for the object."""
    metadata = value["metadata"]
    for name, wanted, present in (
        ("UID", options.uid, metadata["uid"]),
        ("ResourceVersion", options.resource_version, metadata["resourceVersion"]),
    ):
        if wanted and wanted != present:
            why = f"Precondition failed: {name} in precondition: {wanted}, {name} in object meta: {present}"
            raise status.conflict(kind, metadata["name"], why)


def marked(kind: Kind, value: Object, options: Delete) -> Object | None:
    """The object as it waits for its end (a new value, equal to the old one when it waits already); None: it may go."""
    metadata = value["metadata"]
    already = metadata.get("deletionTimestamp")
    grace_s = _grace_s(kind, value, options)
    finalizers = _finalizers(kind, metadata, options.propagation)
    if not finalizers and not grace_s and kind is not NAMESPACES:
        return None
    result = {**value, "metadata": dict(metadata)}
    if finalizers:
        result["metadata"]["finalizers"] = finalizers
    if not already or grace_s < metadata.get("deletionGracePeriodSeconds", 0):
        result["metadata"]["deletionTimestamp"] = timestamp(grace_s)
        result["metadata"]["deletionGracePeriodSeconds"] = grace_s
    if kind is NAMESPACES:
        result["status"] = {**value.get("status", {}), "phase": "Terminating"}
    if strategies.has_generation(kind) and not already:
        result["metadata"]["generation"] = metadata.get("generation", 1) + 1
    return result


def waits(kind: Kind, value: Object) -> bool:
    """Whether something still has to happen before an object marked for deletion is gone."""
    metadata = value["metadata"]
    content = kind is NAMESPACES and value["spec"].get("finalizers")
    return bool(metadata.get("finalizers") or metadata.get("deletionGracePeriodSeconds") or content)


def _grace_s(kind: Kind, value: Object, options: Delete) -> int:
    """How long a pod's node has to stop it; 0 for what no node runs."""
    if kind is not PODS:
        return 0
    finished = (value.get("status") or {}).get("phase") in ("Succeeded", "Failed")
    if not value["spec"].get("nodeName") or finished:
        return 0
    if options.grace_s is not None:
        return max(options.grace_s, 0)
    default: int = value["spec"].get("terminationGracePeriodSeconds", 30)
    return default


def _finalizers(kind: Kind, metadata: Object, propagation: str) -> list[str]:
    """The finalizers under which the object is deleted."""
    present: list[str] = metadata.get("finalizers") or []
    if metadata.get("deletionTimestamp"):
        return present
    kept = [one for one in present if one not in (FOREGROUND, ORPHAN)]
    wanted = {"Foreground": FOREGROUND, "Orphan": ORPHAN}.get(propagation)
    if wanted is not None:
        kept.append(wanted)
    if kind is DEFINITIONS:
        kept.append(definitions.CLEANUP)
    return kept
