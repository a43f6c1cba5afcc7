"""The columns of the built-in kinds, as `kubectl get` shows them (pkg/printers/internalversion).

A table of (column, function of the object) a kind. Priority 1 columns appear with -o wide.
"""

import datetime
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from ovnk.lab.apiserver.kinds import Kind

Object = dict[str, Any]
Cell = Callable[[Object], Any]


class Printed(NamedTuple):
    """One column of a built-in kind."""

    name: str
    cell: Cell
    wide: bool = False
    type: str = "string"


def of(kind: Kind) -> tuple[Printed, ...]:
    """The columns after the name; age alone for a kind that has no others."""
    return _KINDS.get((kind.group, kind.kind), (AGE,))


def duration(seconds: float) -> str:
    """As in "5s", "2m10s", "3h", "5d": a span as kubectl prints ages (apimachinery's HumanDuration)."""
    s = int(seconds)
    minutes, hours, days = s // 60, s // 3600, s // 86400
    if s < 0:
        return "0s" if s >= -2 else "<invalid>"
    if s < 120:
        return f"{s}s"
    if minutes < 10:
        return f"{minutes}m{s % 60}s" if s % 60 else f"{minutes}m"
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    if days < 730:
        return f"{days}d"
    return f"{days // 365}y" if days >= 2920 or not days % 365 else f"{days // 365}y{days % 365}d"


def _age(value: Object) -> str:
    return since(value["metadata"].get("creationTimestamp"))


def since(time: str | None) -> str:
    """How long ago a metav1.Time was."""
    if not time:
        return "<unknown>"
    moment = datetime.datetime.fromisoformat(time)
    return duration((datetime.datetime.now(datetime.UTC) - moment).total_seconds())


def _spec(value: Object) -> Object:
    return value.get("spec") or {}


def _status(value: Object) -> Object:
    return value.get("status") or {}


def _pairs(labels: Object | None) -> str:
    return ",".join(f"{key}={label}" for key, label in sorted((labels or {}).items())) or "<none>"


def selector_text(selector: Object | None) -> str:
    """A LabelSelector in kubectl's words."""
    selector = selector or {}
    terms = [f"{key}={label}" for key, label in sorted((selector.get("matchLabels") or {}).items())]
    for one in selector.get("matchExpressions") or ():
        values = ",".join(sorted(one.get("values") or ()))
        words = {"In": f"{one['key']} in ({values})", "NotIn": f"{one['key']} notin ({values})"}
        terms.append(words.get(one["operator"], one["key"] if one["operator"] == "Exists" else f"!{one['key']}"))
    return ",".join(terms) or "<none>"


def _pod_ready(value: Object) -> str:
    states = _status(value).get("containerStatuses") or ()
    return f"{sum(bool(one.get('ready')) for one in states)}/{len(_spec(value).get('containers') or ())}"


def _pod_status(value: Object) -> str:
    """The STATUS kubectl shows of a pod: the phase, unless a container's state says more."""
    status = _status(value)
    text: str = status.get("reason") or status.get("phase") or "Unknown"
    for one in status.get("containerStatuses") or ():
        state = one.get("state") or {}
        waiting, terminated = state.get("waiting") or {}, state.get("terminated") or {}
        if waiting.get("reason"):
            text = waiting["reason"]
        elif terminated.get("reason"):
            text = terminated["reason"]
        elif terminated:
            signal = terminated.get("signal")
            text = f"Signal:{signal}" if signal else f"ExitCode:{terminated.get('exitCode', 0)}"
    if value["metadata"].get("deletionTimestamp"):
        return "Unknown" if status.get("reason") == "NodeLost" else "Terminating"
    return text


def _pod_restarts(value: Object) -> str:
    return str(sum(one.get("restartCount", 0) for one in _status(value).get("containerStatuses") or ()))


def _node_status(value: Object) -> str:
    ready = next((one for one in _status(value).get("conditions") or () if one.get("type") == "Ready"), None)
    words = ["Unknown" if ready is None else "Ready" if ready.get("status") == "True" else "NotReady"]
    if _spec(value).get("unschedulable"):
        words.append("SchedulingDisabled")
    return ",".join(words)


def _node_roles(value: Object) -> str:
    prefix = "node-role.kubernetes.io/"
    labels = value["metadata"].get("labels") or {}
    return ",".join(sorted(key.removeprefix(prefix) for key in labels if key.startswith(prefix))) or "<none>"


def _node_address(kind: str) -> Cell:
    def cell(value: Object) -> str:
        found = [one.get("address", "") for one in _status(value).get("addresses") or () if one.get("type") == kind]
        return found[0] if found else "<none>"

    return cell


def _node_info(name: str) -> Cell:
    return lambda value: (_status(value).get("nodeInfo") or {}).get(name) or "<unknown>"


def _service_ports(value: Object) -> str:
    texts = []
    for port in _spec(value).get("ports") or ():
        number = f"{port['port']}:{port['nodePort']}" if port.get("nodePort") else f"{port['port']}"
        texts.append(f"{number}/{port.get('protocol', 'TCP')}")
    return ",".join(texts) or "<none>"


