"""One container of a pod: started, probed, started again as the policy says, and ended.

Of several containers and of their pod's sandbox it knows nothing: that is worker.py's business.
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

from ovnk.lab.kubelet import containers, probes
from ovnk.lab.kubelet.builtin import Identity
from ovnk.lab.kubelet.containers import Running
from ovnk.lab.kubelet.status import Container

log = structlog.get_logger()

Object = dict[str, Any]

GRACE_S = 30
# A preStop hook that took all the grace leaves the container so much (kubelet's minimum).
GRACE_S_AFTER_HOOK = 2.0
# kubelet's: the first restart is at once, then 10 s, doubled up to 5 minutes, forgotten after 10 minutes of running.
BACK_OFF_S_FIRST = 10.0
BACK_OFF_S_MAX = 300.0
BACK_OFF_FORGOTTEN_S = 600.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a pod's containers share once its sandbox is there.

    `fields` are the fields of the downward API that only the kubelet knows; `started` is told of each process,
    `changed` whenever the status is another.
    """

    pod: Object
    node: str
    network: str
    address: str
    fields: Mapping[str, str]
    logs: Path
    started: Callable[[int], None]
    changed: Callable[[], None]

    @property
    def namespace(self) -> str:
        """The pod's namespace."""
        return str(self.pod["metadata"]["namespace"])

    @property
    def name(self) -> str:
        """The pod's name."""
        return str(self.pod["metadata"]["name"])

    @property
    def host_name(self) -> str:
        """The name as Linux can have it: 63 characters, the last of them a letter or digit (kubelet does the same)."""
        return self.name[:63].rstrip("-.")


class Keeper:
    """Keeps one container; `status` is how it is."""

    def __init__(self, spec: Object, status: Container, around: Surroundings) -> None:
        self.status = status
        self._spec, self._around = spec, around
        self._running: Running | None = None
        # Kept, for the event loop alone would let it be collected.
        self._killing: asyncio.Task[None] | None = None
        self._variables = {"HOSTNAME": around.host_name, **containers.variables(spec, around.pod, around.fields)}

    async def keep(self, policy: str) -> None:
        """Run the container, again as the restart policy says; ends when it is not to be run again."""
        status = self.status
        back_off_s = 0.0
        while True:
            begun = time.monotonic()
            await self._run()
            self._around.changed()
            if policy == "Never" or (policy == "OnFailure" and status.exit_code == 0):
                return
            if time.monotonic() - begun > BACK_OFF_FORGOTTEN_S:
                back_off_s = 0.0
            status.last = status.state
            if back_off_s:
                status.wait("CrashLoopBackOff", f"back-off {back_off_s:.0f}s restarting failed container={status.name}")
                self._around.changed()
                await asyncio.sleep(back_off_s)
            status.restarts += 1
            back_off_s = min(back_off_s * 2, BACK_OFF_S_MAX) or BACK_OFF_S_FIRST

    async def end(self, grace_s: float) -> None:
        """End the container if it runs: its preStop hook and SIGTERM within the grace, then SIGKILL."""
        running = self._running
        if running is None:
            if self.status.exit_code is None:
                self.status.end(137, "ContainerStatusUnknown", "it was not running when the pod was deleted")
            return
        begun = time.monotonic()
        if grace_s > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await self._before_stop()
            grace_s = max(grace_s - (time.monotonic() - begun), GRACE_S_AFTER_HOOK)
        await _stop(running, grace_s)
        self.status.end(await running.wait())
        self._running = None

    async def _run(self) -> None:
        """Run the container once, to its end."""
        status = self.status
        try:
            running = await self._start()
        except OSError as error:
            status.end(128, "StartError", f"cannot be started: {error}")
            return
        self._running = running
        status.run(f"lab://{self._around.pod['metadata']['uid']}/{status.name}/{status.restarts}")
        watching = asyncio.create_task(self._probe(running))
        self._around.changed()
        try:
            code = await running.wait()
        finally:
            watching.cancel()
        self._running = None
        status.end(code)

    async def _start(self) -> Running:
        """Start its command, or the built-in server where it has none; raises OSError."""
        spec, around = self._spec, self._around
        if not spec.get("command"):
            who = Identity(around.namespace, around.name, around.node, self.status.name)
            return await containers.start_builtin(who, containers.ports(spec), around.network)
        words = [*spec["command"], *(spec.get("args") or ())]
        process = containers.start_process(
            [containers.expanded(word, self._variables) for word in words],
            around.network,
            around.host_name,
            self._variables,
            spec.get("workingDir") or "",
            around.logs / f"{self.status.name}.log",
        )
        around.started(process.process)
        return process

    async def _probe(self, running: Running) -> None:
        """The startup probe first, then readiness and liveness; without a probe a container is at once what it asks."""
        spec, status = self._spec, self.status
        named = {port["name"]: port["containerPort"] for port in spec.get("ports") or () if "name" in port}
        target = probes.Target(self._around.address, named, self._execute)

        def set_ready(good: bool) -> None:
            status.ready = good
            self._around.changed()

        def killer(probe: str) -> Callable[[bool], None]:
            return lambda good: None if good else self._kill(running, probe)

        if "startupProbe" in spec:
            await probes.first_success(spec["startupProbe"], target, failed=lambda: self._kill(running, "startup"))
        status.started = True
        set_ready("readinessProbe" not in spec)
        async with asyncio.TaskGroup() as tasks:
            if "readinessProbe" in spec:
                tasks.create_task(probes.watch(spec["readinessProbe"], target, set_ready))
            if "livenessProbe" in spec:
                tasks.create_task(probes.watch(spec["livenessProbe"], target, killer("liveness")))

    def _kill(self, running: Running, probe: str) -> None:
        pod = f"{self._around.namespace}/{self._around.name}"
        log.info("container failed its probe", pod=pod, container=self.status.name, probe=probe)
        self._killing = asyncio.create_task(_stop(running, grace_s(self._around.pod)))

    async def _before_stop(self) -> None:
        hook = (self._spec.get("lifecycle") or {}).get("preStop") or {}
        if "sleep" in hook:
            await asyncio.sleep(hook["sleep"].get("seconds", 0))
        elif "exec" in hook:
            await self._execute(hook["exec"].get("command") or [])

    def _execute(self, command: list[str]) -> Awaitable[int]:
        return containers.run_to_end(command, self._around.network, self._around.host_name, self._variables)


def grace_s(pod: Object) -> float:
    """How long the pod's containers have between SIGTERM and SIGKILL: what its deletion asks for, else its spec."""
    grace = pod["metadata"].get("deletionGracePeriodSeconds")
    if grace is None:
        grace = pod["spec"].get("terminationGracePeriodSeconds")
    return float(GRACE_S if grace is None else grace)


async def _stop(running: Running, grace_s: float) -> None:
    """SIGTERM, and SIGKILL after the grace."""
    if grace_s > 0:
        running.signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await running.wait()
                return
    running.signal(signal.SIGKILL)
    await running.wait()
