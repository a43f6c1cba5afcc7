"""A kubelet that pretends, an embedded API server to pretend to, and kubectl.

A Pod bound to a node becomes Running and Ready at once, unless its annotations say otherwise:
    test/ready: "false"     it runs but is never ready
    test/exit: "0" or "1"   it ends: Succeeded or Failed
    test/lingers: "true"    deleted, it goes on until the annotation is taken away
"""

import asyncio
import contextlib
import datetime
import itertools
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ovnk.kube.client import ApiError, Client
from ovnk.lab import linux
from ovnk.lab.apiserver import credentials
from ovnk.lab.controllers import conditions, pods
from ovnk.lab.controllers.cluster import Cluster
from ovnk.lab.controllers.controller import Controller, itself
from ovnk.lab.controllers.resources import (
    ENDPOINT_SLICES,
    EVENTS,
    NODES,
    PODS,
    REPLICA_SETS,
    Key,
    Object,
    Resource,
    annotations_of,
    deleting,
    name_of,
    uid_of,
)

LEASES = Resource("coordination.k8s.io/v1", "Lease", "leases")
NODE_LEASES = "kube-node-lease"
WAIT = "60s"


class Changes:
    """Counts the changes in the cluster, for tests that wait for one."""

    def __init__(self) -> None:
        self.count = 0
        self._moved = threading.Condition()

    def noticed(self, before: Object | None, after: Object | None) -> None:
        with self._moved:
            self.count += 1
            self._moved.notify_all()

    def wait(self, seen: int, timeout_s: float) -> None:
        """Return when there were more changes than `seen`, or after `timeout_s`."""
        with self._moved:
            self._moved.wait_for(lambda: self.count > seen, timeout_s)


class PretendingKubelet(Controller):
    """The kubelets of all nodes in one."""

    name = "kubelet"
    workers = 8

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self._addresses = itertools.count(10)
        self._given: dict[str, list[str]] = {}
        self.follow(PODS, itself)

    async def reconcile(self, key: Key) -> float | None:
        pod = self.cluster.cache(PODS).get(key)
        if pod is None or not pods.node_of(pod):
            return None
        wishes = annotations_of(pod)
        if deleting(pod):
            if wishes.get("test/lingers") != "true":
                options = {"gracePeriodSeconds": 0, "preconditions": {"uid": uid_of(pod)}}
                with contextlib.suppress(ApiError):
                    await self.cluster.request("DELETE", PODS.path_of(key), options)
            return None
        status = self._status(pod, wishes)
        held = pod.get("status") or {}
        same = held.get("phase") == status["phase"] and pods.ready(pod) == pods.ready({"status": status})
        if not same and not pods.finished(pod):
            await self.cluster.patch(PODS, key, {"status": status}, "status")
        return None

    def _status(self, pod: Object, wishes: dict[str, str]) -> Object:
        number = next(self._addresses)
        both = [f"10.1.{number // 250}.{number % 250}", f"fd01::{number:x}"]
        ips = self._given.setdefault(uid_of(pod), both)
        ended = {"0": "Succeeded", "1": "Failed"}.get(wishes.get("test/exit", ""))
        ready = not ended and wishes.get("test/ready") != "false"
        now = datetime.datetime.now(datetime.UTC)
        condition = conditions.renewed(conditions.found(pod, "Ready"), "Ready", ready, "", "", now)
        return {
            "phase": ended or "Running",
            "podIP": ips[0],
            "podIPs": [{"ip": address} for address in ips],
            "conditions": [{k: v for k, v in condition.items() if v}],
        }


