"""The rules of metadata and of the built-in kinds that clients rely on being refused.

Not everything a real API server checks: names, labels, owners, selectors, ports, addresses, and the fields that must
not change. Types and unknown fields are decoding.py's, custom resources' own rules structural.py's. Messages are
apimachinery's.
"""

import ipaddress
import re
from collections.abc import Callable
from typing import Any, Final

from ovnk.lab.apiserver import status
from ovnk.lab.apiserver.kinds import Kind
from ovnk.lab.apiserver.status import Cause

Object = dict[str, Any]

_LABEL: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*")
_QUALIFIED_PART: Final = re.compile(r"(?:[A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_LABEL_VALUE: Final = re.compile(r"(?:(?:[A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_DATA_KEY: Final = re.compile(r"[-._a-zA-Z0-9]+")

_LABEL_WHY: Final = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_SUBDOMAIN_WHY: Final = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_QUALIFIED_WHY: Final = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_LABEL_VALUE_WHY: Final = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)

# Kinds named by a DNS label (63 characters, no dots), and kinds whose names are any path segment.
_LABEL_NAMED: Final = frozenset({("", "Namespace"), ("", "Service")})
_PATH_NAMED: Final = frozenset(
    ("rbac.authorization.k8s.io", kind) for kind in ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
)


def validate(kind: Kind, value: Object) -> list[Cause]:
    """Everything wrong with an object that is about to be created."""
    causes = _metadata(kind, value["metadata"])
    function = _RULES.get((kind.group, kind.kind))
    if function is not None:
        causes.extend(function(value))
    return causes


def validate_update(kind: Kind, old: Object, new: Object) -> list[Cause]:
    """Everything wrong with an object that is about to replace `old`: its own rules, and what must not change."""
    causes = validate(kind, new)
    metadata = new["metadata"]
    if metadata.get("deletionTimestamp"):
        before = set(old["metadata"].get("finalizers") or ())
        added = [one for one in metadata.get("finalizers") or () if one not in before]
        if added:
            why = f"no new finalizers can be added if the object is being deleted, found new finalizers {added}"
            causes.append(status.field_forbidden("metadata.finalizers", why))
    if old.get("immutable") and kind.kind in ("ConfigMap", "Secret"):
        for name in ("data", "binaryData", "immutable"):
            if old.get(name) != new.get(name):
                causes.append(status.field_forbidden(name, "field is immutable when `immutable` is set"))
    function = _IMMUTABLE.get((kind.group, kind.kind))
    if function is not None:
        causes.extend(function(old, new))
    return causes


def name_causes(kind: Kind, name: str, field: str = "metadata.name") -> list[Cause]:
    """What is wrong with an object's name."""
    if (kind.group, kind.kind) in _PATH_NAMED:
        if name in (".", "..") or "/" in name or "%" in name:
            return [status.invalid_value(field, name, "may not contain '/' or '%' or be '.' or '..'")]
        return []
    if (kind.group, kind.kind) in _LABEL_NAMED:
        return _dns_label(name, field)
    return _subdomain(name, field)


def _dns_label(name: str, field: str) -> list[Cause]:
    if len(name) > 63:
        return [status.invalid_value(field, name, "must be no more than 63 bytes")]
    return [] if _LABEL.fullmatch(name) else [status.invalid_value(field, name, _LABEL_WHY)]


def _subdomain(name: str, field: str) -> list[Cause]:
    if len(name) > 253:
        return [status.invalid_value(field, name, "must be no more than 253 bytes")]
    return [] if _SUBDOMAIN.fullmatch(name) else [status.invalid_value(field, name, _SUBDOMAIN_WHY)]


def _metadata(kind: Kind, metadata: Object) -> list[Cause]:
    causes = name_causes(kind, metadata["name"])
    for key, label in (metadata.get("labels") or {}).items():
        causes.extend(_qualified(key, "metadata.labels"))
        if len(label) > 63:
            causes.append(status.invalid_value("metadata.labels", label, "must be no more than 63 bytes"))
        elif not _LABEL_VALUE.fullmatch(label):
            causes.append(status.invalid_value("metadata.labels", label, _LABEL_VALUE_WHY))
    size_bytes = 0
    for key, text in (metadata.get("annotations") or {}).items():
        causes.extend(_qualified(key.lower(), "metadata.annotations"))
        size_bytes += len(key) + len(text)
    if size_bytes > 256 * 1024:
        causes.append(Cause("FieldValueTooLong", "Too long: may not be more than 262144 bytes", "metadata.annotations"))
    for index, owner in enumerate(metadata.get("ownerReferences") or ()):
        causes.extend(
            status.required(f"metadata.ownerReferences[{index}].{name}", "must not be empty")
            for name in ("apiVersion", "kind", "name", "uid")
            if not owner.get(name)
        )
    for finalizer in metadata.get("finalizers") or ():
        causes.extend(_qualified(finalizer, "metadata.finalizers"))
    return causes


def _qualified(name: str, field: str) -> list[Cause]:
    prefix, slash, part = name.rpartition("/")
    if slash and (len(prefix) > 253 or not _SUBDOMAIN.fullmatch(prefix)):
        return [status.invalid_value(field, name, f"prefix part {_SUBDOMAIN_WHY}")]
    if len(part) > 63:
        return [status.invalid_value(field, name, "name part must be no more than 63 bytes")]
    return [] if _QUALIFIED_PART.fullmatch(part) else [status.invalid_value(field, name, _QUALIFIED_WHY)]


def _pod(value: Object) -> list[Cause]:
    if "spec" not in value:
        return [status.required("spec.containers")]
    return _pod_spec(value["spec"], "spec")


_PROTOCOLS: Final = ["SCTP", "TCP", "UDP"]


def _pod_spec(spec: Object, path: str) -> list[Cause]:
    causes: list[Cause] = []
    if not spec.get("containers"):
        causes.append(status.required(f"{path}.containers"))
    names: set[str] = set()
    for list_name in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(list_name) or ()):
            here = f"{path}.{list_name}[{index}]"
            name = container.get("name")
            if not name:
                causes.append(status.required(f"{here}.name"))
            else:
                causes.extend(_dns_label(name, f"{here}.name"))
                if name in names:
                    causes.append(status.duplicate(f"{here}.name", name))
                names.add(name)
            if not container.get("image"):
                causes.append(status.required(f"{here}.image"))
            causes.extend(_container_ports(container.get("ports") or (), f"{here}.ports"))
    if spec.get("restartPolicy", "Always") not in ("Always", "OnFailure", "Never"):
        supported = ["Always", "OnFailure", "Never"]
        causes.append(status.not_supported(f"{path}.restartPolicy", spec["restartPolicy"], supported))
    return causes


def _container_ports(ports: list[Object] | tuple[()], path: str) -> list[Cause]:
    causes = []
    for index, port in enumerate(ports):
        number = port.get("containerPort")
        if number is None:
            causes.append(status.required(f"{path}[{index}].containerPort"))
        elif not 0 < number < 65536:
            causes.append(_port_cause(f"{path}[{index}].containerPort", number))
        if port.get("protocol") not in _PROTOCOLS:
            causes.append(status.not_supported(f"{path}[{index}].protocol", port.get("protocol"), _PROTOCOLS))
    return causes


def _port_cause(field: str, number: object) -> Cause:
    return status.invalid_value(field, number, "must be between 1 and 65535, inclusive")


def _service(value: Object) -> list[Cause]:
    causes: list[Cause] = []
    spec = value["spec"]
    types = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]
    if spec["type"] not in types:
        causes.append(status.not_supported("spec.type", spec["type"], types))
    ports = spec.get("ports") or []
    if not ports and spec["type"] != "ExternalName" and spec.get("clusterIP") != "None":
        causes.append(status.required("spec.ports"))
    if spec["type"] == "ExternalName" and not spec.get("externalName"):
        causes.append(status.required("spec.externalName"))
    seen: set[tuple[object, object]] = set()
    for index, port in enumerate(ports):
        here = f"spec.ports[{index}]"
        number = port.get("port")
        if number is None:
            causes.append(status.required(f"{here}.port"))
        elif not 0 < number < 65536:
            causes.append(_port_cause(f"{here}.port", number))
        if port["protocol"] not in _PROTOCOLS:
            causes.append(status.not_supported(f"{here}.protocol", port["protocol"], _PROTOCOLS))
        target = port.get("targetPort")
        if isinstance(target, int) and not 0 < target < 65536:
            causes.append(_port_cause(f"{here}.targetPort", target))
        if len(ports) > 1 and not port.get("name"):
            causes.append(status.required(f"{here}.name"))
        if (port["protocol"], number) in seen:
            causes.append(status.duplicate(here, port))
        seen.add((port["protocol"], number))
    return causes


def _workload(value: Object) -> list[Cause]:
    spec = value["spec"]
    causes: list[Cause] = []
    if not spec.get("selector"):
        causes.append(status.required("spec.selector"))
    if (spec.get("replicas") or 0) < 0:
        causes.append(status.invalid_value("spec.replicas", spec["replicas"], "must be greater than or equal to 0"))
    template = spec.get("template") or {}
    labels = (template.get("metadata") or {}).get("labels") or {}
    wanted = (spec.get("selector") or {}).get("matchLabels") or {}
    if any(labels.get(key) != label for key, label in wanted.items()):
        why = "`selector` does not match template `labels`"
        causes.append(status.invalid_value("spec.template.metadata.labels", labels, why))
    return [*causes, *_pod_spec(template.get("spec") or {}, "spec.template.spec")]


def _data(value: Object) -> list[Cause]:
    keys = [*(value.get("data") or ()), *(value.get("binaryData") or ()), *(value.get("stringData") or ())]
    why = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
    return [status.invalid_value(f"data[{key}]", key, why) for key in keys if not _DATA_KEY.fullmatch(key)]


def _endpoint_slice(value: Object) -> list[Cause]:
    families = ["IPv4", "IPv6", "FQDN"]
    family = value.get("addressType")
    if not family:
        return [status.required("addressType")]
    if family not in families:
        return [status.not_supported("addressType", family, families)]
    causes = []
    for index, endpoint in enumerate(value.get("endpoints") or ()):
        here = f"endpoints[{index}].addresses"
        if not endpoint.get("addresses"):
            causes.append(status.required(here, "must contain at least 1 address"))
        for at, address in enumerate(endpoint.get("addresses") or ()):
            if family != "FQDN" and not _is_ip(address, family):
                causes.append(status.invalid_value(f"{here}[{at}]", address, f"must be a valid {family} address"))
    return causes


def _is_ip(text: str, family: str) -> bool:
    try:
        return ipaddress.ip_address(text).version == (4 if family == "IPv4" else 6)
    except ValueError:
        return False


def _network_policy(value: Object) -> list[Cause]:
    spec = value["spec"]
    causes = []
    for direction, peers_name in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(direction) or ()):
            here = f"spec.{direction}[{index}]"
            for at, peer in enumerate(rule.get(peers_name) or ()):
                causes.extend(_policy_peer(peer, f"{here}.{peers_name}[{at}]"))
            for at, port in enumerate(rule.get("ports") or ()):
                causes.extend(_policy_port(port, f"{here}.ports[{at}]"))
    return causes


