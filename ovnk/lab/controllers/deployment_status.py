"""What a Deployment's status says of its ReplicaSets: the counts, and the conditions Available and Progressing.

Pure, but for the clock's reading it is given. «kubectl rollout status» and «kubectl wait» read nothing else.
"""

import datetime
from typing import Any

from ovnk.lab.controllers import conditions, rollout
from ovnk.lab.controllers.resources import Object, name_of

PROGRESS_DEADLINE_S = 600


def status(
    deployment: Object, new: Object | None, old: list[Object], now: datetime.datetime
) -> tuple[dict[str, Any], float | None]:
    """The status to report, and the seconds until the rollout would be called stuck (None: it will not be)."""
    spec = deployment["spec"]
    wanted = spec.get("replicas", 1)
    every = [*([new] if new else []), *old]
    replicas, available = _sum(every, "replicas"), _sum(every, "availableReplicas")
    counts = {
        "replicas": replicas,
        "updatedReplicas": _sum([new] if new else [], "replicas"),
        "readyReplicas": _sum(every, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, max(replicas, wanted) - available),
        "observedGeneration": deployment["metadata"].get("generation", 0),
    }
    _, unavailable = rollout.bounds((spec.get("strategy") or {}).get("rollingUpdate") or {}, wanted)
    said = [_available(deployment, available >= wanted - unavailable, now)]
    if new is None:
        # Paused before its first ReplicaSet: there is no progress to speak of.
        return {**counts, "conditions": said}, None
    progressing, again_s = _progressing(deployment, name_of(new), counts, now)
    return {**counts, "conditions": [*said, progressing]}, again_s


def _available(deployment: Object, enough: bool, now: datetime.datetime) -> Object:
    if enough:
        words = ("MinimumReplicasAvailable", "Deployment has minimum availability.")
    else:
        words = ("MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    return _renewed(deployment, "Available", enough, *words, now)


def _progressing(
    deployment: Object, new: str, counts: dict[str, int], now: datetime.datetime
) -> tuple[Object, float | None]:
    """True while the counts change at least every spec.progressDeadlineSeconds, and when all is done."""
    spec = deployment["spec"]
    wanted = spec.get("replicas", 1)
    if counts["replicas"] == counts["updatedReplicas"] == counts["availableReplicas"] == wanted:
        message = f'ReplicaSet "{new}" has successfully progressed.'
        return _renewed(deployment, "Progressing", True, "NewReplicaSetAvailable", message, now), None
    deadline_s = spec.get("progressDeadlineSeconds", PROGRESS_DEADLINE_S)
    held = conditions.found(deployment, "Progressing")
    before = deployment.get("status") or {}
    moved = any((before.get(name) or 0) != count for name, count in counts.items())
    if held is None or moved or held["reason"] == "NewReplicaSetAvailable":
        message = f'ReplicaSet "{new}" is progressing.'
        said = _renewed(deployment, "Progressing", True, "ReplicaSetUpdated", message, now)
        return {**said, "lastUpdateTime": conditions.written(now)}, deadline_s
    left_s = deadline_s - (now - datetime.datetime.fromisoformat(held["lastUpdateTime"])).total_seconds()
    if left_s > 0:
        return held, left_s
    message = f'ReplicaSet "{new}" has timed out progressing.'
    return _renewed(deployment, "Progressing", False, "ProgressDeadlineExceeded", message, now), None


def _renewed(deployment: Object, kind: str, state: bool, reason: str, message: str, now: datetime.datetime) -> Object:
    held = conditions.found(deployment, kind)
    said = conditions.renewed(held, kind, state, reason, message, now)
    return held if held is said and held else {**said, "lastUpdateTime": conditions.written(now)}


def _sum(replica_sets: list[Object], field: str) -> int:
    return sum((value.get("status") or {}).get(field) or 0 for value in replica_sets)
