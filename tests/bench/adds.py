"""CNI ADD in a lab, step by step, with real OVN: one after the other, and many at once.

    ADD's wall time = plug-in and socket + address (wait for the allocation) + link (veth) + port (OVSDB) + flows (OVN)

The lab's kubelet is held and the plug-in called as it would call it, by a process in the node (inside.py), as soon as
the API server has the pod. The agent's own log says how long each step took. Beside the plug-in stands the bare
interpreter, since starting that is nearly all it does.
"""

import asyncio
import contextlib
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Iterator
from itertools import count
from typing import Any

import orjson

from ovnk.kube.client import Client
from ovnk.lab import enter
from tests.bench.figures import Figure, Section
from tests.bench.running import Settings, middle
from tests.labs import Lab, running_lab

SEQUENTIAL = 100
AT_ONCE = 20
TURNS_AT_ONCE = 3
PLUGIN_MS_MOST = 15.0
AGENT_MS_MOST = 20.0

STEPS = {
    "address": "wait for the address",
    "link": "veth pair, addresses, routes",
    "port": "port in OVSDB",
    "flows": "OVN's flows (northd, ovn-controller)",
}
ADDED = re.compile(r"added a pod's port .*")
FIELD = re.compile(r"(\w+)=([^\s]+)")


def run(settings: Settings) -> Iterator[Figure]:
    """The steps' times."""
    section = Section("adds")
    with _debugging(settings), running_lab(nodes=1) as lab:
        lab.hold("n1/kubelet")
        interpreter, one_by_one, at_once = asyncio.run(
            _measure(lab, SEQUENTIAL // 5 if settings.quick else SEQUENTIAL, 1 if settings.quick else TURNS_AT_ONCE)
        )
        steps = _steps(lab.logs("n1/agent"))
    yield from _figures(section, f"{len(one_by_one)} ADDs, one after the other", one_by_one, steps, middle(interpreter))
    yield from _figures(section, f"{AT_ONCE} ADDs at once", at_once, steps)


def _figures(
    section: Section,
    name: str,
    walls: dict[str, float],
    steps: dict[str, dict[str, float]],
    interpreter: float | None = None,
) -> Iterator[Figure]:
    """The times of those ADDs; with marks where they had the machine for themselves."""
    alone = interpreter is not None
    found = {pod: steps[pod] for pod in walls}
    plugin = [wall - sum(found[pod].values()) for pod, wall in walls.items()]
    agent = [one["link"] + one["port"] for one in found.values()]
    yield section.times(f"{name}: whole", list(walls.values()))
    most = PLUGIN_MS_MOST if alone else None
    yield section.times("  plug-in process and socket", plugin, most, "the interpreter alone, ms", interpreter)
    for step, what in STEPS.items():
        yield section.times(f"  {what}", [one[step] for one in found.values()])
    yield section.times("  the agent's own work: veth and OVSDB", agent, AGENT_MS_MOST if alone else None)


async def _measure(lab: Lab, sequential: int, turns: int) -> tuple[list[float], dict[str, float], dict[str, float]]:
    """Milliseconds: of bare interpreters; of ADDs by pod, one after the other; of ADDs by pod, at once."""
    client = await Client.connect(lab.kubeconfig)
    numbers = count()
    one_by_one: dict[str, float] = {}
    at_once: dict[str, float] = {}
    async with _inside(lab) as ask:
        interpreter = (await ask({"interpreters": 30}))["walls"]
        for _ in range(sequential):
            one_by_one |= await _add(client, ask, [next(numbers)])
        for _ in range(turns):
            at_once |= await _add(client, ask, [next(numbers) for _ in range(AT_ONCE)])
    await client.close()
    return interpreter, one_by_one, at_once


async def _add(client: Client, ask: Any, numbers: list[int]) -> dict[str, float]:
    names = [f"add-{number}" for number in numbers]
    await ask({"networks": names})
    answers = await asyncio.gather(
        *(client.request("POST", "/api/v1/namespaces/default/pods", body=_pod(name)) for name in names)
    )
    pods = [
        {"name": name, "uid": orjson.loads(answer)["metadata"]["uid"]}
        for name, answer in zip(names, answers, strict=True)
    ]
    walls = (await ask({"pods": pods}))["walls"]
    return {f"default/{name}": wall for name, wall in zip(names, walls, strict=True)}


def _pod(name: str) -> bytes:
    spec = {"nodeName": "n1", "automountServiceAccountToken": False, "containers": [{"name": "web", "image": "web"}]}
    return orjson.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})


@contextlib.asynccontextmanager
async def _inside(lab: Lab) -> AsyncIterator[Any]:
    """How to ask inside.py on the node: a request, its answer."""
    entrance = enter.find(lab.state, "node/n1")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.bench.inside",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        preexec_fn=entrance.enter,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    requests, answers = process.stdin, process.stdout

    async def ask(request: dict[str, Any]) -> dict[str, Any]:
        requests.write(orjson.dumps(request) + b"\n")
        answer = json.loads(await answers.readline())
        if "failed" in answer:
            raise RuntimeError(f"an ADD failed: {answer['failed']}")
        return dict(answer)

    try:
        yield ask
    finally:
        requests.close()
        await process.wait()
        entrance.close()


def _steps(log: str) -> dict[str, dict[str, float]]:
    """Milliseconds by pod and step, as the agent logged them."""
    found = {}
    for line in ADDED.findall(log):
        fields = dict(FIELD.findall(line))
        found[fields["pod"]] = {step: float(fields[f"{step}_ms"]) for step in STEPS}
    return found


@contextlib.contextmanager
def _debugging(settings: Settings) -> Iterator[None]:
    """The agent tells the times of steps at level debug; a lab's daemons inherit the environment."""
    before = dict(os.environ)
    os.environ["OVNK_LOG_LEVEL"] = "debug"
    if settings.kube_bin:
        os.environ["KUBEBUILDER_ASSETS"] = str(settings.kube_bin)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