async def pretend(client: Client, nodes: list[str], changes: Changes, started: Callable[[], None]) -> None:
    """Be the kubelets of these nodes until cancelled; `started` is called when the nodes are there."""
    cluster = Cluster(client)
    for resource in (PODS, REPLICA_SETS, ENDPOINT_SLICES, EVENTS):
        cluster.cache(resource).subscribe(changes.noticed)
    kubelet = PretendingKubelet(cluster)
    for i, name in enumerate(nodes):
        labels = {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": f"zone-{i % 2}"}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}
        await cluster.create(NODES, node)
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": ""}
        room = {"cpu": "8", "memory": "16Gi", "pods": "250"}
        status = {"conditions": [ready], "capacity": room, "allocatable": room}
        await cluster.patch(NODES, name, {"status": status}, "status")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(cluster.run())
        await cluster.synced()
        tasks.create_task(kubelet.run())
        tasks.create_task(_heartbeat(cluster, nodes))
        started()


async def _heartbeat(cluster: Cluster, nodes: list[str]) -> None:
    """Renew the nodes' leases: a real controller manager taints a node that is silent for 40 s."""
    while True:
        for name in nodes:
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
            spec = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": now}
            lease = {
                "apiVersion": LEASES.api_version,
                "kind": LEASES.kind,
                "metadata": {"name": name, "namespace": NODE_LEASES},
                "spec": spec,
            }
            try:
                await cluster.patch(LEASES, f"{NODE_LEASES}/{name}", {"spec": spec})
            except ApiError:
                await cluster.create(LEASES, lease)
        await asyncio.sleep(10)


class Kubectl:
    """kubectl for one namespace."""

    def __init__(self, kubeconfig: Path, namespace: str, changes: Changes) -> None:
        self.namespace, self._changes = namespace, changes
        binary = Path(sys.executable).parent / "kubectl"
        self._argv = [str(binary), "--kubeconfig", str(kubeconfig), "--namespace", namespace]

    def run(self, *arguments: str, text: str = "") -> str:
        """What kubectl prints; AssertionError with what it said when it fails."""
        done = subprocess.run([*self._argv, *arguments], input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}{done.stdout}"
        return done.stdout

    def apply(self, *objects: Object) -> None:
        listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.run("apply", "-f", "-", text=json.dumps(listed))

    def get(self, *arguments: str) -> Any:
        return json.loads(self.run("get", *arguments, "-o", "json"))

    def items(self, *arguments: str) -> list[Object]:
        found: list[Object] = self.get(*arguments)["items"]
        return sorted(found, key=name_of)

    def until(self, check: Callable[[], Any], what: str) -> Any:
        """The first true answer of `check`, asked again each time something in the cluster has changed."""
        deadline = time.monotonic() + 60
        while True:
            seen = self._changes.count
            if found := check():
                return found
            left_s = deadline - time.monotonic()
            assert left_s > 0, f"{what} did not come within 60 s"
            self._changes.wait(seen, left_s)

    def wait(self, what: str, condition: str) -> None:
        self.run("wait", what, f"--for={condition}", f"--timeout={WAIT}")

    def rollout(self, what: str) -> None:
        self.run("rollout", "status", what, f"--timeout={WAIT}")


@contextlib.contextmanager
def apiserver(folder: Path) -> Iterator[Path]:
    """The embedded API server in a process of its own; its kubeconfig."""
    # Over plain HTTP kubectl sends no token.
    certificate = credentials.serving_certificate(["127.0.0.1"])
    (folder / "tls.crt").write_bytes(certificate.certificate)
    (folder / "tls.key").write_bytes(certificate.key)
    argv = [sys.executable, "-m", "ovnk.lab.apiserver", "--token", "secret"]
    argv += ["--tls-cert", str(folder / "tls.crt"), "--tls-key", str(folder / "tls.key")]
    argv += ["--service-cidr", "10.96.0.0/16,fd00:96::/112"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, preexec_fn=linux.die_with_parent) as process:
        try:
            assert process.stdout is not None
            kubeconfig = folder / "kubeconfig"
            url = process.stdout.readline().strip()
            kubeconfig.write_text(json.dumps(credentials.kubeconfig(url, "secret", certificate.ca)))
            yield kubeconfig
        finally:
            process.terminate()


def template(app: str, annotations: dict[str, str] | None = None, **spec: Any) -> Object:
    """A Pod template with the label app."""
    container = {"name": "main", "image": "none", "ports": [{"name": "http", "containerPort": 8080}]}
    return {
        "metadata": {"labels": {"app": app}, "annotations": annotations or {}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0, **spec},
    }


def workload(kind: str, name: str, pod: Object, **spec: Any) -> Object:
    """An apps/v1 object whose selector is its template's label app."""
    selector = {"matchLabels": pod["metadata"]["labels"]}
    body = {"selector": selector, "template": pod, **spec}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": body}


def bare_pod(name: str, app: str = "", annotations: dict[str, str] | None = None, **spec: Any) -> Object:
    """A Pod without a controller."""
    made = template(app or name, annotations, **spec)
    return {"apiVersion": "v1", "kind": "Pod", **made, "metadata": {**made["metadata"], "name": name}}
