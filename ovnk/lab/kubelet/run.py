"""The node: registers itself, says that it is alive, and gives each of its pods a worker.

Ready as kubelet has it: only while a CNI conflist is in the node's configuration folder. The folder is watched for the
events that containerd 1.6 reloads upon; a file renamed in from another folder is none of them.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from ovnk.kube.client import ApiError, Client
from ovnk.lab import linux
from ovnk.lab.kubelet import plugin, sandbox, status, worker
from ovnk.lab.kubelet.sandbox import Folders
from ovnk.lab.kubelet.worker import STRATEGIC_MERGE_PATCH, Worker

log = structlog.get_logger()

Object = dict[str, Any]

LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
# kubelet's: the lease is renewed four times in the time it lasts, the status told every 5 minutes unless it changes.
LEASE_S = 40
HEARTBEAT_S = 10.0
STATUS_S = 300.0
AGAIN_S = 0.5
PODS_MAX = 250


@dataclass(frozen=True, slots=True)
class Settings:
    """A kubelet's settings. `retry_s` is what a failed sandbox or DEL waits for its next try (the real one: 12 s)."""

    node: str
    ips: tuple[str, ...]
    kubeconfig: Path
    folders: Folders
    logs: Path
    pod_cidrs: tuple[str, ...] = ()
    retry_s: float = 12.0


def run(settings: Settings) -> None:
    """Be a node until SIGTERM; its processes and sandboxes stay, for the next kubelet to clear up."""
    if sys.version_info < (3, 12):
        # The default one of 3.11 starts a thread for each child.
        asyncio.set_child_watcher(asyncio.PidfdChildWatcher())
    asyncio.run(_run(settings))


async def _run(settings: Settings) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    client = await Client.connect(settings.kubeconfig)
    kubelet = Kubelet(settings, client)
    running = asyncio.create_task(kubelet.run())
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()


