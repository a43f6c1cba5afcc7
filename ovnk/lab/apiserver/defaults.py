"""What a real API server fills in where a manifest is silent (pkg/apis/*/v1/defaults.go), as far as anybody reads it.

Controllers, kubectl's describe and rollout, and OVN's service rules rely on these: replicas, strategies, protocols,
target ports, policy types. Cluster IPs are services.py's; status is operations.py's.
"""

from collections.abc import Callable
from typing import Any, Final

from ovnk.lab.apiserver.kinds import Kind

Object = dict[str, Any]


def apply(kind: Kind, value: Object) -> None:
    """Put the kind's defaults into `value`, in place; a kind without any is left alone."""
    function = _DEFAULTS.get((kind.group, kind.kind))
    if function is not None:
        function(value)


def _set(value: Object, **defaults: object) -> None:
    for name, default in defaults.items():
        if name not in value:
            value[name] = default


def _ports(ports: list[Object] | None) -> None:
    for port in ports or ():
        port.setdefault("protocol", "TCP")


def _container(container: Object) -> None:
    image = container.get("image", "")
    tagged = ":" in image.rsplit("/", 1)[-1] and not image.endswith(":latest")
    _set(
        container,
        imagePullPolicy="IfNotPresent" if tagged or "@" in image else "Always",
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
        resources={},
    )
    _ports(container.get("ports"))
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if name in container:
            _probe(container[name])


def _probe(probe: Object) -> None:
    _set(probe, failureThreshold=3, periodSeconds=10, successThreshold=1, timeoutSeconds=1)
    if "httpGet" in probe:
        _set(probe["httpGet"], path="/", scheme="HTTP")


def _pod_spec(spec: Object) -> None:
    _set(
        spec,
        restartPolicy="Always",
        dnsPolicy="ClusterFirst",
        schedulerName="default-scheduler",
        terminationGracePeriodSeconds=30,
        securityContext={},
    )
    for name in ("containers", "initContainers", "ephemeralContainers"):
        for container in spec.get(name) or ():
            _container(container)
    for volume in spec.get("volumes") or ():
        _volume(volume)


def _volume(volume: Object) -> None:
    if set(volume) == {"name"}:
        volume["emptyDir"] = {}
    for name, field in (("configMap", "defaultMode"), ("secret", "defaultMode"), ("projected", "defaultMode")):
        if name in volume:
            volume[name].setdefault(field, 0o644)


def _pod(value: Object) -> None:
    spec = value.get("spec")
    if spec is not None:
        _pod_spec(spec)
        # What the ServiceAccount and toleration admission plugins add: kubectl describe shows both.
        _set(spec, serviceAccountName="default", serviceAccount=spec.get("serviceAccountName", "default"))
        _set(spec, enableServiceLinks=True, preemptionPolicy="PreemptLowerPriority", priority=0)
        tolerations = spec.setdefault("tolerations", [])
        for reason in ("not-ready", "unreachable"):
            key = f"node.kubernetes.io/{reason}"
            if not any(
                one.get("key") in (key, None) and one.get("effect") in ("NoExecute", None) for one in tolerations
            ):
                tolerations.append({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300})


def _template(spec: Object) -> None:
    template = spec.get("template")
    if isinstance(template, dict):
        template.setdefault("metadata", {})
        if isinstance(template.get("spec"), dict):
            _pod_spec(template["spec"])


def _deployment(value: Object) -> None:
    spec = value.setdefault("spec", {})
    _set(spec, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600)
    strategy = spec.setdefault("strategy", {})
    _set(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        _set(strategy.setdefault("rollingUpdate", {}), maxUnavailable="25%", maxSurge="25%")
    _template(spec)


def _replica_set(value: Object) -> None:
    spec = value.setdefault("spec", {})
    _set(spec, replicas=1)
    _template(spec)


def _stateful_set(value: Object) -> None:
    spec = value.setdefault("spec", {})
    _set(spec, replicas=1, revisionHistoryLimit=10, podManagementPolicy="OrderedReady")
    _set(spec.setdefault("persistentVolumeClaimRetentionPolicy", {}), whenDeleted="Retain", whenScaled="Retain")
    strategy = spec.setdefault("updateStrategy", {})
    _set(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        _set(strategy.setdefault("rollingUpdate", {}), partition=0)
    _template(spec)


def _daemon_set(value: Object) -> None:
    spec = value.setdefault("spec", {})
    _set(spec, revisionHistoryLimit=10)
    strategy = spec.setdefault("updateStrategy", {})
    _set(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        _set(strategy.setdefault("rollingUpdate", {}), maxUnavailable=1, maxSurge=0)
    _template(spec)


def _job(value: Object) -> None:
    spec = value.setdefault("spec", {})
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    _set(spec, parallelism=1, backoffLimit=6, completionMode="NonIndexed", suspend=False)
    _template(spec)


def _cron_job(value: Object) -> None:
    _set(value.setdefault("spec", {}), concurrencyPolicy="Allow", suspend=False)
    _set(value["spec"], successfulJobsHistoryLimit=3, failedJobsHistoryLimit=1)


def _service(value: Object) -> None:
    spec = value.setdefault("spec", {})
    _set(spec, sessionAffinity="None", type="ClusterIP")
    if spec["sessionAffinity"] == "ClientIP":
        _set(spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {}), timeoutSeconds=10800)
    if spec["type"] in ("NodePort", "LoadBalancer") or spec.get("externalIPs"):
        _set(spec, externalTrafficPolicy="Cluster")
    if spec["type"] != "ExternalName":
        _set(spec, internalTrafficPolicy="Cluster")
    if spec["type"] == "LoadBalancer":
        _set(spec, allocateLoadBalancerNodePorts=True)
    _ports(spec.get("ports"))
    for port in spec.get("ports") or ():
        if port.get("targetPort") in (None, "", 0) and "port" in port:
            port["targetPort"] = port["port"]


def _network_policy(value: Object) -> None:
    spec = value.setdefault("spec", {})
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]
    for rule in (*(spec.get("ingress") or ()), *(spec.get("egress") or ())):
        _ports(rule.get("ports"))


def _endpoints(value: Object) -> None:
    for subset in value.get("subsets") or ():
        _ports(subset.get("ports"))


def _endpoint_slice(value: Object) -> None:
    for port in value.get("ports") or ():
        _set(port, name="", protocol="TCP")


def _namespace(value: Object) -> None:
    value["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = value["metadata"].get("name", "")


def _custom_resource_definition(value: Object) -> None:
    spec = value.get("spec") or {}
    _set(spec.setdefault("conversion", {}), strategy="None")
    names = spec.get("names") or {}
    if "kind" in names:
        _set(names, singular=names["kind"].lower(), listKind=f"{names['kind']}List")


def _secret(value: Object) -> None:
    _set(value, type="Opaque")


_DEFAULTS: Final[dict[tuple[str, str], Callable[[Object], None]]] = {
    ("", "Endpoints"): _endpoints,
    ("", "Namespace"): _namespace,
    ("", "Pod"): _pod,
    ("", "ReplicationController"): _replica_set,
    ("", "Secret"): _secret,
    ("", "Service"): _service,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _custom_resource_definition,
    ("apps", "DaemonSet"): _daemon_set,
    ("apps", "Deployment"): _deployment,
    ("apps", "ReplicaSet"): _replica_set,
    ("apps", "StatefulSet"): _stateful_set,
    ("batch", "CronJob"): _cron_job,
    ("batch", "Job"): _job,
    ("discovery.k8s.io", "EndpointSlice"): _endpoint_slice,
    ("networking.k8s.io", "NetworkPolicy"): _network_policy,
}
