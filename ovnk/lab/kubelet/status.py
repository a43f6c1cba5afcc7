"""What the API is told of a pod: its status, from what the kubelet knows. Pure.

Reasons and messages are kubelet's own where people or controllers look at them.
"""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]

IMAGE_ID = "ovnk.io/lab"


@dataclass(slots=True)
class Container:
    """How one container is. `state` and `last` are core/v1 ContainerState objects."""

    name: str
    image: str
    state: Object = field(default_factory=lambda: {"waiting": {"reason": "ContainerCreating"}})
    last: Object = field(default_factory=dict)
    restarts: int = 0
    ready: bool = False
    started: bool = False
    identity: str = ""

    @property
    def exit_code(self) -> int | None:
        """The exit code of a container that has ended."""
        code: int | None = self.state.get("terminated", {}).get("exitCode")
        return code

    def wait(self, reason: str, message: str = "") -> None:
        """It is not running, for this reason."""
        self.state = {"waiting": {"reason": reason, **({"message": message} if message else {})}}
        self.ready = self.started = False

    def run(self, identity: str) -> None:
        """It runs now."""
        self.identity = identity
        self.state = {"running": {"startedAt": timestamp()}}

    def end(self, code: int, reason: str = "", message: str = "") -> None:
        """It has ended."""
        started = self.state.get("running", {}).get("startedAt", timestamp())
        self.state = {
            "terminated": {
                "exitCode": code,
                "reason": reason or ("Completed" if code == 0 else "Error"),
                "startedAt": started,
                "finishedAt": timestamp(),
                "containerID": self.identity,
                **({"message": message} if message else {}),
            }
        }
        self.ready = self.started = False


@dataclass(slots=True)
class Known:
    """What the kubelet knows of a pod. `phase` is set by hand only where containers do not decide it."""

    initial: list[Container]
    regular: list[Container]
    host_ips: Sequence[str]
    ips: Sequence[str] = ()
    sandbox: bool = False
    initialized: bool = False
    deleted: bool = False
    started: str = ""


def phase(known: Known, policy: str) -> str:
    """The pod's phase (core/v1 PodStatus)."""
    codes = [container.exit_code for container in known.regular]
    failed_start = [c for c in known.initial if c.exit_code not in (None, 0) and "waiting" not in c.state]
    if failed_start and (policy == "Never" or known.deleted):
        return "Failed"
    if not known.initialized:
        return "Failed" if known.deleted and not known.sandbox else "Pending"
    if all(code is not None for code in codes) and (policy != "Always" or known.deleted):
        if all(code == 0 for code in codes):
            return "Succeeded"
        if policy == "Never" or known.deleted:
            return "Failed"
    if all("waiting" in container.state and not container.last for container in known.regular):
        return "Pending"
    return "Running"


def status(pod: Object, known: Known) -> Object:
    """The pod's status as it is to be patched in; conditions carry no transition time yet (see `timed`)."""
    policy = pod["spec"].get("restartPolicy", "Always")
    now = phase(known, policy)
    finished = now in ("Succeeded", "Failed")
    ready = [container.name for container in known.regular if not container.ready]
    all_ready = not ready and known.initialized and not finished
    unready: Object = {}
    if not all_ready:
        unready = {"reason": "ContainersNotReady", "message": f"containers with unready status: [{' '.join(ready)}]"}
        if finished:
            unready = {"reason": "PodCompleted" if now == "Succeeded" else "PodFailed"}
    initialized: Object = {}
    if not known.initialized:
        waiting = [container.name for container in known.initial if container.exit_code != 0]
        names = " ".join(waiting)
        initialized = {
            "reason": "ContainersNotInitialized",
            "message": f"containers with incomplete status: [{names}]",
        }
    gates = {gate["conditionType"] for gate in pod["spec"].get("readinessGates") or ()}
    others = {c["type"]: c["status"] for c in pod.get("status", {}).get("conditions") or ()}
    missing = sorted(gate for gate in gates if others.get(gate) != "True")
    gated = {"reason": "ReadinessGatesNotReady", "message": f"readiness gates not ready: {missing}"} if missing else {}
    conditions = [
        _condition("PodReadyToStartContainers", known.sandbox and not finished),
        _condition("Initialized", known.initialized, **initialized),
        _condition("Ready", all_ready and not missing, **(unready or gated)),
        _condition("ContainersReady", all_ready, **unready),
        _condition("PodScheduled", True),
    ]
    return {
        "phase": now,
        "conditions": conditions,
        "hostIP": known.host_ips[0],
        "hostIPs": [{"ip": address} for address in known.host_ips],
        **({"podIP": known.ips[0], "podIPs": [{"ip": address} for address in known.ips]} if known.ips else {}),
        "startTime": known.started,
        "qosClass": pod.get("status", {}).get("qosClass") or "BestEffort",
        **({"initContainerStatuses": [_container(c) for c in known.initial]} if known.initial else {}),
        "containerStatuses": [_container(container) for container in known.regular],
    }


def timed(new: Object, old: Object | None) -> Object:
    """`new` with each condition's lastTransitionTime: the old one where the condition's status is the same."""
    before = {condition["type"]: condition for condition in (old or {}).get("conditions", ())}
    for condition in new["conditions"]:
        earlier = before.get(condition["type"])
        same = earlier is not None and earlier["status"] == condition["status"]
        condition["lastTransitionTime"] = earlier["lastTransitionTime"] if earlier and same else timestamp()
    return new


def timestamp(micro: bool = False) -> str:
    """Now, as the API has it: meta/v1 Time, or MicroTime."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ" if micro else "%Y-%m-%dT%H:%M:%SZ")


def _condition(kind: str, true: bool, **why: str) -> Object:
    # What is not there any more is to be removed by the patch, hence None.
    return {
        "type": kind,
        "status": "True" if true else "False",
        "reason": why.get("reason"),
        "message": why.get("message"),
    }


def _container(container: Container) -> Object:
    return {
        "name": container.name,
        "image": container.image,
        "imageID": IMAGE_ID,
        "state": container.state,
        "lastState": container.last,
        "restartCount": container.restarts,
        "ready": container.ready,
        "started": container.started,
        **({"containerID": container.identity} if container.identity else {}),
    }
