"""EndpointSlices of the Services with a selector, filled so that a change of one Pod rewrites one slice.

What the endpoints are is said in endpoints.py. Here they are laid in slices of at most 100: those that have a place
keep it, new ones take the room there is, then new slices. Services without a selector are left to their makers.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ovnk.lab.controllers import endpoints, labels
from ovnk.lab.controllers.cluster import Cluster
from ovnk.lab.controllers.controller import Controller, itself
from ovnk.lab.controllers.endpoints import Group, Port
from ovnk.lab.controllers.resources import (
    ENDPOINT_SLICES,
    NODES,
    PODS,
    SERVICES,
    Key,
    Object,
    deleting,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    owner_reference,
)

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
HEADLESS = "service.kubernetes.io/headless"
RESERVED = (SERVICE_NAME, MANAGED_BY, HEADLESS)
SLICE_ENDPOINTS_MAX = 100

BY_NAMESPACE, BY_SERVICE = "namespace", "service"


@dataclass(slots=True)
class Layout:
    """What to do with the slices of one group so that they hold its endpoints."""

    create: list[list[Object]] = field(default_factory=list)
    update: list[tuple[Object, list[Object]]] = field(default_factory=list)
    delete: list[Object] = field(default_factory=list)


class EndpointSlices(Controller):
    """The EndpointSlice controller."""

    name = "endpointslices"

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self._services, self._pods, self._slices, self._nodes = (
            cluster.cache(resource) for resource in (SERVICES, PODS, ENDPOINT_SLICES, NODES)
        )
        self._services.index(BY_NAMESPACE, lambda value: (namespace_of(value),))
        self._pods.index(BY_NAMESPACE, lambda value: (namespace_of(value),))
        self._slices.index(BY_SERVICE, _service_keys)
        self.follow(SERVICES, itself)
        self.follow(PODS, self._selecting)
        self.follow(ENDPOINT_SLICES, _service_keys)
        self._nodes.subscribe(self._node_changed)

    async def reconcile(self, key: Key) -> float | None:
        """Make the Service's slices hold its endpoints; a Service that is gone has none."""
        service = self._services.get(key)
        held = [value for value in self._slices.by(BY_SERVICE, key) if not deleting(value)]
        if service is None or deleting(service):
            # The garbage collector's work, which needs the owner to be gone; a real one is as slow.
            return None
        selector = service["spec"].get("selector")
        if not selector or service["spec"].get("type") == "ExternalName":
            return None
        namespace = namespace_of(service)
        selected = [pod for pod in self._pods.by(BY_NAMESPACE, namespace) if labels.includes(selector, labels_of(pod))]
        wanted = endpoints.groups(service, selected, self._nodes.objects)
        by_group: dict[Group, list[Object]] = {}
        for value in held:
            by_group.setdefault(_group(value), []).append(value)
        # New slices first: an endpoint that moves is for a moment in two rather than in none.
        layouts = {group: layout(found, by_group.get(group, [])) for group, found in wanted.items()}
        slice_labels = _labels(service)
        for group, plan in layouts.items():
            for found in plan.create:
                await self.cluster.create(ENDPOINT_SLICES, _slice(service, group, found, slice_labels))
            for value, found in plan.update:
                await self._update(value, found, slice_labels)
        for value in [value for group, values in by_group.items() if group not in wanted for value in values]:
            await self.cluster.delete(ENDPOINT_SLICES, value)
        for value in [value for plan in layouts.values() for value in plan.delete]:
            await self.cluster.delete(ENDPOINT_SLICES, value)
        return None

    async def _update(self, value: Object, found: list[Object], slice_labels: dict[str, str]) -> None:
        if (value.get("endpoints") or []) == found and labels_of(value) == slice_labels:
            return
        metadata = {**value["metadata"], "labels": slice_labels}
        await self.cluster.update(ENDPOINT_SLICES, {**value, "metadata": metadata, "endpoints": found})

    def _selecting(self, pod: Object) -> Iterable[Key]:
        """The Services that select the Pod."""
        for service in self._services.by(BY_NAMESPACE, namespace_of(pod)):
            selector = service["spec"].get("selector")
            if selector and labels.includes(selector, labels_of(pod)):
                yield key_of(service)

    def _node_changed(self, before: Object | None, after: Object | None) -> None:
        zones = [labels_of(node).get(endpoints.ZONE) if node else None for node in (before, after)]
        if zones[0] != zones[1]:
            for service in self._services.objects.values():
                self.queue.add(key_of(service))


def layout(wanted: Sequence[Object], held: Sequence[Object], limit: int = SLICE_ENDPOINTS_MAX) -> Layout:
    """How the endpoints of one group go into its slices: each slice that is held is either updated or deleted."""
    plan = Layout()
    left = {_identity(endpoint): endpoint for endpoint in wanted}
    kept = []
    for value in held:
        stay = [left.pop(key) for key in map(_identity, value.get("endpoints") or ()) if key in left]
        kept.append((value, stay))
    # The fullest first, so that nearly empty slices can go.
    kept.sort(key=lambda entry: -len(entry[1]))
    rest = list(left.values())
    for value, stay in kept:
        room = limit - len(stay)
        stay += rest[:room]
        rest = rest[room:]
        if stay or (not wanted and not plan.update):
            plan.update.append((value, stay))
        else:
            plan.delete.append(value)
    while rest or not (plan.update or plan.create):
        plan.create.append(rest[:limit])
        rest = rest[limit:]
    return plan


def _identity(endpoint: Object) -> object:
    """The Pod (by UID) that an endpoint is; one that somebody else wrote in has none, and goes."""
    return (endpoint.get("targetRef") or {}).get("uid")


def _group(value: Object) -> Group:
    ports = [
        Port(port.get("name") or "", port.get("protocol", "TCP"), port["port"], port.get("appProtocol") or "")
        for port in value.get("ports") or ()
    ]
    return Group(value["addressType"], tuple(sorted(ports)))


def _slice(service: Object, group: Group, found: list[Object], slice_labels: dict[str, str]) -> Object:
    return {
        "apiVersion": ENDPOINT_SLICES.api_version,
        "kind": ENDPOINT_SLICES.kind,
        "metadata": {
            "generateName": f"{name_of(service)}-",
            "namespace": namespace_of(service),
            "labels": slice_labels,
            "ownerReferences": [owner_reference(SERVICES, service)],
        },
        "addressType": group.address_type,
        "ports": [port.entry() for port in group.ports],
        "endpoints": found,
    }


def _labels(service: Object) -> dict[str, str]:
    own = {name: value for name, value in labels_of(service).items() if name not in RESERVED}
    headless = {HEADLESS: ""} if service["spec"].get("clusterIP") == "None" else {}
    return {**own, SERVICE_NAME: name_of(service), MANAGED_BY: MANAGER, **headless}


def _service_keys(value: Object) -> Iterable[Key]:
    """The Service that a slice of ours belongs to."""
    found = labels_of(value)
    if found.get(MANAGED_BY) == MANAGER and SERVICE_NAME in found:
        yield f"{namespace_of(value)}/{found[SERVICE_NAME]}"
