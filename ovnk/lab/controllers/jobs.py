"""Jobs: Pods until enough of them succeed, or too many fail.

Completions, parallelism, backoffLimit and activeDeadlineSeconds; failed Pods are made again with upstream's growing
delay. Not here: Indexed completion (its Pods run without an index), ttlSecondsAfterFinished, suspend, CronJobs.
"""

import datetime
from typing import Any

from ovnk.lab.controllers import conditions, ownership, pods
from ovnk.lab.controllers.cluster import Cluster
from ovnk.lab.controllers.controller import Controller, its_controller, itself
from ovnk.lab.controllers.resources import JOBS, PODS, Key, Object, deleting, name_of, namespace_of, uid_of

JOB_NAME, CONTROLLER_UID = "batch.kubernetes.io/job-name", "batch.kubernetes.io/controller-uid"
BACK_OFF_S, BACK_OFF_S_MAX = 10, 360


class Jobs(Controller):
    """The Job controller."""

    name = "jobs"

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        ownership.index(cluster, PODS)
        self.follow(JOBS, itself)
        self.follow(PODS, its_controller("Job"))

    async def reconcile(self, key: Key) -> float | None:
        """Make the Pods that are still to run; say when the Job has ended."""
        job = self.cluster.cache(JOBS).get(key)
        if job is None or deleting(job) or ended(job):
            return None
        spec = job["spec"]
        owned = self.cluster.cache(PODS).by(ownership.OWNED, (namespace_of(job), uid_of(job)))
        running = [pod for pod in owned if pods.active(pod)]
        succeeded = sum(pods.phase(pod) == "Succeeded" for pod in owned)
        failures = [pod for pod in owned if pods.phase(pod) == "Failed"]
        now = datetime.datetime.now(datetime.UTC)
        started = (job.get("status") or {}).get("startTime") or conditions.written(now)
        elapsed_s = (now - datetime.datetime.fromisoformat(started)).total_seconds()
        left_s = spec["activeDeadlineSeconds"] - elapsed_s if "activeDeadlineSeconds" in spec else None

        verdict: tuple[str, str, str] | None = None
        if len(failures) > spec.get("backoffLimit", 6):
            verdict = ("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
        elif left_s is not None and left_s <= 0:
            verdict = ("Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
        elif succeeded >= spec.get("completions", 1) and ("completions" in spec or not running):
            verdict = ("Complete", "CompletionsReached", "Reached expected number of succeeded pods")

        again_s = left_s
        if verdict:
            for pod in running:
                await self.cluster.delete(PODS, pod)
            running = []
        else:
            wait_s = _back_off_s(failures, now)
            # Without completions the first success ends the Job's making of Pods (a work queue's workers).
            left = spec["completions"] - succeeded if "completions" in spec else (0 if succeeded else 1 << 31)
            missing = min(spec.get("parallelism", 1), left) - len(running)
            if missing > 0 and wait_s > 0:
                again_s = min(wait_s, left_s if left_s is not None else wait_s)
            else:
                running += [await self._create(job) for _ in range(missing)]
        status = _status(job, running, succeeded, len(failures), started, verdict, now)
        held = job.get("status") or {}
        if any(held.get(name, 0) != value for name, value in status.items()):
            await self.cluster.patch(JOBS, key, {"status": status}, "status")
        return again_s

    async def _create(self, job: Object) -> Object:
        labels = {JOB_NAME: name_of(job), CONTROLLER_UID: uid_of(job), "job-name": name_of(job)}
        return await self.cluster.create(PODS, pods.from_template(job["spec"]["template"], JOBS, job, labels=labels))


def ended(job: Object) -> bool:
    """Whether the Job is Complete or Failed: it stays so."""
    return conditions.true(job, "Complete") or conditions.true(job, "Failed")


def _back_off_s(failures: list[Object], now: datetime.datetime) -> float:
    """Seconds until the next Pod may be made: 10, 20, 40 … after the last failure."""
    if not failures:
        return 0.0
    last = max(datetime.datetime.fromisoformat(_ended_at(pod)) for pod in failures)
    delay_s: float = min(BACK_OFF_S_MAX, BACK_OFF_S << min(len(failures) - 1, 10))
    return delay_s - (now - last).total_seconds()


def _ended_at(pod: Object) -> str:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    times: list[str] = [
        ended["finishedAt"]
        for status in statuses
        if (ended := (status.get("state") or {}).get("terminated") or {}).get("finishedAt")
    ]
    return max(times, default=str(pod["metadata"]["creationTimestamp"]))


def _status(
    job: Object,
    running: list[Object],
    succeeded: int,
    failed: int,
    started: str,
    verdict: tuple[str, str, str] | None,
    now: datetime.datetime,
) -> dict[str, Any]:
    status: dict[str, Any] = {
        "active": len(running),
        "ready": sum(pods.ready(pod) for pod in running),
        "succeeded": succeeded,
        "failed": failed,
        "startTime": started,
    }
    if verdict:
        kind, reason, message = verdict
        # A Job's verdict is announced before it is final (KEP-3998); a kube-apiserver insists on both.
        first = "SuccessCriteriaMet" if kind == "Complete" else "FailureTarget"
        held = (conditions.found(job, entry) for entry in (first, kind))
        renewed = zip(held, (first, kind), strict=True)
        status["conditions"] = [conditions.renewed(old, entry, True, reason, message, now) for old, entry in renewed]
        if kind == "Complete":
            status["completionTime"] = conditions.written(now)
    return status
