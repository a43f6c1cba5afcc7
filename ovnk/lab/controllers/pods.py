"""What controllers ask of a Pod, and the Pod that a template makes.

Pure, but for the clock's reading that `available` is given. The terms are upstream's: active, ready, available,
terminating (k8s.io/kubernetes/pkg/api/v1/pod).
"""

import datetime
from typing import Any

from ovnk.lab.controllers import conditions
from ovnk.lab.controllers.resources import Object, Resource, deleting, owner_reference

FINISHED = ("Succeeded", "Failed")
POD_TEMPLATE_HASH = "pod-template-hash"
CONTROLLER_REVISION_HASH = "controller-revision-hash"


def phase(pod: Object) -> str:
    """The Pod's phase; a new one without a status is Pending."""
    return str((pod.get("status") or {}).get("phase") or "Pending")


def finished(pod: Object) -> bool:
    """Whether its containers have ended for good."""
    return phase(pod) in FINISHED


def active(pod: Object) -> bool:
    """Whether it counts as one of its controller's replicas: neither finished nor being deleted."""
    return not finished(pod) and not deleting(pod)


def node_of(pod: Object) -> str:
    """The node it is bound to, "" before that."""
    return str(pod["spec"].get("nodeName") or "")


def ready(pod: Object) -> bool:
    """Whether its Ready condition is true."""
    return conditions.true(pod, "Ready")


def available_in_s(pod: Object, min_ready_s: float, now: datetime.datetime) -> float | None:
    """Seconds until it has been ready for `min_ready_s`: 0 when it is available, None while it is not even ready."""
    entry = conditions.found(pod, "Ready")
    if entry is None or entry["status"] != "True":
        return None
    if not min_ready_s:
        return 0.0
    since = datetime.datetime.fromisoformat(entry["lastTransitionTime"])
    return max(0.0, min_ready_s - (now - since).total_seconds())


def ips(pod: Object) -> list[str]:
    """Its addresses as text, one a family at most."""
    status = pod.get("status") or {}
    found = [entry["ip"] for entry in status.get("podIPs") or ()]
    return found or ([status["podIP"]] if status.get("podIP") else [])


def template_labels(template: Object) -> dict[str, str]:
    """The labels that a Pod template gives."""
    return (template.get("metadata") or {}).get("labels") or {}


def from_template(
    template: Object, resource: Resource, owner: Object, name: str = "", labels: dict[str, str] | None = None
) -> Object:
    """The Pod that `owner` (of `resource`) makes of a template: named, or with its owner's name as a prefix.

    `labels` are set beside the template's own. Its metadata and spec may be changed; what lies deeper is shared.
    """
    metadata: dict[str, Any] = {
        "namespace": owner["metadata"]["namespace"],
        "labels": {**template_labels(template), **(labels or {})},
        "ownerReferences": [owner_reference(resource, owner)],
    }
    annotations = (template.get("metadata") or {}).get("annotations")
    if annotations:
        metadata["annotations"] = dict(annotations)
    if name:
        metadata["name"] = name
    else:
        metadata["generateName"] = f"{owner['metadata']['name']}-"
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": dict(template["spec"])}