def _policy_peer(peer: Object, path: str) -> list[Cause]:
    block = peer.get("ipBlock")
    if not peer:
        return [status.required(path, "must specify a peer")]
    if block is None:
        return []
    if "podSelector" in peer or "namespaceSelector" in peer:
        return [status.field_forbidden(path, "may not specify both ipBlock and another peer")]
    causes = []
    try:
        network = ipaddress.ip_network(block.get("cidr", ""), strict=False)
    except ValueError:
        why = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
        return [status.invalid_value(f"{path}.ipBlock.cidr", block.get("cidr", ""), why)]
    for index, text in enumerate(block.get("except") or ()):
        field = f"{path}.ipBlock.except[{index}]"
        try:
            inner = ipaddress.ip_network(text, strict=False)
        except ValueError:
            causes.append(status.invalid_value(field, text, "must be a valid CIDR value"))
            continue
        if inner.version != network.version or not inner.subnet_of(network) or inner == network:  # type: ignore[arg-type]  # one family here
            causes.append(status.invalid_value(field, text, "must be a strict subset of `cidr`"))
    return causes


def _policy_port(port: Object, path: str) -> list[Cause]:
    number, end = port.get("port"), port.get("endPort")
    causes = []
    if port.get("protocol") not in _PROTOCOLS:
        causes.append(status.not_supported(f"{path}.protocol", port.get("protocol"), _PROTOCOLS))
    if isinstance(number, int) and not 0 < number < 65536:
        causes.append(_port_cause(f"{path}.port", number))
    if end is not None and not isinstance(number, int):
        causes.append(status.invalid_value(f"{path}.endPort", end, "may not be specified when `port` is non-numeric"))
    elif end is not None and end < number:
        causes.append(status.invalid_value(f"{path}.endPort", end, "must be greater than or equal to `port`"))
    return causes


