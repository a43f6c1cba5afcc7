"""StatefulSets: Pods with names that stay, made and removed in order, and updated from the last to the first.

OrderedReady does one thing at a time and waits until each Pod is available; Parallel does all at once. A Pod lost is
made again under its name, of the revision it had if a partition keeps it there. volumeClaimTemplates are ignored: the
lab has no storage.
"""

import datetime
from typing import Any

from ovnk.lab.controllers import ownership, pods, revisions
from ovnk.lab.controllers.cluster import Cluster
from ovnk.lab.controllers.controller import Controller, its_controller, itself
from ovnk.lab.controllers.resources import (
    PODS,
    STATEFUL_SETS,
    Key,
    Object,
    deleting,
    labels_of,
    name_of,
)

POD_NAME = "statefulset.kubernetes.io/pod-name"
POD_INDEX = "apps.kubernetes.io/pod-index"


class StatefulSets(Controller):
    """The StatefulSet controller."""

    name = "statefulsets"

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        ownership.index(cluster, PODS)
        revisions.index(cluster)
        self.follow(STATEFUL_SETS, itself)
        self.follow(PODS, its_controller("StatefulSet"))

    async def reconcile(self, key: Key) -> float | None:
        """The next thing in order; the change that it makes brings the one after."""
        stateful_set = self.cluster.cache(STATEFUL_SETS).get(key)
        if stateful_set is None:
            return None
        claimed = await ownership.claim(self.cluster, PODS, STATEFUL_SETS, stateful_set)
        held = {name_of(pod): pod for pod in claimed}
        if deleting(stateful_set):
            return None
        updated, history = await revisions.record(self.cluster, STATEFUL_SETS, stateful_set)
        former = (stateful_set.get("status") or {}).get("currentRevision") or name_of(updated)
        current = next((revision for revision in history if name_of(revision) == former), updated)
        step = _Step(self.cluster, stateful_set, held, current, updated)
        await step.take()
        status = step.status()
        if any((stateful_set.get("status") or {}).get(name, 0) != value for name, value in status.items()):
            await self.cluster.patch(STATEFUL_SETS, key, {"status": status}, "status")
        used = {name_of(current), name_of(updated)}
        await revisions.forget(self.cluster, stateful_set, history, used)
        return step.again_s


class _Step:
    """One look at a StatefulSet and its Pods (`held`, by name)."""

    def __init__(
        self, cluster: Cluster, stateful_set: Object, held: dict[str, Object], current: Object, updated: Object
    ) -> None:
        self.cluster, self.stateful_set, self.held = cluster, stateful_set, held
        self.current, self.updated = current, updated
        self.again_s: float | None = None
        spec = stateful_set["spec"]
        self.replicas: int = spec.get("replicas", 1)
        self.start: int = (spec.get("ordinals") or {}).get("start", 0)
        self.ordinals = range(self.start, self.start + self.replicas)
        self.parallel: bool = spec.get("podManagementPolicy") == "Parallel"
        self.now = datetime.datetime.now(datetime.UTC)

    async def take(self) -> None:
        """Make what is missing, remove what is too much, replace what is of a former revision: in that order."""
        for ordinal in self.ordinals:
            pod = self.held.get(self._name(ordinal))
            if pod is None:
                await self._create(ordinal)
                settled = False
            elif pods.finished(pod) and not deleting(pod):
                # A Pod of a StatefulSet never ends well: it is made again.
                await self.cluster.delete(PODS, pod)
                settled = False
            else:
                settled = not deleting(pod) and self._available(pod)
            if not settled and not self.parallel:
                return
        for pod in sorted(self._condemned(), key=_ordinal, reverse=True):
            if not deleting(pod):
                await self.cluster.delete(PODS, pod)
            if not self.parallel:
                return
        await self._update()

    async def _update(self) -> None:
        strategy = self.stateful_set["spec"].get("updateStrategy") or {}
        if strategy.get("type", "RollingUpdate") != "RollingUpdate":
            return
        partition = (strategy.get("rollingUpdate") or {}).get("partition", 0)
        for ordinal in reversed([ordinal for ordinal in self.ordinals if ordinal >= partition]):
            pod = self.held.get(self._name(ordinal))
            if pod is None or deleting(pod):
                return
            if labels_of(pod).get(pods.CONTROLLER_REVISION_HASH) != name_of(self.updated):
                await self.cluster.delete(PODS, pod)
                return
            if not self._available(pod):
                return

    async def _create(self, ordinal: int) -> None:
        name = self._name(ordinal)
        revision = self._revision_for(ordinal)
        labels = {
            POD_NAME: name,
            POD_INDEX: str(ordinal),
            pods.CONTROLLER_REVISION_HASH: name_of(revision),
        }
        pod = pods.from_template(revisions.template_of(revision), STATEFUL_SETS, self.stateful_set, name, labels)
        pod["spec"] |= {"hostname": name, "subdomain": self.stateful_set["spec"].get("serviceName") or ""}
        self.held[name] = await self.cluster.create(PODS, pod)

    def _revision_for(self, ordinal: int) -> Object:
        """The updated revision, but the former one below the partition of a rolling update."""
        strategy = self.stateful_set["spec"].get("updateStrategy") or {}
        partition = (strategy.get("rollingUpdate") or {}).get("partition", 0)
        return self.current if ordinal < partition else self.updated

    def status(self) -> dict[str, Any]:
        """The status to report."""
        alive = [pod for pod in self.held.values() if not deleting(pod)]
        ready = sum(pods.ready(pod) for pod in alive)
        updated = sum(self._is_of(pod, self.updated) for pod in alive)
        current = self.current
        if updated == ready == self.replicas == len(self.held):
            current = self.updated
        return {
            "replicas": len(alive),
            "readyReplicas": ready,
            "availableReplicas": sum(self._available(pod) for pod in alive),
            "currentReplicas": sum(self._is_of(pod, current) for pod in alive),
            "updatedReplicas": updated,
            "currentRevision": name_of(current),
            "updateRevision": name_of(self.updated),
            "observedGeneration": self.stateful_set["metadata"].get("generation", 0),
        }

    def _is_of(self, pod: Object, revision: Object) -> bool:
        return labels_of(pod).get(pods.CONTROLLER_REVISION_HASH) == name_of(revision)

    def _available(self, pod: Object) -> bool:
        wait_s = pods.available_in_s(pod, self.stateful_set["spec"].get("minReadySeconds", 0), self.now)
        if wait_s:
            self.again_s = min(wait_s, self.again_s or wait_s)
        return wait_s == 0

    def _condemned(self) -> list[Object]:
        wanted = {self._name(ordinal) for ordinal in self.ordinals}
        return [pod for name, pod in self.held.items() if name not in wanted]

    def _name(self, ordinal: int) -> str:
        return f"{name_of(self.stateful_set)}-{ordinal}"


def _ordinal(pod: Object) -> int:
    last = name_of(pod).rpartition("-")[2]
    return int(last) if last.isdecimal() else -1
