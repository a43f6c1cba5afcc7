"""All of ovnk.kube against an API server that was not written for these tests, with kubectl as the witness.

The lab's own; or, where KUBEBUILDER_ASSETS names a folder with kube-apiserver and etcd, the real one.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ovnk.contract import Management, NodeNetworkSpec, PodAllocation, SubnetRange
from ovnk.kube import crds, decode
from ovnk.kube.client import ApiError, Client
from ovnk.kube.conditions import Condition, ConditionWriter
from ovnk.kube.events import EventRecorder, Subject
from ovnk.kube.lease import Lease
from ovnk.kube.objects import Change, NodeNetwork, Put, Remove, Replace
from ovnk.kube.status import NodeNetworkWriter, Write
from ovnk.kube.watch import Informer
from ovnk.lab import kubebin
from ovnk.lab.apiserver import kubeconfig
from ovnk.lab.apiserver.credentials import serving_certificate

KUBECTL = Path(sys.prefix) / "bin" / "kubectl"
SPEC = NodeNetworkSpec(
    subnets=(SubnetRange("default", "10.244.1.0/24", "10.244.1.1"),),
    management=Management(("10.244.1.2/24", "fd00:1::2/64"), "0a:58:0a:f4:01:02"),
    pods=(PodAllocation("shop", "web-0", "u1", ("10.244.1.3",), "0a:58:0a:f4:01:03"),),
)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator["Cluster"]:
    if assets := os.environ.get("KUBEBUILDER_ASSETS"):
        with kubebin.running(Path(assets), tmp_path, ["10.96.0.0/16"]) as admin:
            yield Cluster(admin)
        return
    pem = serving_certificate(["127.0.0.1"])
    (tmp_path / "server.crt").write_bytes(pem.certificate)
    (tmp_path / "server.key").write_bytes(pem.key)
    command = [sys.executable, "-m", "ovnk.lab.apiserver", "--token", "t0ken"]
    command += ["--tls-cert", str(tmp_path / "server.crt"), "--tls-key", str(tmp_path / "server.key")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        file = tmp_path / "admin.kubeconfig"
        file.write_text(json.dumps(kubeconfig(url, "t0ken", pem.ca)))
        yield Cluster(file)
        process.terminate()


class Cluster:
    def __init__(self, file: Path) -> None:
        self.kubeconfig = file

    def kubectl(self, *arguments: str, stdin: object = None, fails: bool = False) -> str:
        text = None if stdin is None else json.dumps(stdin)
        command = [
            str(KUBECTL),
            "--kubeconfig",
            str(self.kubeconfig),
            "--cache-dir",
            str(self.kubeconfig.parent / "cache"),
        ]
        done = subprocess.run([*command, *arguments], input=text, capture_output=True, text=True, timeout=60)
        assert bool(done.returncode) == fails, done.stdout + done.stderr
        return done.stderr if fails else done.stdout

    async def aio(self, *arguments: str, stdin: object = None) -> str:
        """kubectl while the loop goes on."""
        return await asyncio.to_thread(lambda: self.kubectl(*arguments, stdin=stdin))

    def run(self, case: Callable[[Client], Any]) -> None:
        async def connected() -> None:
            client = await Client.connect(self.kubeconfig)
            try:
                await case(client)
            finally:
                await client.close()

        asyncio.run(asyncio.wait_for(connected(), 60))

    def apply_crds(self) -> None:
        self.kubectl("apply", "--server-side", "-f", str(crds.FOLDER))
        self.kubectl("wait", "--for=condition=Established", "crd/nodenetworks.ovnk.io")


class Table:
    """What the informer told, and a way to wait for it."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self._changed = asyncio.Event()

    def __call__(self, change: Change) -> None:
        if isinstance(change, Replace):
            self.values = dict(change.values)
        elif isinstance(change, Put):
            self.values[change.value.key] = change.value
        elif isinstance(change, Remove):
            del self.values[change.key]
        self._changed.set()

    async def until(self, condition: Callable[[dict[str, Any]], bool]) -> None:
        while not condition(self.values):
            self._changed.clear()
            await asyncio.wait_for(self._changed.wait(), 20)


