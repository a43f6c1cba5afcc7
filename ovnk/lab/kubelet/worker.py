"""One pod on its node, from the first sight of it until it is gone: sandbox, init containers, containers, end.

    live ── sandbox (again until it works) ─ init containers, one by one ─ containers, all at once ─▶ finished
      └── deletion at any moment ──▶ end: SIGTERM, grace, SIGKILL ─ DEL ─ delete the object with grace period 0

The status is computed afresh whenever something changed and patched in by one task, so that writes never overtake
each other.
"""

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from ovnk.kube.client import ApiError, Client
from ovnk.lab.kubelet import keeper, sandbox, status
from ovnk.lab.kubelet.keeper import Keeper, Surroundings
from ovnk.lab.kubelet.plugin import PluginError
from ovnk.lab.kubelet.sandbox import Folders, Sandbox
from ovnk.lab.kubelet.status import Container, Known

log = structlog.get_logger()

Object = dict[str, Any]

STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
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
        self._keepers: list[Keeper] = []
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
        around = self._surroundings()
        initial, regular = (
            [Keeper(spec, container, around) for spec, container in zip(specs, statuses, strict=True)]
            for specs, statuses in (
                (self.pod["spec"].get("initContainers") or (), self.known.initial),
                (self.pod["spec"]["containers"], self.known.regular),
            )
        )
        self._keepers = [*initial, *regular]
        for one in initial:
            await one.keep("Never" if self._policy == "Never" else "OnFailure")
            if one.status.exit_code != 0:
                break
        else:
            self.known.initialized = True
            await asyncio.gather(*(one.keep(self._policy) for one in regular))
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

    async def _end(self) -> None:
        """End the pod's containers within its grace, and give its sandbox back."""
        grace_s = 0 if self._gone.is_set() else keeper.grace_s(self.pod)
        await asyncio.gather(*(one.end(grace_s) for one in self._keepers))
        self.known.deleted = True
        await self._remove_sandbox()

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

    def _surroundings(self) -> Surroundings:
        ips, node = list(self.known.ips), self.node
        fields = {
            "status.podIP": ips[0] if ips else "",
            "status.podIPs": ",".join(ips),
            "status.hostIP": node.ips[0],
            "status.hostIPs": ",".join(node.ips),
            "spec.nodeName": node.name,
            "spec.serviceAccountName": self.pod["spec"].get("serviceAccountName") or "default",
        }
        return Surroundings(
            self.pod,
            node.name,
            self.sandbox.network,
            fields["status.podIP"],
            fields,
            self._log_folder,
            started=lambda process: self.sandbox.started(process, node.folders),
            changed=self._dirty.set,
        )

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


def _finished(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
