"""The rules of the built-in kinds that clients rely on being refused.

Not everything a real API server checks: containers, selectors, ports, addresses. Metadata's rules are names.py's,
what must not change immutability.py's; types and unknown fields are decoding.py's, custom resources' own rules
structural.py's. Messages are apimachinery's.
"""

import ipaddress
import re
from collections.abc import Callable
from typing import Any, Final

from ovnk.lab.apiserver import definitions, immutability, names, status
from ovnk.lab.apiserver.kinds import Kind
from ovnk.lab.apiserver.status import Cause

Object = dict[str, Any]

_DATA_KEY: Final = re.compile(r"[-._a-zA-Z0-9]+")


def validate(kind: Kind, value: Object) -> list[Cause]:
    """Everything wrong with an object that is about to be created."""
    causes = names.metadata_causes(kind, value["metadata"])
    function = _RULES.get((kind.group, kind.kind))
    if function is not None:
        causes.extend(function(value))
    return causes


def validate_update(kind: Kind, old: Object, new: Object) -> list[Cause]:
    """Everything wrong with an object that is about to replace `old`: its own rules, and what must not change."""
    causes = validate(kind, new)
    causes.extend(immutability.changes(kind, old, new))
    return causes


def validate_status_update(kind: Kind, old: Object, new: Object) -> list[Cause]:
    """Everything wrong with a write to the status: metadata's rules, as nothing else of the object changes."""
    return [*names.metadata_causes(kind, new["metadata"]), *immutability.finalizers(old, new)]


def _pod(value: Object) -> list[Cause]:
    if "spec" not in value:
        return [status.required("spec.containers")]
    return _pod_spec(value["spec"], "spec")


_PROTOCOLS: Final = ["SCTP", "TCP", "UDP"]


def _pod_spec(spec: Object, path: str) -> list[Cause]:
    causes: list[Cause] = []
    if not spec.get("containers"):
        causes.append(status.required(f"{path}.containers"))
    seen: set[str] = set()
    for list_name in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(list_name) or ()):
            here = f"{path}.{list_name}[{index}]"
            name = container.get("name")
            if not name:
                causes.append(status.required(f"{here}.name"))
            else:
                causes.extend(names.label_causes(name, f"{here}.name"))
                if name in seen:
                    causes.append(status.duplicate(f"{here}.name", name))
                seen.add(name)
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


_RULES: Final[dict[tuple[str, str], Callable[[Object], list[Cause]]]] = {
    ("", "ConfigMap"): _data,
    ("", "Pod"): _pod,
    ("", "Secret"): _data,
    ("", "Service"): _service,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): definitions.causes,
    ("apps", "DaemonSet"): _workload,
    ("apps", "Deployment"): _workload,
    ("apps", "ReplicaSet"): _workload,
    ("apps", "StatefulSet"): _workload,
    ("discovery.k8s.io", "EndpointSlice"): _endpoint_slice,
    ("networking.k8s.io", "NetworkPolicy"): _network_policy,
}