def _external_ip(value: Object) -> str:
    spec = _spec(value)
    given = list(spec.get("externalIPs") or ())
    if spec.get("type") == "LoadBalancer":
        ingress = (_status(value).get("loadBalancer") or {}).get("ingress") or ()
        found = [one.get("ip") or one.get("hostname") or "" for one in ingress] + given
        return ",".join(found) or "<pending>"
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName", ""))
    return ",".join(given) or "<none>"


def _containers(field: str) -> Cell:
    def cell(value: Object) -> str:
        template = _spec(_spec(value).get("template") or {})
        return ",".join(one.get(field, "") for one in template.get("containers") or ())

    return cell


def _of(part: str, name: str, absent: Any = "<none>") -> Cell:
    def cell(value: Object) -> Any:
        found = (value.get(part) or {}).get(name)
        return absent if found is None or found == "" else found

    return cell


def _joined(addresses: list[str], shown_max: int = 3) -> str:
    if not addresses:
        return "<none>"
    more = f" + {len(addresses) - shown_max} more..." if len(addresses) > shown_max else ""
    return ",".join(addresses[:shown_max]) + more


def _endpoints(value: Object) -> str:
    found = []
    for subset in value.get("subsets") or ():
        for address in subset.get("addresses") or ():
            ip = f"[{address['ip']}]" if ":" in address["ip"] else address["ip"]
            ports = [f"{ip}:{port['port']}" for port in subset.get("ports") or ()]
            found.extend(ports or [address["ip"]])
    return _joined(found)


def _slice_ports(value: Object) -> str:
    ports = value.get("ports") or ()
    return _joined([str(port.get("port", "*")) for port in ports]) if ports else "<unset>"


def _slice_endpoints(value: Object) -> str:
    found = [address for one in value.get("endpoints") or () for address in one.get("addresses") or ()]
    return _joined(found) if found else "<unset>"


def _size(*names: str) -> Cell:
    return lambda value: sum(len(value.get(name) or ()) for name in names)


def _event_object(value: Object) -> str:
    involved = value.get("involvedObject") or value.get("regarding") or {}
    return f"{involved.get('kind', '').lower()}/{involved.get('name', '')}"


def _event_seen(value: Object) -> str:
    series = value.get("series") or {}
    return since(
        series.get("lastObservedTime")
        or value.get("lastTimestamp")
        or value.get("deprecatedLastTimestamp")
        or value.get("eventTime")
        or value["metadata"].get("creationTimestamp")
    )


def _role_ref(value: Object) -> str:
    return f"{value['roleRef']['kind']}/{value['roleRef']['name']}"


def _ready_of(total: str, ready: str) -> Cell:
    return lambda value: f"{_status(value).get(ready, 0)}/{_spec(value).get(total, 0)}"


def _job_completions(value: Object) -> str:
    wanted = _spec(value).get("completions")
    if wanted is None:
        wanted = f"1 of {_spec(value).get('parallelism', 1)}"
    return f"{_status(value).get('succeeded', 0)}/{wanted}"


def _job_status(value: Object) -> str:
    for one in _status(value).get("conditions") or ():
        if one.get("status") == "True" and one.get("type") in ("Complete", "Failed", "Suspended"):
            return str(one["type"])
    return "Running"


def _budget(name: str) -> Cell:
    return lambda value: str(_spec(value).get(name, "N/A"))


def _ingress_hosts(value: Object) -> str:
    hosts = [rule["host"] for rule in _spec(value).get("rules") or () if rule.get("host")]
    return _joined(hosts) if hosts else "*"


AGE: Final = Printed("Age", _age)
_WORKLOAD_WIDE: Final = (
    Printed("Containers", _containers("name"), wide=True),
    Printed("Images", _containers("image"), wide=True),
)
_SELECTOR: Final = Printed("Selector", lambda value: selector_text(_spec(value).get("selector")), wide=True)

