"""The scheduler: binds each Pod that has no node to one that placement.py finds, through pods/binding.

A Pod that no node will have gets the condition PodScheduled=False and an Event with the reasons, and is looked at
again when a node or a bound Pod changes. What has been decided but is not yet in the cache counts as bound.
"""

import datetime
from collections.abc import Iterable

from ovnk.kube.client import ApiError
from ovnk.lab.controllers import conditions, placement, pods
from ovnk.lab.controllers.cluster import Cluster
from ovnk.lab.controllers.controller import Controller
from ovnk.lab.controllers.resources import (
    NAMESPACES,
    NODES,
    PODS,
    Key,
    Object,
    deleting,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
)

BY_NODE = "node"
GUARDED = "guarded"
NAME = "default-scheduler"


class Scheduler(Controller):
    """The scheduler for Pods with the default schedulerName."""

    name = "scheduler"
    workers = 16

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self._pods, self._nodes, self._namespaces = (cluster.cache(kind) for kind in (PODS, NODES, NAMESPACES))
        self._pods.index(BY_NODE, _bound_to)
        self._pods.index(GUARDED, lambda pod: (True,) if _bound_to(pod) and placement.guards(pod) else ())
        # UID → the Pod as decided, until the cache shows it bound or gone.
        self._assumed: dict[str, Object] = {}
        self._unplaced: set[Key] = set()
        self._pods.subscribe(self._pod_changed)
        self._nodes.subscribe(self._node_changed)

    async def reconcile(self, key: Key) -> float | None:
        """Bind the Pod if it is still to be bound."""
        pod = self._pods.get(key)
        if pod is None or not _pending(pod) or uid_of(pod) in self._assumed:
            return None
        node, why = placement.place(pod, self._state())
        if not node:
            await self._refuse(pod, why)
            return None
        self._assumed[uid_of(pod)] = {**pod, "spec": {**pod["spec"], "nodeName": node}}
        try:
            await self._bind(pod, node)
        except ApiError:
            self._assumed.pop(uid_of(pod), None)
            raise
        return None

    async def _bind(self, pod: Object, node: str) -> None:
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name_of(pod), "namespace": namespace_of(pod), "uid": uid_of(pod)},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        await self.cluster.request("POST", PODS.path_of(key_of(pod), "binding"), binding)
        self._unplaced.discard(key_of(pod))

    async def _refuse(self, pod: Object, why: str) -> None:
        key = key_of(pod)
        self._unplaced.add(key)
        held = conditions.found(pod, "PodScheduled")
        now = datetime.datetime.now(datetime.UTC)
        said = conditions.renewed(held, "PodScheduled", False, "Unschedulable", why, now)
        if said is held:
            return
        others = [
            entry for entry in (pod.get("status") or {}).get("conditions") or () if entry["type"] != "PodScheduled"
        ]
        await self.cluster.patch(PODS, key, {"status": {"conditions": [*others, said]}}, "status")
        await self.cluster.event(PODS, pod, "Warning", "FailedScheduling", why)

    def _state(self) -> placement.Nodes:
        bound = {name: self._pods.by(BY_NODE, name) for name in self._nodes.objects}
        for pod in self._assumed.values():
            bound.setdefault(pods.node_of(pod), []).append(pod)
        return placement.Nodes(
            {name: node for name, node in self._nodes.objects.items() if not deleting(node)},
            bound,
            [*self._pods.by(GUARDED, True), *filter(placement.guards, self._assumed.values())],
            {name: labels_of(namespace) for name, namespace in self._namespaces.objects.items()},
        )

    def _pod_changed(self, before: Object | None, after: Object | None) -> None:
        if before is not None and (after is None or not _pending(after)):
            self._assumed.pop(uid_of(before), None)
        if after is None and before is not None:
            self._unplaced.discard(key_of(before))
        if after is not None and _pending(after):
            self.queue.add(key_of(after))
        elif _room_changed(before, after):
            self._look_again()

    def _node_changed(self, before: Object | None, after: Object | None) -> None:
        # A heartbeat in the status makes no room.
        if before is None or after is None or _nature(before) != _nature(after):
            self._look_again()

    def _look_again(self) -> None:
        for key in self._unplaced:
            self.queue.add(key)


def _pending(pod: Object) -> bool:
    named = pod["spec"].get("schedulerName") or NAME
    return not pods.node_of(pod) and pods.active(pod) and named == NAME and not pod["spec"].get("schedulingGates")


def _bound_to(pod: Object) -> Iterable[str]:
    return (pods.node_of(pod),) if pods.node_of(pod) and not pods.finished(pod) else ()


def _room_changed(before: Object | None, after: Object | None) -> bool:
    """Whether a bound Pod came, went, ended, began to go or changed its labels."""

    def weight(pod: Object | None) -> object:
        return pod and (*_bound_to(pod), deleting(pod), labels_of(pod))

    return weight(before) != weight(after)


def _nature(node: Object) -> object:
    spec = node.get("spec") or {}
    return labels_of(node), spec.get("taints"), spec.get("unschedulable"), deleting(node)
