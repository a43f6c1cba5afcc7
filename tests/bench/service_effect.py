"""A Service's first endpoint: from its slice's write at the API server to the first connection served, on three nodes.

Beside it OVN's own time: the same change of a Load_Balancer that is nobody's, written straight into the northbound.
Before it, connections are refused at once; a client in a pod of each node goes on trying.
"""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from subprocess import Popen
from typing import Any

from ovnk.kube.client import MERGE_PATCH, Client
from ovnk.lab import enter
from tests.bench.figures import Figure, Section
from tests.bench.running import Settings, middle
from tests.labs import Lab, running_lab
from tests.system import workloads
from tests.system.services import nbctl

SAMPLES = 60
SPACE = "default"

# Reads an address a line; writes when it was first served (CLOCK_MONOTONIC, which is the machine's), or null. Each try
# is short: one whose refusal, which ovn-controller sends, is overtaken by the change (1 in 300) would wait a second for
# its SYN to be sent again, while others are served already.
_CLIENT = r"""
import socket, sys, time
for line in sys.stdin:
    end = time.monotonic() + 10
    while True:
        try:
            socket.create_connection((line.strip(), 80), 0.05).close()
            print(time.monotonic(), flush=True)
            break
        except OSError:
            if time.monotonic() > end:
                print("null", flush=True)
                break
            time.sleep(0.001)
"""


def run(section: Section, settings: Settings) -> Iterator[Figure]:
    """Milliseconds, p50 and p99 over samples and nodes."""
    with running_lab(3) as lab:
        pods = [workloads.server(f"client-{node}", node) for node in lab.nodes]
        lab.apply(pods)
        ready = lab.wait_ready([f"{SPACE}/{pod['metadata']['name']}" for pod in pods])
        with _clients(lab, list(ready)) as clients:
            endpoint = workloads.of_family(next(iter(ready.values())), 4)
            ours, theirs = asyncio.run(_measure(lab, clients, endpoint, SAMPLES // 4 if settings.quick else SAMPLES))
    name = f"first endpoint of a Service until served, {len(lab.nodes)} nodes"
    yield section.times(name, ours, beside="straight into the northbound", bound=middle(theirs))


async def _measure(
    lab: Lab, clients: list["Popen[str]"], endpoint: str, samples: int
) -> tuple[list[float], list[float]]:
    """Milliseconds for each sample and node: through the API server, and straight into the northbound."""
    client = await Client.connect(lab.kubeconfig)
    try:
        ours, theirs = [], []
        path = f"/apis/discovery.k8s.io/v1/namespaces/{SPACE}/endpointslices"
        for number in range(samples):
            name, address = f"effect-{number}", f"10.96.200.{number + 1}"
            service = {"ports": [{"port": 80, "targetPort": 8080}], "clusterIP": address}
            await client.request("POST", f"/api/v1/namespaces/{SPACE}/services", body=_service(name, service))
            await client.request("POST", path, body=_slice(name))

            async def through_the_api(name: str = name) -> None:
                patch = {"endpoints": [{"addresses": [endpoint]}]}
                await client.request("PATCH", f"{path}/{name}", body=patch, content_type=MERGE_PATCH)

            ours += await _served(lab, clients, address, through_the_api)
            foreign, vip = f"bench-{number}", f"10.96.201.{number + 1}"
            nbctl(
                lab,
                "lb-add",
                foreign,
                f"{vip}:80",
                "",
                "tcp",
                "--",
                "set",
                "Load_Balancer",
                foreign,
                "options:reject=true",
            )
            for node in lab.nodes:
                nbctl(lab, "ls-lb-add", node, foreign)

            async def straight(foreign: str = foreign, vip: str = vip) -> None:
                vips = ["map", [[f"{vip}:80", f"{endpoint}:8080"]]]
                where = [["name", "==", foreign]]
                _transact(lab, {"op": "update", "table": "Load_Balancer", "where": where, "row": {"vips": vips}})

            theirs += await _served(lab, clients, vip, straight)
    finally:
        await client.close()
    return ours, theirs


async def _served(
    lab: Lab, clients: list["Popen[str]"], address: str, change: Callable[[], Awaitable[None]]
) -> list[float]:
    """Milliseconds from the change to each client's first connection; all of them have been refused before."""
    nbctl(lab, "--wait=hv", "sync")
    for client in clients:
        assert client.stdin
        client.stdin.write(f"{address}\n")
        client.stdin.flush()
    await asyncio.sleep(0.05)
    began = time.monotonic()
    await change()
    times = []
    for client in clients:
        assert client.stdout
        served = json.loads(await asyncio.to_thread(client.stdout.readline))
        assert served is not None, f"{address} was not served within 10 s"
        times.append((served - began) * 1000)
    return times


def _transact(lab: Lab, operation: dict[str, Any]) -> None:
    """One transaction, without a process's start (RFC 7047 §4.1.3)."""
    request = {"method": "transact", "params": ["OVN_Northbound", operation], "id": 0}
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(lab.northbound_socket))
        connection.sendall(json.dumps(request).encode())
        reply = json.loads(connection.recv(65536))
    assert reply["result"] == [{"count": 1}], reply


@contextlib.contextmanager
def _clients(lab: Lab, places: list[str]) -> Iterator[list["Popen[str]"]]:
    """A client in each place, for lines in and out."""
    with contextlib.ExitStack() as exits:
        yield [exits.enter_context(_client(lab, place)) for place in places]


@contextlib.contextmanager
def _client(lab: Lab, place: str) -> Iterator["Popen[str]"]:
    entrance = enter.find(lab.state, place)
    command = [workloads.PYTHON, "-c", _CLIENT]
    try:
        with Popen(command, stdin=-1, stdout=-1, text=True, preexec_fn=entrance.enter) as process:
            try:
                yield process
            finally:
                process.terminate()
    finally:
        entrance.close()


def _service(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def _slice(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [{"port": 8080}],
        "endpoints": [],
    }