class Kubelet:
    """A node and its pods."""

    def __init__(self, settings: Settings, client: Client) -> None:
        self.settings, self.client = settings, client
        self.node = worker.Node(settings.node, settings.ips, client, settings.folders, settings.logs, settings.retry_s)
        # By UID: a name may be another pod's before the first is through.
        self._workers: dict[str, Worker] = {}
        self._ending: dict[str, asyncio.Task[None]] = {}
        self._conditions_changed = asyncio.Event()

    async def run(self) -> None:
        """Be the node until cancelled."""
        settings = self.settings
        settings.folders.configuration.mkdir(parents=True, exist_ok=True)
        watched = linux.watch_folder(
            settings.folders.configuration, linux.FILE_MODIFIED | linux.FILE_MOVED_FROM | linux.FILE_DELETED
        )
        asyncio.get_running_loop().add_reader(watched, self._folder_changed, watched)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tell_node())
            tasks.create_task(self._renew_lease())
            await self._clear_up()
            tasks.create_task(self._follow_pods())

    async def _clear_up(self) -> None:
        """Give back what an earlier kubelet of this node left: its containers, its sandboxes."""
        left = list(sandbox.recorded(self.settings.folders))
        for found in left:
            sandbox.kill_processes(found)
        removals = (sandbox.remove(found, self.settings.folders, self.settings.retry_s) for found in left)
        await asyncio.gather(*removals)
        for found in left:
            found.forget(self.settings.folders)

    def _folder_changed(self, watched: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(watched, 65536)
        self._conditions_changed.set()

    async def _tell_node(self) -> None:
        """Register the node, then tell its status when it changes and from time to time."""
        told: Object | None = None
        while True:
            self._conditions_changed.clear()
            new = self._status(told)
            try:
                await self._register() if told is None else None
                path = f"/api/v1/nodes/{self.settings.node}/status"
                # Addresses are merged by type, so that of two InternalIPs one would be lost: kubelet's patch says the
                # same (component-helpers, node/util PatchNodeStatus).
                body = {"status": new | {"addresses": [*new["addresses"], {"$patch": "replace"}]}}
                await self.client.request("PATCH", path, body=body, content_type=STRATEGIC_MERGE_PATCH)
            except ApiError as error:
                log.warning("node not told", why=str(error))
                told = None
                await asyncio.sleep(AGAIN_S)
                continue
            told = new
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STATUS_S):
                    await self._conditions_changed.wait()

    async def _register(self) -> None:
        name = self.settings.node
        labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
        cidrs = self.settings.pod_cidrs
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": labels},
            "spec": {"podCIDR": cidrs[0], "podCIDRs": list(cidrs)} if cidrs else {},
        }
        try:
            await self.client.request("POST", "/api/v1/nodes", body=node)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise

    def _status(self, told: Object | None) -> Object:
        networks = plugin.load(self.settings.folders.configuration)
        why = "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady "
        why += f"message:Network plugin returns error: {sandbox.NOT_INITIALIZED}"
        ready = {"reason": "KubeletReady", "message": "kubelet is posting ready status"}
        unready = {"reason": "KubeletNotReady", "message": why}
        now = status.timestamp()
        conditions = [
            {"type": kind, "status": "False", "reason": f"KubeletHas{reason}", "message": "", "lastHeartbeatTime": now}
            for kind, reason in (
                ("MemoryPressure", "SufficientMemory"),
                ("DiskPressure", "NoDiskPressure"),
                ("PIDPressure", "SufficientPID"),
            )
        ]
        is_ready = {"type": "Ready", "status": "True" if networks else "False", "lastHeartbeatTime": now}
        conditions.append(is_ready | (ready if networks else unready))
        resources = {"cpu": str(os.cpu_count()), "memory": f"{_memory_kib()}Ki", "pods": str(PODS_MAX)}
        addresses = [{"type": "InternalIP", "address": address} for address in self.settings.ips]
        new = {
            "addresses": [*addresses, {"type": "Hostname", "address": self.settings.node}],
            "capacity": resources,
            "allocatable": resources,
            "conditions": conditions,
            "nodeInfo": {
                "machineID": self.settings.node,
                "systemUUID": self.settings.node,
                "bootID": self.settings.node,
                "kernelVersion": os.uname().release,
                "osImage": "ovnk lab",
                "containerRuntimeVersion": "ovnk-lab://0",
                "kubeletVersion": "v1.36.0-ovnk-lab",
                "kubeProxyVersion": "",
                "operatingSystem": "linux",
                "architecture": "amd64",
            },
        }
        return status.timed(new, told)

    async def _renew_lease(self) -> None:
        name = self.settings.node
        while True:
            spec = {"holderIdentity": name, "leaseDurationSeconds": LEASE_S, "renewTime": status.timestamp(micro=True)}
            lease = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": name, "namespace": "kube-node-lease"},
                "spec": spec,
            }
            try:
                try:
                    body = {"spec": spec}
                    await self.client.request(
                        "PATCH", f"{LEASES}/{name}", body=body, content_type="application/merge-patch+json"
                    )
                except ApiError as error:
                    if error.status != 404:
                        raise
                    await self.client.request("POST", LEASES, body=lease)
            except ApiError as error:
                log.warning("lease not renewed", why=str(error))
                await asyncio.sleep(AGAIN_S)
            else:
                await asyncio.sleep(HEARTBEAT_S)

    async def _follow_pods(self) -> None:
        """List the node's pods and watch them; list again whenever the watch can't go on."""
        query = {"fieldSelector": f"spec.nodeName={self.settings.node}"}
        version = ""
        while True:
            try:
                if not version:
                    page = json.loads(await self.client.request("GET", "/api/v1/pods", query=query))
                    version = page["metadata"]["resourceVersion"]
                    there = {pod["metadata"]["uid"] for pod in page.get("items") or ()}
                    for uid in set(self._workers) - there:
                        self._workers[uid].gone()
                    for pod in page.get("items") or ():
                        self._changed(pod)
                following = {"watch": "1", "resourceVersion": version, "allowWatchBookmarks": "true"}
                async for line in self.client.stream("GET", "/api/v1/pods", query=query | following):
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        version = ""
                        break
                    version = event["object"]["metadata"]["resourceVersion"]
                    self._event(event["type"], event["object"])
            except ApiError as error:
                log.warning("pods not watched", why=str(error))
                if error.status == 410:
                    version = ""
            await asyncio.sleep(AGAIN_S)

    def _event(self, kind: str, pod: Object) -> None:
        if kind in ("ADDED", "MODIFIED"):
            self._changed(pod)
        elif kind == "DELETED" and pod["metadata"]["uid"] in self._workers:
            self._workers[pod["metadata"]["uid"]].gone()

    def _changed(self, pod: Object) -> None:
        uid, key = pod["metadata"]["uid"], f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        known = self._workers.get(uid)
        if known is None:
            known = self._workers[uid] = Worker(self.node, pod)
            self._ending[key] = asyncio.create_task(self._work(uid, known, self._ending.get(key)))
        known.changed(pod)

    async def _work(self, uid: str, one: Worker, before: asyncio.Task[None] | None) -> None:
        """One pod's life, after that of an earlier pod of the same name."""
        if before is not None:
            await before
        try:
            await one.run()
        except Exception:
            # A bug of ours costs this pod, not the node.
            log.exception("pod lost", pod=f"{one.namespace}/{one.name}")
        finally:
            del self._workers[uid]
            key = f"{one.namespace}/{one.name}"
            if self._ending.get(key) is asyncio.current_task():
                del self._ending[key]


def _memory_kib() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024
