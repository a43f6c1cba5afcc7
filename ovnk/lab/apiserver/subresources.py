"""The paths below an object other than its status: scale, binding, eviction; and the reviews, which are only asked.

Each takes the decoded body and gives the object to answer with.
"""

from typing import Any, Final

from ovnk.lab.apiserver import bodies, columns, selectors, status, tables
from ovnk.lab.apiserver.bodies import Write
from ovnk.lab.apiserver.deletion import PODS, Delete
from ovnk.lab.apiserver.kinds import Kind, Resource
from ovnk.lab.apiserver.operations import Operations
from ovnk.lab.apiserver.stored import Stored

Object = dict[str, Any]

_BUILT_IN_SCALE: Final = {"spec": ".spec.replicas", "status": ".status.replicas", "selector": ".status.selector"}
EVICTION: Final = "io.k8s.api.policy.v1.Eviction"
_SCALE: Final = "io.k8s.api.autoscaling.v1.Scale"
_BINDING: Final = "io.k8s.api.core.v1.Binding"
_BUDGETS: Final = Resource("policy", "poddisruptionbudgets")

USER: Final[Object] = {"username": "kubernetes-admin", "groups": ["system:masters", "system:authenticated"]}


def scale_of(kind: Kind, value: Object) -> Object:
    """The autoscaling/v1 Scale that an object shows."""
    paths = kind.scale_paths or _BUILT_IN_SCALE
    metadata = value["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    selector = tables.path_value(value, paths["selector"]) if paths["selector"] else ""
    if not kind.custom:
        selector = columns.selector_text((value.get("spec") or {}).get("selector"))
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: metadata[key] for key in kept if key in metadata},
        "spec": {"replicas": tables.path_value(value, paths["spec"]) or 0},
        "status": {"replicas": tables.path_value(value, paths["status"]) or 0, "selector": selector or ""},
    }


def scaled(kind: Kind, value: Object, body: Any) -> Object:
    """The object with the replicas a Scale wants; a new value. Raises StatusError 400, 422."""
    scale = bodies.typed(_SCALE, body)
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if replicas < 0:
        name = value["metadata"]["name"]
        cause = status.invalid_value("spec.replicas", replicas, "must be greater than or equal to 0")
        raise status.invalid(kind, name, [cause])
    parts = (kind.scale_paths or _BUILT_IN_SCALE)["spec"].strip(".").split(".")
    result = {**value, "metadata": dict(value["metadata"])}
    version = (scale.get("metadata") or {}).get("resourceVersion")
    result["metadata"]["resourceVersion"] = version or ""
    node = result
    for part in parts[:-1]:
        node[part] = dict(node.get(part) or {})
        node = node[part]
    node[parts[-1]] = replicas
    return result


def bind(operations: Operations, namespace: str, name: str, body: Any, write: Write) -> Object:
    """POST pods/NAME/binding, or bindings (where `name` is empty and the binding has it). Raises 404, 409, 422."""
    binding = bodies.typed(_BINDING, body)
    metadata = binding.get("metadata") or {}
    name = name or metadata.get("name", "")
    node = (binding.get("target") or {}).get("name")
    if not node:
        cause = status.required("target.name")
        raise status.StatusError(422, "Invalid", f'Binding "{name}" is invalid: target.name: Required value', {
            "name": name, "kind": "Binding", "causes": [cause.body()],
        })  # fmt: skip
    operations.bind(namespace, name, node, metadata.get("annotations") or {}, write)
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


def evict(operations: Operations, namespace: str, name: str, options: Delete) -> Object:
    """POST pods/NAME/eviction: a delete, unless a disruption budget that selects the pod allows none (429)."""
    pod = operations.get(PODS, namespace, name)
    for budget in operations.store.select(_BUDGETS, namespace):
        requirements = selectors.from_object((budget.value.get("spec") or {}).get("selector") or {})
        labels = pod.value["metadata"].get("labels") or {}
        if all(one.matches(labels) for one in requirements) and not _allows(budget):
            cause = status.Cause("DisruptionBudget", f"The disruption budget {budget.name} does not allow it now.", "")
            message = "Cannot evict pod as it would violate the pod's disruption budget."
            raise status.too_many_requests(message, (cause,))
    operations.delete(PODS, namespace, name, options)
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


def _allows(budget: Stored) -> bool:
    allowed: int = (budget.value.get("status") or {}).get("disruptionsAllowed", 0)
    return allowed > 0


def reviewed(kind: Kind, body: Any, token: str | None) -> Object:
    """A review with its answer: whoever has the token may do anything. Raises StatusError 400."""
    review = bodies.typed(kind.definition, body)
    answer: Object = {"allowed": True}
    if kind.kind == "SelfSubjectRulesReview":
        answer = {
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": False,
        }
    elif kind.kind == "SelfSubjectReview":
        answer = {"userInfo": USER}
    elif kind.kind == "TokenReview":
        known = token is None or (review.get("spec") or {}).get("token") == token
        answer = {"authenticated": True, "user": USER} if known else {"user": {}, "error": "unknown token"}
    return {**review, "kind": kind.kind, "apiVersion": kind.api_version, "status": answer}
