"""Deployments: one ReplicaSet a template, and the replicas moved from the old ones to the new one.

What a step of a rollout may do is a pure function in rollout.py, what is said of it one in deployment_status.py; here
are the ReplicaSets themselves: made, found again by their template, numbered (the revisions of «kubectl rollout
history» and «undo»), and the oldest removed. A paused one is left as it is; upstream would still scale it.
"""

import datetime

from ovnk.kube.client import ApiError
from ovnk.lab.controllers import deployment_status, ownership, pods, revisions, rollout
from ovnk.lab.controllers.cluster import Cluster
from ovnk.lab.controllers.controller import Controller, its_controller, itself
from ovnk.lab.controllers.resources import (
    DEPLOYMENTS,
    PODS,
    REPLICA_SETS,
    Key,
    Object,
    annotations_of,
    deleting,
    key_of,
    name_of,
    namespace_of,
    owner_reference,
    uid_of,
)

REVISION = "deployment.kubernetes.io/revision"
# Annotations that belong to the Deployment alone.
OWN_ANNOTATIONS = (REVISION, "kubectl.kubernetes.io/last-applied-configuration")


class Deployments(Controller):
    """The Deployment controller."""

    name = "deployments"

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        ownership.index(cluster, REPLICA_SETS)
        ownership.index(cluster, PODS)
        self.follow(DEPLOYMENTS, itself)
        self.follow(REPLICA_SETS, its_controller("Deployment"))

    async def reconcile(self, key: Key) -> float | None:
        """One step of the rollout; the change that it makes brings the next one."""
        deployment = self.cluster.cache(DEPLOYMENTS).get(key)
        if deployment is None:
            return None
        owned = await ownership.claim(self.cluster, REPLICA_SETS, DEPLOYMENTS, deployment)
        new, old = _split(deployment, owned)
        if deleting(deployment):
            return await self._report(deployment, new, old)
        old.sort(key=lambda value: (value["metadata"]["creationTimestamp"], name_of(value)))
        if not deployment["spec"].get("paused"):
            new = await self._ensure_new(deployment, new, old)
            occupied = sum(self._occupied(replica_set) for replica_set in old)
            goal, old_goals = rollout.step(deployment["spec"], _size(new), [_size(value) for value in old], occupied)
            new = await self._scale(new, goal)
            old = [await self._scale(value, replicas) for value, replicas in zip(old, old_goals, strict=True)]
            await self._forget(deployment, old)
        return await self._report(deployment, new, old)

    async def _ensure_new(self, deployment: Object, new: Object | None, old: list[Object]) -> Object:
        """The ReplicaSet of the current template, with the highest revision of all."""
        revision = max((_revision(value) for value in old), default=0) + 1
        carried = {k: v for k, v in annotations_of(deployment).items() if k not in OWN_ANNOTATIONS}
        if new is None:
            new = await self._create(deployment, {**carried, REVISION: str(revision)})
        wanted = {**carried, REVISION: str(max(revision, _revision(new)))}
        if any(annotations_of(new).get(name) != value for name, value in wanted.items()):
            new = await self.cluster.patch(REPLICA_SETS, key_of(new), {"metadata": {"annotations": wanted}})
        if annotations_of(deployment).get(REVISION) != wanted[REVISION]:
            patch = {"metadata": {"annotations": {REVISION: wanted[REVISION]}}}
            await self.cluster.patch(DEPLOYMENTS, key_of(deployment), patch)
        return new

    async def _create(self, deployment: Object, annotations: dict[str, str]) -> Object:
        spec = deployment["spec"]
        collisions = (deployment.get("status") or {}).get("collisionCount", 0)
        mark = revisions.hash_of(spec["template"], collisions)
        template = dict(spec["template"])
        template["metadata"] = {
            **(template.get("metadata") or {}),
            "labels": {**pods.template_labels(template), pods.POD_TEMPLATE_HASH: mark},
        }
        selector = dict(spec["selector"])
        selector["matchLabels"] = {**(selector.get("matchLabels") or {}), pods.POD_TEMPLATE_HASH: mark}
        replica_set = {
            "apiVersion": REPLICA_SETS.api_version,
            "kind": REPLICA_SETS.kind,
            "metadata": {
                "name": f"{name_of(deployment)}-{mark}",
                "namespace": namespace_of(deployment),
                "labels": template["metadata"]["labels"],
                "annotations": annotations,
                "ownerReferences": [owner_reference(DEPLOYMENTS, deployment)],
            },
            "spec": {
                "replicas": 0,
                "selector": selector,
                "template": template,
                "minReadySeconds": spec.get("minReadySeconds", 0),
            },
        }
        try:
            return await self.cluster.create(REPLICA_SETS, replica_set)
        except ApiError as error:
            if error.reason == "AlreadyExists":
                # Another template's, or a former Deployment's of this name: a different hash the next time.
                patch = {"status": {"collisionCount": collisions + 1}}
                await self.cluster.patch(DEPLOYMENTS, key_of(deployment), patch, "status")
            raise

    async def _scale(self, replica_set: Object, replicas: int) -> Object:
        if replica_set["spec"].get("replicas", 1) == replicas:
            return replica_set
        return await self.cluster.patch(REPLICA_SETS, key_of(replica_set), {"spec": {"replicas": replicas}})

    async def _forget(self, deployment: Object, old: list[Object]) -> None:
        """Delete the oldest ReplicaSets without Pods beyond spec.revisionHistoryLimit."""
        empty = [
            value for value in old if not _size(value).replicas and not (value.get("status") or {}).get("replicas")
        ]
        empty = sorted((value for value in empty if not deleting(value)), key=_revision)
        surplus = len(empty) - deployment["spec"].get("revisionHistoryLimit", 10)
        for value in empty[: max(0, surplus)]:
            await self.cluster.delete(REPLICA_SETS, value)

    def _occupied(self, replica_set: Object) -> int:
        """The Pods of a ReplicaSet that still run, those being deleted included: what Recreate waits for."""
        owned = self.cluster.cache(PODS).by(ownership.OWNED, (namespace_of(replica_set), uid_of(replica_set)))
        return sum(not pods.finished(pod) for pod in owned)

    async def _report(self, deployment: Object, new: Object | None, old: list[Object]) -> float | None:
        now = datetime.datetime.now(datetime.UTC)
        status, again_s = deployment_status.status(deployment, new, old, now)
        held = deployment.get("status") or {}
        if any((held.get(name) or 0) != (value or 0) for name, value in status.items()):
            await self.cluster.patch(DEPLOYMENTS, key_of(deployment), {"status": status}, "status")
        return again_s


def _split(deployment: Object, owned: list[Object]) -> tuple[Object | None, list[Object]]:
    """The ReplicaSet with the Deployment's template (the oldest, should there be two), and the others."""
    template = deployment["spec"]["template"]
    same = [value for value in owned if revisions.same(value["spec"]["template"], template)]
    new = min(same, key=lambda value: (value["metadata"]["creationTimestamp"], name_of(value)), default=None)
    return new, [value for value in owned if value is not new]


def _revision(replica_set: Object) -> int:
    text = annotations_of(replica_set).get(REVISION, "")
    return int(text) if text.isdecimal() else 0


def _size(replica_set: Object) -> rollout.Size:
    available = (replica_set.get("status") or {}).get("availableReplicas", 0)
    return rollout.Size(replica_set["spec"].get("replicas", 1), available)