@contextlib.asynccontextmanager
async def tasks(*coroutines: Any) -> Any:
    running = [asyncio.create_task(one) for one in coroutines]
    try:
        yield
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def pod(name: str, node: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"nodeName": node, "containers": [{"name": "c", "image": "none"}]},
    }


NODE = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}


def test_informer_follows_pods_of_one_node(cluster: Cluster) -> None:
    async def case(client: Client) -> None:
        table = Table()
        informer = Informer(client, decode.PODS, decode.pod, table, field_selector="spec.nodeName=n1")
        await cluster.aio("create", "-f", "-", stdin=pod("before", "n1"))
        async with tasks(informer.run()):
            await table.until(lambda values: set(values) == {"default/before"})
            await cluster.aio("create", "-f", "-", stdin=pod("elsewhere", "n2"))
            await cluster.aio("create", "-f", "-", stdin=pod("after", "n1"))
            await table.until(lambda values: "default/after" in values)
            await cluster.aio("label", "pod", "after", "app=web")
            await table.until(lambda values: values["default/after"].labels == (("app", "web"),))
            status = {"status": {"phase": "Running", "podIPs": [{"ip": "10.244.1.3"}], "podIP": "10.244.1.3"}}
            await cluster.aio("patch", "pod", "after", "--subresource=status", "-p", json.dumps(status))
            await table.until(lambda values: values["default/after"].ips == ("10.244.1.3",))
            await cluster.aio("delete", "pod", "after", "--force", "--grace-period=0")
            await table.until(lambda values: set(values) == {"default/before"})

    cluster.run(case)


def test_node_networks_are_taken_up_when_their_definition_arrives_and_written_fenced(cluster: Cluster) -> None:
    async def case(client: Client) -> None:
        table = Table()
        written: asyncio.Queue[tuple[Write, str]] = asyncio.Queue()
        conflicts: asyncio.Queue[NodeNetwork | None] = asyncio.Queue()
        informer = Informer(client, decode.NODE_NETWORKS, decode.node_network, table)
        writer = NodeNetworkWriter(
            client,
            written=lambda write, version: written.put_nowait((write, version)),
            conflict=lambda _, current: conflicts.put_nowait(current),
        )
        async with tasks(informer.run(), writer.run()):
            uid = json.loads(await cluster.aio("create", "-f", "-", "-o", "json", stdin=NODE))["metadata"]["uid"]
            writer.submit(Write("n1", SPEC, "", uid))
            await asyncio.to_thread(cluster.apply_crds)
            _, version = await written.get()
            await table.until(lambda values: "n1" in values)
            assert informer.synced
            assert table.values["n1"].spec == SPEC
            assert table.values["n1"].resource_version == version

            shown = (await cluster.aio("get", "nnet")).split()
            assert shown[:3] == ["NAME", "SUBNET", "MANAGEMENT"]
            assert "10.244.1.0/24" in shown

            patch = json.dumps({"spec": {"mtuBytes": 9000}})
            await cluster.aio("patch", "nnet", "n1", "--type=merge", "-p", patch)
            writer.submit(Write("n1", NodeNetworkSpec(), version, uid))
            current = await conflicts.get()
            assert current is not None
            assert current.spec.mtu_bytes == 9000
            writer.submit(Write("n1", NodeNetworkSpec(), current.resource_version, uid))
            _, version = await written.get()
            await table.until(lambda values: values["n1"].spec == NodeNetworkSpec())
            writer.submit(Write("n1", None, version))
            await written.get()
            await table.until(lambda values: not values)

    cluster.run(case)