def _definition(value: Object) -> list[Cause]:
    spec = value.get("spec") or {}
    names = spec.get("names") or {}
    causes = [
        status.required(f"spec.{field}")
        for field, present in (
            ("group", spec.get("group")),
            ("names.plural", names.get("plural")),
            ("names.kind", names.get("kind")),
            ("scope", spec.get("scope")),
            ("versions", spec.get("versions")),
        )
        if not present
    ]
    if causes:
        return causes
    wanted = f"{names['plural']}.{spec['group']}"
    if value["metadata"]["name"] != wanted:
        why = 'must be spec.names.plural+"."+spec.group'
        causes.append(status.invalid_value("metadata.name", value["metadata"]["name"], why))
    if spec["scope"] not in ("Cluster", "Namespaced"):
        causes.append(status.not_supported("spec.scope", spec["scope"], ["Cluster", "Namespaced"]))
    if sum(version.get("storage", False) for version in spec["versions"]) != 1:
        why = "must have exactly one version marked as storage version"
        causes.append(status.invalid_value("spec.versions", spec["versions"], why))
    for index, version in enumerate(spec["versions"]):
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        here = f"spec.versions[{index}].schema.openAPIV3Schema"
        if schema is None:
            causes.append(status.required(here, "schemas are required"))
        elif schema.get("type") != "object":
            causes.append(
                status.required(
                    f"{here}.type",
                    "must not be empty at the root" if not schema.get("type") else "must be object at the root",
                )
            )
    return causes


_RULES: Final[dict[tuple[str, str], Callable[[Object], list[Cause]]]] = {
    ("", "ConfigMap"): _data,
    ("", "Pod"): _pod,
    ("", "Secret"): _data,
    ("", "Service"): _service,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
    ("apps", "DaemonSet"): _workload,
    ("apps", "Deployment"): _workload,
    ("apps", "ReplicaSet"): _workload,
    ("apps", "StatefulSet"): _workload,
    ("discovery.k8s.io", "EndpointSlice"): _endpoint_slice,
    ("networking.k8s.io", "NetworkPolicy"): _network_policy,
}


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