_KINDS: Final[dict[tuple[str, str], tuple[Printed, ...]]] = {
    ("", "Pod"): (
        Printed("Ready", _pod_ready),
        Printed("Status", _pod_status),
        Printed("Restarts", _pod_restarts),
        AGE,
        Printed("IP", _of("status", "podIP"), wide=True),
        Printed("Node", _of("spec", "nodeName"), wide=True),
        Printed("Nominated Node", _of("status", "nominatedNodeName"), wide=True),
        Printed("Readiness Gates", lambda _: "<none>", wide=True),
    ),
    ("", "Node"): (
        Printed("Status", _node_status),
        Printed("Roles", _node_roles),
        AGE,
        Printed("Version", lambda value: (_status(value).get("nodeInfo") or {}).get("kubeletVersion", "")),
        Printed("Internal-IP", _node_address("InternalIP"), wide=True),
        Printed("External-IP", _node_address("ExternalIP"), wide=True),
        Printed("OS-Image", _node_info("osImage"), wide=True),
        Printed("Kernel-Version", _node_info("kernelVersion"), wide=True),
        Printed("Container-Runtime", _node_info("containerRuntimeVersion"), wide=True),
    ),
    ("", "Namespace"): (Printed("Status", _of("status", "phase", "")), AGE),
    ("", "Service"): (
        Printed("Type", _of("spec", "type", "")),
        Printed("Cluster-IP", _of("spec", "clusterIP")),
        Printed("External-IP", _external_ip),
        Printed("Port(s)", _service_ports),
        AGE,
        Printed("Selector", lambda value: _pairs(_spec(value).get("selector")), wide=True),
    ),
    ("", "Endpoints"): (Printed("Endpoints", _endpoints), AGE),
    ("", "ConfigMap"): (Printed("Data", _size("data", "binaryData")), AGE),
    ("", "Secret"): (
        Printed("Type", lambda value: value.get("type", "")),
        Printed("Data", _size("data"), type="integer"),
        AGE,
    ),
    ("", "ServiceAccount"): (Printed("Secrets", _size("secrets"), type="integer"), AGE),
    ("", "Event"): (
        Printed("Last Seen", _event_seen),
        Printed("Type", lambda value: value.get("type", "")),
        Printed("Reason", lambda value: value.get("reason", "")),
        Printed("Object", _event_object),
        Printed("Message", lambda value: str(value.get("message", "")).strip()),
        Printed("Count", lambda value: value.get("count", 1), wide=True),
    ),
    ("", "PersistentVolumeClaim"): (
        Printed("Status", _of("status", "phase", "")),
        Printed("Volume", _of("spec", "volumeName", "")),
        Printed("StorageClass", _of("spec", "storageClassName", "")),
        AGE,
    ),
    ("apps", "Deployment"): (
        Printed("Ready", _ready_of("replicas", "readyReplicas")),
        Printed("Up-to-date", _of("status", "updatedReplicas", 0), type="integer"),
        Printed("Available", _of("status", "availableReplicas", 0), type="integer"),
        AGE,
        *_WORKLOAD_WIDE,
        _SELECTOR,
    ),
    ("apps", "ReplicaSet"): (
        Printed("Desired", _of("spec", "replicas", 0), type="integer"),
        Printed("Current", _of("status", "replicas", 0), type="integer"),
        Printed("Ready", _of("status", "readyReplicas", 0), type="integer"),
        AGE,
        *_WORKLOAD_WIDE,
        _SELECTOR,
    ),
    ("apps", "StatefulSet"): (Printed("Ready", _ready_of("replicas", "readyReplicas")), AGE, *_WORKLOAD_WIDE),
    ("apps", "DaemonSet"): (
        Printed("Desired", _of("status", "desiredNumberScheduled", 0), type="integer"),
        Printed("Current", _of("status", "currentNumberScheduled", 0), type="integer"),
        Printed("Ready", _of("status", "numberReady", 0), type="integer"),
        Printed("Up-to-date", _of("status", "updatedNumberScheduled", 0), type="integer"),
        Printed("Available", _of("status", "numberAvailable", 0), type="integer"),
        Printed("Node Selector", lambda value: _pairs(_spec(_spec(value).get("template") or {}).get("nodeSelector"))),
        AGE,
        *_WORKLOAD_WIDE,
        _SELECTOR,
    ),
    ("batch", "Job"): (Printed("Status", _job_status), Printed("Completions", _job_completions), AGE),
    ("batch", "CronJob"): (
        Printed("Schedule", _of("spec", "schedule", "")),
        Printed("Suspend", lambda value: str(_spec(value).get("suspend", False))),
        AGE,
    ),
    ("coordination.k8s.io", "Lease"): (Printed("Holder", _of("spec", "holderIdentity", "")), AGE),
    ("discovery.k8s.io", "EndpointSlice"): (
        Printed("AddressType", lambda value: value.get("addressType", "")),
        Printed("Ports", _slice_ports),
        Printed("Endpoints", _slice_endpoints),
        AGE,
    ),
    ("networking.k8s.io", "NetworkPolicy"): (
        Printed("Pod-Selector", lambda value: selector_text(_spec(value).get("podSelector"))),
        AGE,
    ),
    ("networking.k8s.io", "Ingress"): (
        Printed("Class", _of("spec", "ingressClassName")),
        Printed("Hosts", _ingress_hosts),
        AGE,
    ),
    ("policy", "PodDisruptionBudget"): (
        Printed("Min Available", _budget("minAvailable")),
        Printed("Max Unavailable", _budget("maxUnavailable")),
        Printed("Allowed Disruptions", _of("status", "disruptionsAllowed", 0), type="integer"),
        AGE,
    ),
    ("rbac.authorization.k8s.io", "RoleBinding"): (Printed("Role", _role_ref), AGE),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): (Printed("Role", _role_ref), AGE),
    ("rbac.authorization.k8s.io", "Role"): (
        Printed("Created At", lambda v: v["metadata"].get("creationTimestamp", "")),
    ),
    ("rbac.authorization.k8s.io", "ClusterRole"): (
        Printed("Created At", lambda v: v["metadata"].get("creationTimestamp", "")),
    ),
    ("apiextensions.k8s.io", "CustomResourceDefinition"): (
        Printed("Created At", lambda v: v["metadata"].get("creationTimestamp", "")),
    ),
}
_KINDS["events.k8s.io", "Event"] = _KINDS["", "Event"]
