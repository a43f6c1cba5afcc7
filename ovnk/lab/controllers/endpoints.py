"""The endpoints of a Service: which Pods, at which addresses and ports, in which condition. Pure.

The rules are upstream's (k8s.io/endpointslice/utils.go). A named target port is looked up in each Pod, so that Pods
with different numbers behind one name come under different lists of ports, and hence in different slices.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ovnk.lab.controllers import pods
from ovnk.lab.controllers.resources import Object, deleting, labels_of, name_of, namespace_of, uid_of

ZONE = "topology.kubernetes.io/zone"


class Port(NamedTuple):
    """A port of a slice; `name` is the Service port's, `number` the Pod's."""

    name: str
    protocol: str
    number: int
    application: str = ""

    def entry(self) -> Object:
        """As an EndpointSlice's ports[] has it."""
        entry: Object = {"name": self.name, "protocol": self.protocol, "port": self.number}
        return {**entry, "appProtocol": self.application} if self.application else entry


class Group(NamedTuple):
    """What all endpoints of one slice have in common."""

    address_type: str
    ports: tuple[Port, ...]


def groups(service: Object, selected: Iterable[Object], nodes: Mapping[str, Object]) -> dict[Group, list[Object]]:
    """Endpoints as EndpointSlice.endpoints[] has them, by what they share; a family without any has an empty list."""
    result: dict[Group, list[Object]] = {}
    for family in families(service):
        found: dict[Group, list[Object]] = {}
        for pod in sorted(selected, key=name_of):
            addresses = [address for address in pods.ips(pod) if _family(address) == family]
            if pods.finished(pod) or not addresses:
                continue
            endpoint = _endpoint(service, pod, addresses, nodes.get(pods.node_of(pod)))
            found.setdefault(Group(family, ports(service, pod)), []).append(endpoint)
        result |= found or {Group(family, ()): []}
    return result


def families(service: Object) -> list[str]:
    """The address types of a Service's slices: those of its ipFamilies, IPv4 for one that names none."""
    return list(service["spec"].get("ipFamilies") or ("IPv4",))


def ports(service: Object, pod: Object) -> tuple[Port, ...]:
    """The Service's ports as this Pod serves them; one that the Pod does not have is left out."""
    found = []
    for port in service["spec"].get("ports") or ():
        protocol = port.get("protocol", "TCP")
        number = target_port(port, pod)
        if number is not None:
            found.append(Port(port.get("name") or "", protocol, number, port.get("appProtocol") or ""))
    return tuple(sorted(found))


def target_port(port: Object, pod: Object) -> int | None:
    """The number behind a Service port's targetPort in this Pod; None for a name that no container of it has."""
    target = port.get("targetPort") or port["port"]
    if isinstance(target, int):
        return target
    # Sidecars are init containers that go on running.
    sidecars = [entry for entry in pod["spec"].get("initContainers") or () if entry.get("restartPolicy") == "Always"]
    for container in [*pod["spec"]["containers"], *sidecars]:
        for entry in container.get("ports") or ():
            same = entry.get("name") == target and entry.get("protocol", "TCP") == port.get("protocol", "TCP")
            if same:
                return int(entry["containerPort"])
    return None


def _endpoint(service: Object, pod: Object, addresses: list[str], node: Object | None) -> Object:
    serving, terminating = pods.ready(pod), deleting(pod)
    # A terminating Pod is not ready, whatever its condition says, unless the Service wants them all the same.
    ready = bool(service["spec"].get("publishNotReadyAddresses")) or (serving and not terminating)
    endpoint: dict[str, Any] = {
        "addresses": addresses,
        "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
        "targetRef": {"kind": "Pod", "namespace": namespace_of(pod), "name": name_of(pod), "uid": uid_of(pod)},
    }
    if pods.node_of(pod):
        endpoint["nodeName"] = pods.node_of(pod)
    zone = labels_of(node).get(ZONE) if node else None
    if zone:
        endpoint["zone"] = zone
    if pod["spec"].get("hostname") and pod["spec"].get("subdomain") == name_of(service):
        endpoint["hostname"] = pod["spec"]["hostname"]
    hints = _hints(service["spec"].get("trafficDistribution") or "", pods.node_of(pod), zone) if ready else {}
    return {**endpoint, "hints": hints} if hints else endpoint


def _hints(distribution: str, node: str, zone: str | None) -> Object:
    hints: Object = {}
    if distribution in ("PreferClose", "PreferSameZone", "PreferSameNode") and zone:
        hints["forZones"] = [{"name": zone}]
    if distribution == "PreferSameNode" and node:
        hints["forNodes"] = [{"name": node}]
    return hints


def _family(address: str) -> str:
    return f"IPv{ipaddress.ip_address(address).version}"
