"""ReplicaSets: as many Pods of one template as asked for, and a status that says how many there are.

Scaling down takes first the Pods that are missed least: unscheduled, pending, not ready, then the newest
(upstream's ActivePods order, without its pod-deletion-cost).
"""

import asyncio
import datetime
from typing import Any

from ovnk.lab.controllers import ownership, pods
from ovnk.lab.controllers.cluster import Cluster
from ovnk.lab.controllers.controller import Controller, its_controller, itself
from ovnk.lab.controllers.labels import includes, selects
from ovnk.lab.controllers.resources import (
    PODS,
    REPLICA_SETS,
    Key,
    Object,
    controller_uid,
    deleting,
    key_of,
    labels_of,
    name_of,
    namespace_of,
)

# Creations and deletions of one ReplicaSet that are under way at a time.
AT_ONCE = 32


class ReplicaSets(Controller):
    """The ReplicaSet controller."""

    name = "replicasets"

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        ownership.index(cluster, PODS)
        self.follow(REPLICA_SETS, itself)
        self.follow(PODS, its_controller("ReplicaSet"))
        self.follow(PODS, self._could_adopt)

    async def reconcile(self, key: Key) -> float | None:
        """Create or delete Pods until the number fits; report it."""
        replica_set = self.cluster.cache(REPLICA_SETS).get(key)
        if replica_set is None:
            return None
        owned = await ownership.claim(self.cluster, PODS, REPLICA_SETS, replica_set)
        active = [pod for pod in owned if pods.active(pod)]
        if not deleting(replica_set):
            active = await self._scale(replica_set, active)
        now = datetime.datetime.now(datetime.UTC)
        status, again_s = _status(replica_set, active, now)
        held = replica_set.get("status") or {}
        if any(held.get(name, 0) != value for name, value in status.items()):
            await self.cluster.patch(REPLICA_SETS, key, {"status": status}, "status")
        return again_s

    async def _scale(self, replica_set: Object, active: list[Object]) -> list[Object]:
        wanted = replica_set["spec"].get("replicas", 1)
        gate = asyncio.Semaphore(AT_ONCE)

        async def create() -> Object:
            async with gate:
                pod = pods.from_template(replica_set["spec"]["template"], REPLICA_SETS, replica_set)
                return await self.cluster.create(PODS, pod)

        async def delete(pod: Object) -> None:
            async with gate:
                await self.cluster.delete(PODS, pod)

        if len(active) < wanted:
            created = await asyncio.gather(*(create() for _ in range(wanted - len(active))), return_exceptions=True)
            for outcome in created:
                if isinstance(outcome, BaseException):
                    await self.cluster.event(REPLICA_SETS, replica_set, "Warning", "FailedCreate", str(outcome))
                    raise outcome
                active.append(outcome)
        elif len(active) > wanted:
            active.sort(key=_worth)
            surplus, active = active[: len(active) - wanted], active[len(active) - wanted :]
            await asyncio.gather(*(delete(pod) for pod in surplus))
        return active

    def _could_adopt(self, pod: Object) -> list[Key]:
        """The ReplicaSets that would adopt a Pod that nobody controls."""
        if controller_uid(pod):
            return []
        namespace = namespace_of(pod)
        return [
            key_of(replica_set)
            for replica_set in self.cluster.cache(REPLICA_SETS).objects.values()
            if namespace_of(replica_set) == namespace and selects(replica_set["spec"].get("selector"), labels_of(pod))
        ]


def _worth(pod: Object) -> tuple[Any, ...]:
    """The least wanted Pod sorts first; of two alike the newer one, which is the one with the later time."""
    created = datetime.datetime.fromisoformat(pod["metadata"]["creationTimestamp"]).timestamp()
    return (bool(pods.node_of(pod)), pods.phase(pod) == "Running", pods.ready(pod), -created, name_of(pod))


def _status(replica_set: Object, active: list[Object], now: datetime.datetime) -> tuple[dict[str, int], float | None]:
    """The counts to report, and the seconds until the next Pod becomes available."""
    waits = [pods.available_in_s(pod, replica_set["spec"].get("minReadySeconds", 0), now) for pod in active]
    labels = pods.template_labels(replica_set["spec"]["template"])
    status = {
        "replicas": len(active),
        "fullyLabeledReplicas": sum(includes(labels, labels_of(pod)) for pod in active),
        "readyReplicas": sum(wait is not None for wait in waits),
        "availableReplicas": sum(wait == 0 for wait in waits),
        "observedGeneration": replica_set["metadata"].get("generation", 0),
    }
    return status, min((wait for wait in waits if wait), default=None)