def test_node_network_that_does_not_fit_is_refused_by_the_server_too(cluster: Cluster) -> None:
    cluster.apply_crds()
    bad: dict[str, Any] = {"apiVersion": "ovnk.io/v1", "kind": "NodeNetwork", "metadata": {"name": "n1"}}
    assert "spec" in cluster.kubectl("create", "-f", "-", stdin=bad, fails=True)
    allocation = {"namespace": "shop", "name": "a", "uid": "u", "ips": [], "mac": "x"}
    said = cluster.kubectl("create", "-f", "-", stdin=bad | {"spec": {"pods": [allocation]}}, fails=True)
    assert "spec.pods[0].ips" in said
    assert "spec.pods[0].mac" in said
    fine = allocation | {"ips": ["10.0.0.1"], "mac": "0a:58:0a:f4:01:03"}
    shown = cluster.kubectl("create", "-f", "-", "-o", "json", stdin=bad | {"spec": {"pods": [fine], "mtuBytes": None}})
    assert json.loads(shown)["spec"]["pods"][0]["subnet"] == "default", "the default is written by the server"


def test_events_are_shown_by_describe_with_their_count(cluster: Cluster) -> None:
    async def case(client: Client) -> None:
        found = decode.pod((await cluster.aio("create", "-f", "-", "-o", "json", stdin=pod("web", "n1"))).encode())
        node = decode.node((await cluster.aio("create", "-f", "-", "-o", "json", stdin=NODE)).encode())
        recorder = EventRecorder(client, "ovnk-controller", "host-1")
        async with tasks(recorder.run()):
            for _ in range(3):
                recorder.record(Subject.of(found), "NoAddress", "subnet default is full")
            recorder.record(Subject.of(node), "Invalid", "spec.podCIDRs is malformed")
            for kind, name, message in (("pod", "web", "subnet default"), ("node", "n1", "spec.podCIDRs")):
                while message not in (shown := await cluster.aio("describe", kind, name)):  # noqa: ASYNC110  kubectl only shows
                    await asyncio.sleep(0.1)
                assert "ovnk-controller" in shown
                assert "Warning" in shown
        listed = json.loads(await cluster.aio("get", "events", "-o", "json"))["items"]
        assert {
            event["reason"]: event["count"] for event in listed if event["source"]["component"] == "ovnk-controller"
        } == {"NoAddress": 3, "Invalid": 1}

    cluster.run(case)


def test_conditions_of_a_node_are_merged(cluster: Cluster) -> None:
    async def case(client: Client) -> None:
        await cluster.aio("create", "-f", "-", stdin=NODE)
        ready = {"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]}}
        await cluster.aio("patch", "node", "n1", "--subresource=status", "-p", json.dumps(ready))
        writer = ConditionWriter(client)
        ours = (Condition("NetworkUnavailable", "False", "OvnkReady", "the node has its network"),)
        writer.submit("/api/v1/nodes/n1", ours)
        async with tasks(writer.run()):
            await cluster.aio("wait", "--for=condition=NetworkUnavailable=false", "node/n1", "--timeout=20s")
        found = json.loads(await client.request("GET", "/api/v1/nodes/n1"))["status"]["conditions"]
        assert [condition["type"] for condition in found] == ["Ready", "NetworkUnavailable"]

    cluster.run(case)


def test_lease_passes_on_at_once_when_its_holder_stops(cluster: Cluster) -> None:
    async def case(client: Client) -> None:
        first: asyncio.Queue[bool] = asyncio.Queue()
        second: asyncio.Queue[bool] = asyncio.Queue()
        one = asyncio.create_task(Lease(client, "kube-system", "ovnk-controller", "one").run(first.put_nowait))
        assert await first.get() is True
        async with tasks(Lease(client, "kube-system", "ovnk-controller", "two").run(second.put_nowait)):
            one.cancel()
            assert await first.get() is False
            assert await asyncio.wait_for(second.get(), 5) is True
            shown = await cluster.aio("get", "lease", "-n", "kube-system", "ovnk-controller", "-o", "json")
            assert json.loads(shown)["spec"]["holderIdentity"] == "two"

    cluster.run(case)


def test_wrong_token_is_said(cluster: Cluster) -> None:
    document = yaml.safe_load(cluster.kubeconfig.read_text())
    document["users"][0]["user"] = {"token": "wrong"}
    cluster.kubeconfig.write_text(json.dumps(document))

    async def case(client: Client) -> None:
        with pytest.raises(ApiError, match="401 Unauthorized") as caught:
            await client.request("GET", "/api/v1/nodes")
        assert caught.value.status == 401

    cluster.run(case)
