"""One pod on its node, from the first sight of it until it is gone: sandbox, init containers, containers, end.

    live ── sandbox (again until it works) ─ init containers, one by one ─ containers, all at once ─▶ finished
      └── deletion at any moment ──▶ end: SIGTERM, grace, SIGKILL ─ DEL ─ delete the object with grace period 0

The status is computed afresh whenever something changed and patched in by one task, so that writes never overtake
each other.
"""

import asyncio
import contextlib
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from ovnk.kube.client import ApiError, Client
from ovnk.lab.kubelet import containers, probes, sandbox, status
from ovnk.lab.kubelet.builtin import Identity
from ovnk.lab.kubelet.containers import Running
from ovnk.lab.kubelet.plugin import PluginError
from ovnk.lab.kubelet.sandbox import Folders, Sandbox
from ovnk.lab.kubelet.status import Container, Known

log = structlog.get_logger()

Object = dict[str, Any]

STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
GRACE_S = 30
# kubelet's: the first restart is at once, then 10 s, doubled up to 5 minutes, forgotten after 10 minutes of running.
BACK_OFF_S_FIRST = 10.0
BACK_OFF_S_MAX = 300.0
BACK_OFF_FORGOTTEN_S = 600.0
STATUS_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Node:
    """What every pod of a node shares. `ips` are the node's addresses, `retry_s` is between tries of a sandbox."""

    name: str
    ips: tuple[str, ...]
    client: Client
    folders: Folders
    logs: Path
    retry_s: float


