"""From a policy's creation until it is enforced on the wire, and from its deletion until all is open again.

In a lab of three nodes a pod asks another, on a different node, every 2 ms by UDP. What counts is when the first
question was sent that is not answered any more (or is answered again): from the request to the API server to a packet
dropped. Beside it, in turn, the same group and the same ACL written straight into the northbound: OVN's own time.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson

from ovnk.kube.client import Client
from tests.bench.figures import Figure, Section
from tests.bench.running import Settings, middle
from tests.labs import Lab, running_lab
from tests.ovsdb import OvsdbServer
from tests.system import northbound, workloads

TURNS = 100
MS_MOST = 100.0
POLICIES = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"
WEB, CLIENT = "default/web", "default/client"

# Arguments: address, port. A line "closed TIME" or "open TIME" whenever that begins: the moment (time.time()) at which
# the first question was sent that was not, or was, answered. A question's number is its length: answers tell that.
_PROBER = r"""
import json, select, socket, sys, time
address, port = sys.argv[1], int(sys.argv[2])
endpoint = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
endpoint.connect((address, port))
PAUSE, GIVEN_UP, NUMBERS, IN_A_ROW = 0.002, 0.1, 1000, 3
state, number, latest, missed, waiting = "", 0, 0.0, [], {}

def tell(new, when):
    global state
    if new != state:
        state = new
        print(new, when, flush=True)

while True:
    sent = time.time()
    number = number % NUMBERS + 1
    waiting[number] = sent
    endpoint.send(b"x" * number)
    while (left := sent + PAUSE - time.time()) > 0:
        if select.select([endpoint], [], [], left)[0]:
            answered = waiting.pop(json.loads(endpoint.recv(65536))["received"], None)
            if answered:
                latest = max(latest, answered)
                missed.clear()
                tell("open", answered)
    for one, when in list(waiting.items()):
        if when > sent - GIVEN_UP:
            break
        del waiting[one]
        if when > latest:
            missed.append(when)
        if len(missed) >= IN_A_ROW:
            tell("closed", missed[0])
"""


def run(settings: Settings) -> Iterator[Figure]:
    """Milliseconds from request to wire."""
    section = Section("enforcement")
    with running_lab(nodes=3) as lab:
        first, second, _ = lab.nodes
        lab.apply([workloads.server("web", first, app="web"), workloads.server("client", second, app="client")])
        address = workloads.addresses(lab.wait_ready([WEB, CLIENT])[WEB])[0]
        with _probing(lab, address) as wait:
            found = asyncio.run(_measured(lab, wait, TURNS // 10 if settings.quick else TURNS))
    beside = "written straight to OVN, ms"
    for name, ours, bound in (
        ("policy created, until its first packet is dropped", "created", "written"),
        ("policy deleted, until the first packet passes", "deleted", "erased"),
    ):
        yield section.times(name, found[ours], MS_MOST, beside, middle(found[bound]))


async def _measured(lab: Lab, wait: Any, turns: int) -> dict[str, list[float]]:
    client = await Client.connect(lab.kubeconfig)
    server = northbound.Reached(lab.northbound_socket)
    port = northbound.row(lab, "Logical_Switch_Port", WEB)["_uuid"]
    found: dict[str, list[float]] = {"created": [], "deleted": [], "written": [], "erased": []}
    for _ in range(turns):
        began = time.time()
        await client.request("POST", POLICIES, body=orjson.dumps(_policy()))
        found["created"].append((wait("closed") - began) * 1000)
        began = time.time()
        await client.request("DELETE", f"{POLICIES}/deny")
        found["deleted"].append((wait("open") - began) * 1000)
        began = time.time()
        _write(server, port)
        found["written"].append((wait("closed") - began) * 1000)
        began = time.time()
        server.transact({"op": "delete", "table": "Port_Group", "where": [["name", "==", "bench"]]})
        found["erased"].append((wait("open") - began) * 1000)
    await client.close()
    return found


def _policy() -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "deny"},
        "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"]},
    }


def _write(server: OvsdbServer, port: list[str]) -> None:
    """A group of web's port and an ACL on it, as the policy makes them, in one transaction."""
    acl = {"direction": "to-lport", "priority": 10000, "match": "outport == @bench && ip", "action": "drop"}
    server.transact(
        {"op": "insert", "table": "ACL", "uuid-name": "acl", "row": acl},
        {"op": "insert", "table": "Port_Group", "row": {"name": "bench", "ports": port, "acls": ["named-uuid", "acl"]}},
    )


@contextmanager
def _probing(lab: Lab, address: str) -> Iterator[Any]:
    """How to wait for "closed" or "open": gives when that began."""
    command = [workloads.PYTHON, "-u", "-c", _PROBER, address, str(workloads.PORT)]
    process = lab.popen(CLIENT, *command)
    assert process.stdout is not None
    lines = process.stdout

    def wait(state: str) -> float:
        said = lines.readline()
        if not said.startswith(f"{state} "):
            raise RuntimeError(f'the prober said "{said.strip()}" where it should have said "{state}"')
        return float(said.split()[1])

    try:
        wait("open")
        yield wait
    finally:
        process.terminate()
        process.communicate(timeout=20)
