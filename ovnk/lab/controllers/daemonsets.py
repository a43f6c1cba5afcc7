"""DaemonSets: one Pod on every node that its template may run on, bound by the scheduler through a node affinity.

Rolling updates delete up to maxUnavailable Pods of former revisions at a time; maxSurge is not supported (taken as 0).
"""

import datetime
from typing import Any

from ovnk.lab.controllers import ownership, placement, pods, revisions, rollout
from ovnk.lab.controllers.cluster import Cluster
from ovnk.lab.controllers.controller import Controller, its_controller, itself
from ovnk.lab.controllers.resources import (
    DAEMON_SETS,
    NODES,
    PODS,
    Key,
    Object,
    deleting,
    key_of,
    labels_of,
    name_of,
)

# What daemon Pods bear in addition (pkg/controller/daemon/util AddOrUpdateDaemonPodTolerations).
TOLERATED = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)
# … and those on the node's own network also before it has one.
HOST_NETWORK_TOLERATED = (("node.kubernetes.io/network-unavailable", "NoSchedule"),)


class DaemonSets(Controller):
    """The DaemonSet controller."""

    name = "daemonsets"

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        ownership.index(cluster, PODS)
        revisions.index(cluster)
        self.follow(DAEMON_SETS, itself)
        self.follow(PODS, its_controller("DaemonSet"))
        cluster.cache(NODES).subscribe(self._node_changed)

    async def reconcile(self, key: Key) -> float | None:
        """Make the missing Pods, delete those too many or of a former revision, report."""
        daemon_set = self.cluster.cache(DAEMON_SETS).get(key)
        if daemon_set is None or deleting(daemon_set):
            return None
        owned = await ownership.claim(self.cluster, PODS, DAEMON_SETS, daemon_set)
        revision, history = await revisions.record(self.cluster, DAEMON_SETS, daemon_set)
        mark = revisions.mark_of(revision)
        probe = {"spec": _spec(daemon_set["spec"]["template"]["spec"])}
        nodes = [node for node in self.cluster.cache(NODES).objects.values() if not deleting(node)]
        eligible = {name_of(node) for node in nodes if not placement.node_refuses(probe, node)}

        by_node: dict[str, list[Object]] = {}
        for pod in owned:
            by_node.setdefault(_target(pod), []).append(pod)
        for node in sorted(eligible | by_node.keys()):
            await self._one(daemon_set, node, node in eligible, by_node.setdefault(node, []), mark)

        placed = {node: found[0] for node, found in by_node.items() if node in eligible and found}
        now = datetime.datetime.now(datetime.UTC)
        min_ready_s = daemon_set["spec"].get("minReadySeconds", 0)
        waits = {node: pods.available_in_s(pod, min_ready_s, now) for node, pod in placed.items()}
        available = {node for node, wait in waits.items() if wait == 0 and not deleting(placed[node])}
        await self._update(daemon_set, placed, available, len(eligible), mark)
        status = {
            "desiredNumberScheduled": len(eligible),
            "currentNumberScheduled": len(placed),
            "numberMisscheduled": sum(bool(found) for node, found in by_node.items() if node not in eligible),
            "numberReady": sum(wait is not None for wait in waits.values()),
            "numberAvailable": len(available),
            "numberUnavailable": len(eligible) - len(available),
            "updatedNumberScheduled": sum(_is_of(pod, mark) for pod in placed.values()),
            "observedGeneration": daemon_set["metadata"].get("generation", 0),
        }
        held = daemon_set.get("status") or {}
        if any(held.get(name, 0) != value for name, value in status.items()):
            await self.cluster.patch(DAEMON_SETS, key, {"status": status}, "status")
        await revisions.forget(self.cluster, daemon_set, history, {name_of(revision)})
        return min((wait for wait in waits.values() if wait), default=None)

    async def _one(self, daemon_set: Object, node: str, eligible: bool, found: list[Object], mark: str) -> None:
        """Bring the node to one Pod that has not ended, or to none; `found` becomes what is left."""
        found.sort(key=lambda pod: (deleting(pod), pods.finished(pod), pod["metadata"]["creationTimestamp"]))
        surplus = [pod for i, pod in enumerate(found) if not eligible or i or pods.finished(pod)]
        for pod in surplus:
            if not deleting(pod):
                await self.cluster.delete(PODS, pod)
        if eligible and not found:
            template = daemon_set["spec"]["template"]
            labels = {pods.CONTROLLER_REVISION_HASH: mark}
            pod = pods.from_template(template, DAEMON_SETS, daemon_set, labels=labels)
            pod["spec"] = _bound(_spec(template["spec"]), node)
            found.append(await self.cluster.create(PODS, pod))

    async def _update(
        self, daemon_set: Object, placed: dict[str, Object], available: set[str], wanted: int, mark: str
    ) -> None:
        strategy = daemon_set["spec"].get("updateStrategy") or {}
        if strategy.get("type", "RollingUpdate") != "RollingUpdate":
            return
        limit = rollout.count((strategy.get("rollingUpdate") or {}).get("maxUnavailable", 1), wanted)
        room = max(1, limit) - (wanted - len(available))
        old = [node for node, pod in sorted(placed.items()) if not _is_of(pod, mark) and not deleting(pod)]
        for node in [node for node in old if node not in available]:
            await self.cluster.delete(PODS, placed[node])
        for node in [node for node in old if node in available][: max(0, room)]:
            await self.cluster.delete(PODS, placed[node])

    def _node_changed(self, before: Object | None, after: Object | None) -> None:
        if before is None or after is None or _nature(before) != _nature(after):
            for daemon_set in self.cluster.cache(DAEMON_SETS).objects.values():
                self.queue.add(key_of(daemon_set))


def _spec(spec: Object) -> Object:
    """The template's Pod spec with the tolerations of daemons."""
    tolerated = TOLERATED + (HOST_NETWORK_TOLERATED if spec.get("hostNetwork") else ())
    own = list(spec.get("tolerations") or ())
    added = [{"key": key, "operator": "Exists", "effect": effect} for key, effect in tolerated]
    return {**spec, "tolerations": own + [toleration for toleration in added if toleration not in own]}


def _bound(spec: Object, node: str) -> Object:
    """The Pod spec with a required affinity to that node in each of its terms; the scheduler does the binding."""
    affinity = spec.get("affinity") or {}
    node_affinity = affinity.get("nodeAffinity") or {}
    required = node_affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    field = {"key": "metadata.name", "operator": "In", "values": [node]}
    # As upstream: the terms' own matchFields are replaced.
    own_terms: list[Object] = required.get("nodeSelectorTerms") or [{}]
    terms = [{**term, "matchFields": [field]} for term in own_terms]
    required = {"nodeSelectorTerms": terms}
    node_affinity = {**node_affinity, "requiredDuringSchedulingIgnoredDuringExecution": required}
    return {**spec, "affinity": {**affinity, "nodeAffinity": node_affinity}}


def _target(pod: Object) -> str:
    """The node that the Pod runs on or is meant for; "" for a foreign one that names none."""
    if pods.node_of(pod):
        return pods.node_of(pod)
    affinity: dict[str, Any] = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or ():
        for field in term.get("matchFields") or ():
            return str(field["values"][0])
    return ""


def _is_of(pod: Object, mark: str) -> bool:
    return labels_of(pod).get(pods.CONTROLLER_REVISION_HASH) == mark


def _nature(node: Object) -> object:
    return labels_of(node), placement.taints_of(node), deleting(node)
