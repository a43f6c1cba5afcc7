"""A pod's sandbox: its network namespace, what the CNI plug-ins made of it, and the record that outlives the kubelet.

The order of calls is containerd's: after a failed ADD a DEL without prevResult 0.1 s later, the next try with a new
container id; a DEL that fails is repeated until it works.
"""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from ovnk.lab import linux
from ovnk.lab.kubelet import plugin
from ovnk.lab.kubelet.plugin import Call, PluginError
from ovnk.lab.state import start_time

log = structlog.get_logger()

NETWORKS = Path("/run/netns")
# containerd says /var/run, which leads to /run.
PREFIX = "/var"
# The file of a pod's record; `ovnk lab exec` (enter.py) reads it too.
RECORD = "sandbox.json"
DELETE_AFTER_FAILURE_S = 0.1
DELETE_AGAIN_S_FIRST = 1.0
NOT_INITIALIZED = "cni plugin not initialized"

_KUBERNETES_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
# What containerd passes on for a burst that is not given.
_NO_BURST = 4294967295


@dataclass(frozen=True, slots=True)
class Folders:
    """Where the plug-ins' configuration is, where they are looked for (colon separated), and where records are kept."""

    configuration: Path
    plugins: str
    records: Path


@dataclass(slots=True)
class Sandbox:
    """One pod's sandbox. `network` is "" for a pod in the node's own network, `result` what ADD answered.

    `processes` are the containers' process groups with their start times.
    """

    namespace: str
    pod: str
    uid: str
    container: str = ""
    network: str = ""
    result: dict[str, Any] | None = None
    capabilities: dict[str, Any] = field(default_factory=dict)
    processes: dict[str, str] = field(default_factory=dict)

    @property
    def ips(self) -> list[str]:
        """The pod's addresses, IPv4 first as containerd has them by default."""
        found = [entry["address"].partition("/")[0] for entry in (self.result or {}).get("ips", ())]
        return sorted(found, key=lambda address: ":" in address)

    def write(self, folders: Folders) -> None:
        """Keep the record: for the next kubelet, and for `ovnk lab exec`."""
        file = self._file(folders)
        file.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({name: getattr(self, name) for name in self.__slots__})
        temporary = file.with_suffix(".new")
        temporary.write_text(text)
        temporary.rename(file)

    def forget(self, folders: Folders) -> None:
        """Remove the record."""
        file = self._file(folders)
        file.unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            file.parent.rmdir()

    def _file(self, folders: Folders) -> Path:
        """A folder a pod: its name may be as long as a file's may be, and leaves no room for an ending."""
        return folders.records / self.namespace / self.pod / RECORD

    def started(self, process: int, folders: Folders) -> None:
        """Note a container's process."""
        self.processes[str(process)] = start_time(str(process)) or ""
        self.write(folders)


def recorded(folders: Folders) -> Iterator[Sandbox]:
    """The sandboxes that an earlier kubelet of this node left."""
    for file in sorted(folders.records.glob(f"*/*/{RECORD}")):
        with contextlib.suppress(ValueError, TypeError, OSError):
            yield Sandbox(**json.loads(file.read_text()))


def kill_processes(sandbox: Sandbox) -> None:
    """End what an earlier kubelet started in the sandbox."""
    for process, started in sandbox.processes.items():
        if start_time(process) == started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(int(process), signal.SIGKILL)


async def create(sandbox: Sandbox, folders: Folders) -> None:
    """One try: a new container id, a network namespace, ADD. Raises PluginError, once the DEL after it is through."""
    sandbox.container = secrets.token_hex(32)
    networks = plugin.load(folders.configuration)
    if networks is None:
        raise PluginError(NOT_INITIALIZED)
    sandbox.network = _create_network()
    sandbox.write(folders)
    try:
        sandbox.result = await plugin.add(networks, _call(sandbox), folders.plugins)
        sandbox.write(folders)
    except (PluginError, asyncio.CancelledError):
        await asyncio.sleep(DELETE_AFTER_FAILURE_S)
        await remove(sandbox, folders, again_s=0)
        raise


async def remove(sandbox: Sandbox, folders: Folders, again_s: float) -> None:
    """DEL, repeated every `again_s` until it works (0: once, whatever comes of it), then the namespace goes."""
    wait_s = DELETE_AGAIN_S_FIRST
    while sandbox.network:
        networks = plugin.load(folders.configuration)
        try:
            if networks is None:
                raise PluginError(NOT_INITIALIZED)
            await plugin.delete(networks, _call(sandbox), folders.plugins, sandbox.result)
            break
        except PluginError as error:
            log.warning("sandbox not given back", pod=f"{sandbox.namespace}/{sandbox.pod}", why=str(error))
            if not again_s:
                break
        await asyncio.sleep(wait_s)
        wait_s = again_s
    remove_network(sandbox.network)
    sandbox.network, sandbox.result = "", None


def capabilities(pod: dict[str, Any]) -> dict[str, Any]:
    """The runtimeConfig values that containerd makes of a pod, by the capability that asks for each."""
    mappings = [
        {
            "HostPort": port["hostPort"],
            "ContainerPort": port["containerPort"],
            "Protocol": port.get("protocol", "TCP").lower(),
            "HostIP": port.get("hostIP", ""),
        }
        for container in pod["spec"].get("containers", ())
        for port in container.get("ports") or ()
        if port.get("hostPort")
    ]
    annotations = pod["metadata"].get("annotations") or {}
    bandwidth: dict[str, int] = {}
    for direction in ("ingress", "egress"):
        if (rate := annotations.get(f"kubernetes.io/{direction}-bandwidth")) is not None:
            with contextlib.suppress(ValueError, KeyError):
                bandwidth |= {f"{direction.title()}Rate": _quantity(rate), f"{direction.title()}Burst": _NO_BURST}
    return {
        **({"portMappings": mappings} if mappings else {}),
        **({"bandwidth": {**_NO_BANDWIDTH, **bandwidth}} if bandwidth else {}),
        "dns": {"Servers": [], "Searches": [], "Options": []},
        "io.kubernetes.cri.pod-annotations": annotations,
    }


def remove_network(path: str) -> None:
    """Take a network namespace's name away, and with it the namespace once nothing runs there."""
    if path:
        with contextlib.suppress(OSError):
            linux.unmount(Path(path))
        Path(path).unlink(missing_ok=True)


_NO_BANDWIDTH = {"IngressRate": 0, "IngressBurst": 0, "EgressRate": 0, "EgressBurst": 0}


def _call(sandbox: Sandbox) -> Call:
    # A namespace that somebody removed is told as "".
    network = sandbox.network if Path(sandbox.network).exists() else ""
    return Call(
        sandbox.container,
        f"{PREFIX}{network}" if network else "",
        sandbox.namespace,
        sandbox.pod,
        sandbox.uid,
        sandbox.capabilities,
    )


def _create_network() -> str:
    """A network namespace with its loopback up, bound to /run/netns/cni-UUID; the path."""
    file = NETWORKS / f"cni-{uuid.uuid4()}"
    file.touch()
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        linux.unshare(linux.NEW_NETWORK)
        linux.mount("/proc/thread-self/ns/net", file, flags=linux.MOUNT_BIND)
        linux.bring_up("lo")
    finally:
        linux.set_namespace(own)
        os.close(own)
    return str(file)


def _quantity(text: str) -> int:
    """A Kubernetes quantity ("10M") as a number; raises ValueError or KeyError."""
    digits = text.rstrip("kMGTi")
    return int(float(digits) * _KUBERNETES_UNITS[text[len(digits) :]])