class Worker:
    """Runs one pod; `run` ends when the pod is gone. `changed` and `gone` tell it what the API says."""

    def __init__(self, node: Node, pod: Object) -> None:
        self.node, self.pod = node, pod
        metadata, spec = pod["metadata"], pod["spec"]
        self.namespace, self.name, self.uid = metadata["namespace"], metadata["name"], metadata["uid"]
        self.host_network = bool(spec.get("hostNetwork"))
        self.sandbox = Sandbox(self.namespace, self.name, self.uid, capabilities=sandbox.capabilities(pod))
        initial, regular = (
            [Container(container["name"], container.get("image", "")) for container in spec.get(kind) or ()]
            for kind in ("initContainers", "containers")
        )
        self.known = Known(initial, regular, host_ips=node.ips, started=status.timestamp())
        for container in self.known.regular if self.known.initial else ():
            container.wait("PodInitializing")
        self._running: dict[str, Running] = {}
        self._deleted, self._gone, self._dirty = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._told: Object | None = None
        # Finished before this kubelet came: nothing is run again, and its status is not ours to compute.
        self._past = _finished(pod)

    def changed(self, pod: Object) -> None:
        """The pod as the API has it now."""
        self.pod = pod
        if pod["metadata"].get("deletionTimestamp"):
            self._deleted.set()
        self._dirty.set()

    def gone(self) -> None:
        """The object is gone, without grace."""
        self._gone.set()
        self._deleted.set()

    async def run(self) -> None:
        """The pod's life."""
        telling = asyncio.create_task(self._keep_telling())
        living = asyncio.create_task(self._live())
        deletion = asyncio.create_task(self._deleted.wait())
        try:
            await asyncio.wait({living, deletion}, return_when=asyncio.FIRST_COMPLETED)
            if living.done():
                living.result()
            await deletion
            living.cancel()
            await asyncio.gather(living, return_exceptions=True)
            await self._end()
        finally:
            for task in (telling, living, deletion):
                task.cancel()
            await asyncio.gather(telling, living, deletion, return_exceptions=True)
            self.sandbox.forget(self.node.folders)
        await self._tell()
        await self._delete_object()
        for file in self._log_folder.glob("*.log"):
            file.unlink()

    async def _live(self) -> None:
        """The pod until all its containers are through; never ends where they are restarted always."""
        if self._past:
            return
        self._dirty.set()
        await self._create_sandbox()
        self.known.sandbox = True
        self._dirty.set()
        for spec, container in zip(self.pod["spec"].get("initContainers") or (), self.known.initial, strict=True):
            policy = "Never" if self._policy == "Never" else "OnFailure"
            await self._keep(spec, container, policy)
            if container.exit_code != 0:
                break
        else:
            self.known.initialized = True
            specs = self.pod["spec"]["containers"]
            tasks = [self._keep(s, c, self._policy) for s, c in zip(specs, self.known.regular, strict=True)]
            await asyncio.gather(*tasks)
        # As kubelet does, the network of a pod that is through is given back before the pod is deleted.
        await self._remove_sandbox()
        self._dirty.set()

    async def _create_sandbox(self) -> None:
        folders = self.node.folders
        if self.host_network:
            self.known.ips = self.node.ips
            self.sandbox.write(folders)
            return
        while True:
            try:
                await sandbox.create(self.sandbox, folders)
                self.known.ips = self.sandbox.ips
                return
            except (PluginError, OSError) as error:
                identity = self.sandbox.container
                why = f'failed to setup network for sandbox "{identity}": {error}'
                message = f"Failed to create pod sandbox: rpc error: code = Unknown desc = {why}"
                log.warning("no sandbox", pod=f"{self.namespace}/{self.name}", why=why)
                await self._event("FailedCreatePodSandBox", message)
            await asyncio.sleep(self.node.retry_s)

    async def _remove_sandbox(self) -> None:
        if not self.host_network:
            await sandbox.remove(self.sandbox, self.node.folders, again_s=self.node.retry_s)
        self.known.sandbox = False
        self.sandbox.forget(self.node.folders)

    async def _keep(self, spec: Object, container: Container, policy: str) -> None:
        """Run a container, again as the policy says; ends when it is not to be run again."""
        back_off_s = 0.0
        while True:
            begun = time.monotonic()
            await self._run(spec, container)
            self._dirty.set()
            if policy == "Never" or (policy == "OnFailure" and container.exit_code == 0):
                return
            if time.monotonic() - begun > BACK_OFF_FORGOTTEN_S:
                back_off_s = 0.0
            container.last = container.state
            if back_off_s:
                message = f"back-off {back_off_s:.0f}s restarting failed container={container.name}"
                container.wait("CrashLoopBackOff", message)
                self._dirty.set()
                await asyncio.sleep(back_off_s)
            container.restarts += 1
            back_off_s = min(back_off_s * 2, BACK_OFF_S_MAX) or BACK_OFF_S_FIRST

    async def _run(self, spec: Object, container: Container) -> None:
        """Run a container once, to its end."""
        network = self.sandbox.network
        known = self._fields()
        variables = containers.variables(spec, self.pod, known)
        variables = {"HOSTNAME": self.name, **variables}
        command = [containers.expanded(text, variables) for text in spec.get("command") or ()]
        identity = f"lab://{self.uid}/{container.name}/{container.restarts}"
        try:
            running: Running
            if command:
                command += [containers.expanded(text, variables) for text in spec.get("args") or ()]
                log_file = self._log_folder / f"{container.name}.log"
                folder = spec.get("workingDir") or ""
                running = containers.start_process(command, network, self.name, variables, folder, log_file)
                self.sandbox.started(running.process, self.node.folders)
            else:
                who = Identity(self.namespace, self.name, self.node.name, container.name)
                running = await containers.start_builtin(who, containers.ports(spec), network)
        except OSError as error:
            container.end(128, "StartError", f"cannot be started: {error}")
            return
        self._running[container.name] = running
        container.run(identity)
        watching = asyncio.create_task(self._probe(spec, container, running, variables))
        self._dirty.set()
        try:
            code = await running.wait()
        finally:
            watching.cancel()
        del self._running[container.name]
        container.end(code)

    async def _probe(self, spec: Object, container: Container, running: Running, variables: Mapping[str, str]) -> None:
        """The startup probe first, then readiness and liveness; without a probe a container is at once what it asks."""

        def execute(command: list[str]) -> Awaitable[int]:
            return containers.run_to_end(command, self.sandbox.network, self.name, variables)

        named = {port["name"]: port["containerPort"] for port in spec.get("ports") or () if "name" in port}
        target = probes.Target(self.known.ips[0] if self.known.ips else "", named, execute)
        ready_by_probe = "readinessProbe" in spec

        def set_started(good: bool) -> None:
            if good:
                container.started = True
                container.ready = not ready_by_probe
                self._dirty.set()
            else:
                self._kill(container, running, "startup")

        def set_ready(good: bool) -> None:
            container.ready = good
            self._dirty.set()

        def set_alive(good: bool) -> None:
            if not good:
                self._kill(container, running, "liveness")

        if "startupProbe" in spec:
            await self._watch_until(spec["startupProbe"], target, set_started, lambda: container.started)
        else:
            set_started(True)
        async with asyncio.TaskGroup() as tasks:
            if ready_by_probe:
                tasks.create_task(probes.watch(spec["readinessProbe"], target, set_ready))
            if "livenessProbe" in spec:
                tasks.create_task(probes.watch(spec["livenessProbe"], target, set_alive))

    async def _watch_until(
        self, probe: Object, target: probes.Target, changed: Callable[[bool], None], done: Callable[[], bool]
    ) -> None:
        reached = asyncio.Event()

        def told(good: bool) -> None:
            changed(good)
            if done():
                reached.set()

        watching = asyncio.create_task(probes.watch(probe, target, told))
        try:
            await reached.wait()
        finally:
            watching.cancel()

    def _kill(self, container: Container, running: Running, probe: str) -> None:
        log.info(
            "container failed its probe", pod=f"{self.namespace}/{self.name}", container=container.name, probe=probe
        )
        self._stopping = asyncio.create_task(self._stop(running, self._grace_s))

    async def _stop(self, running: Running, grace_s: float) -> None:
        """SIGTERM, and SIGKILL after the grace."""
        if grace_s > 0:
            running.signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await running.wait()
                    return
        running.signal(signal.SIGKILL)
        await running.wait()

    async def _end(self) -> None:
        """End the pod's containers within its grace, and give its sandbox back."""
        grace_s = 0 if self._gone.is_set() else self._grace_s
        ending = dict(self._running)
        specs = {
            spec["name"]: spec for kind in ("initContainers", "containers") for spec in self.pod["spec"].get(kind) or ()
        }
        await asyncio.gather(*(self._end_one(specs[name], running, grace_s) for name, running in ending.items()))
        for container in (*self.known.initial, *self.known.regular):
            if container.name in ending:
                container.end(await ending[container.name].wait())
            elif container.exit_code is None:
                container.end(137, "ContainerStatusUnknown", "it was not running when the pod was deleted")
        self._running.clear()
        self.known.deleted = True
        await self._remove_sandbox()

    async def _end_one(self, spec: Object, running: Running, grace_s: float) -> None:
        hook = (spec.get("lifecycle") or {}).get("preStop") or {}
        begun = time.monotonic()
        if grace_s > 0 and hook:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    if "sleep" in hook:
                        await asyncio.sleep(hook["sleep"].get("seconds", 0))
                    elif "exec" in hook:
                        command = hook["exec"].get("command") or []
                        await containers.run_to_end(command, self.sandbox.network, self.name, {})
        # A hook that took all the grace leaves the container two seconds (kubelet's minimum).
        left_s = max(grace_s - (time.monotonic() - begun), 2.0) if grace_s > 0 else 0.0
        await self._stop(running, left_s)

    async def _delete_object(self) -> None:
        """Delete the API object for good: nothing of the pod is left on the node."""
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "gracePeriodSeconds": 0,
            "preconditions": {"uid": self.uid},
        }
        while not self._gone.is_set():
            try:
                await self.node.client.request("DELETE", self._path, body=options)
                return
            except ApiError as error:
                if not error.transient:
                    # 404: it is gone. 409: the name is another pod's now.
                    return
            await asyncio.sleep(STATUS_AGAIN_S)

    async def _keep_telling(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            if not await self._tell():
                await asyncio.sleep(STATUS_AGAIN_S)
                self._dirty.set()

    async def _tell(self) -> bool:
        """Patch the status in if it is another; whether there is nothing more to be done."""
        if self._gone.is_set() or self._past:
            return True
        new = status.timed(status.status(self.pod, self.known), self._told)
        if new == self._told:
            return True
        body = {"metadata": {"uid": self.uid}, "status": new}
        try:
            await self.node.client.request(
                "PATCH", f"{self._path}/status", body=body, content_type=STRATEGIC_MERGE_PATCH
            )
        except ApiError as error:
            return not error.transient
        self._told = new
        return True

    async def _event(self, reason: str, message: str) -> None:
        now = status.timestamp()
        reference = {"kind": "Pod", "apiVersion": "v1", "namespace": self.namespace, "name": self.name, "uid": self.uid}
        event = {
            "metadata": {"generateName": f"{self.name}.", "namespace": self.namespace},
            "involvedObject": reference,
            "type": "Warning",
            "reason": reason,
            "message": message,
            "source": {"component": "kubelet", "host": self.node.name},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        with contextlib.suppress(ApiError):
            await self.node.client.request("POST", f"/api/v1/namespaces/{self.namespace}/events", body=event)

    def _fields(self) -> dict[str, str]:
        """Fields of the downward API that only the kubelet knows."""
        ips = list(self.known.ips)
        return {
            "status.podIP": ips[0] if ips else "",
            "status.podIPs": ",".join(ips),
            "status.hostIP": self.node.ips[0],
            "status.hostIPs": ",".join(self.node.ips),
            "spec.nodeName": self.node.name,
            "spec.serviceAccountName": self.pod["spec"].get("serviceAccountName") or "default",
        }

    @property
    def _path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"

    @property
    def _log_folder(self) -> Path:
        folder: Path = self.node.logs / self.namespace / self.name
        return folder

    @property
    def _policy(self) -> str:
        policy: str = self.pod["spec"].get("restartPolicy") or "Always"
        return policy

    @property
    def _grace_s(self) -> float:
        metadata, spec = self.pod["metadata"], self.pod["spec"]
        grace = metadata.get("deletionGracePeriodSeconds")
        if grace is None:
            grace = spec.get("terminationGracePeriodSeconds")
        return float(GRACE_S if grace is None else grace)


def _finished(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
