"""Pods created through an API server, until each has its port and its address is published.

Beside it that API server's own rate, the same creations with no controller running; both on a fresh server, in turns.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator

from tests.bench import planes
from tests.bench.figures import Figure, Section
from tests.bench.observers import Ports, Published
from tests.bench.planes import Plane
from tests.bench.processes import Daemon
from tests.bench.running import Settings, middle

PODS, NODES = 2_000, 20
SHARE_LEAST = 0.8
TURNS = 3
SINGLE = 200
SINGLE_MS_MOST = 10.0


def run(settings: Settings) -> Iterator[Figure]:
    """Rates of many at once, and how long one takes when nothing else happens."""
    section = Section("api")
    return asyncio.run(_run(settings, section))


async def _run(settings: Settings, section: Section) -> Iterator[Figure]:
    count = PODS // 10 if settings.quick else PODS
    turns = [(await _served(settings, count), await _alone(settings, count)) for _ in range(TURNS)]
    rates = [count / served.seconds for served, _ in turns]
    alone = [count / seconds for _, seconds in turns]
    server = "kube-apiserver alone" if settings.kube_bin else "the API server alone"
    figures = [
        section.share(
            f"{count:,} pods created, with port and address",
            middle(rates),
            "pods/s",
            server,
            middle(alone),
            SHARE_LEAST,
        ),
        section.plain("  NodeNetwork writes for them", middle([one.writes for one, _ in turns]), ""),
        section.plain(
            "  controller's processor time, a pod", middle([one.cpu_s for one, _ in turns]) / count * 1e6, "µs"
        ),
    ]
    latencies, answers = await _single(settings)
    figures += [
        section.times(
            "one pod, idle: created → port",
            latencies,
            SINGLE_MS_MOST,
            "the API server's answer, p50 ms",
            middle(answers),
        )
    ]
    return iter(figures)


class Served:
    """One turn: when the last pod had all it needs, and what that took."""

    def __init__(self, seconds: float, writes: int, cpu_s: float) -> None:
        self.seconds, self.writes, self.cpu_s = seconds, writes, cpu_s


async def _served(settings: Settings, count: int) -> Served:
    async with planes.plane(settings, NODES) as plane, _observed(plane) as (ports, published, controller):
        requests = plane.pods(count, NODES)
        writes, cpu_s = published.writes, controller.cpu_s()
        wanted = len(ports.seen) + count
        began = time.perf_counter()
        async with asyncio.timeout(120):
            await plane.sender.send(requests)
            await ports.wait(lambda: len(ports.seen) >= wanted)
            await published.wait(count)
        ended = max(max(ports.seen.values()), published.at)
        return Served(ended - began, published.writes - writes, controller.cpu_s() - cpu_s)


async def _alone(settings: Settings, count: int) -> float:
    async with planes.plane(settings, NODES) as plane:
        requests = plane.pods(count, NODES)
        began = time.perf_counter()
        await plane.sender.send(requests)
        return time.perf_counter() - began


async def _single(settings: Settings) -> tuple[list[float], list[float]]:
    """Milliseconds from the request's beginning to the port, and to the answer; one pod after the other."""
    latencies, answers = [], []
    async with planes.plane(settings, NODES) as plane, _observed(plane) as (ports, published, _):
        for number, request in enumerate(plane.pods(SINGLE // (4 if settings.quick else 1), NODES)):
            port = f"bench/web-{number}"
            began = time.perf_counter()
            async with asyncio.timeout(30):
                await plane.sender.send([request])
                answers.append((time.perf_counter() - began) * 1000)
                await ports.wait(lambda port=port: port in ports.seen)
                # idle again
                await published.wait(number + 1)
            latencies.append((ports.seen[port] - began) * 1000)
            await asyncio.sleep(0.03)
    return latencies, answers


@contextlib.asynccontextmanager
async def _observed(plane: Plane) -> AsyncIterator[tuple[Ports, Published, Daemon]]:
    """A controller that is up to date, and those who look on."""
    async with plane.controller() as controller:
        await controller.says("northbound compared")
        ports, published, started = Ports(), Published(plane.client), asyncio.Event()
        looking = [
            asyncio.create_task(ports.run(plane.northbound.socket, started)),
            asyncio.create_task(published.run()),
        ]
        await started.wait()
        # The northbound is up to date before the API server has all NodeNetworks; begin when that is idle too.
        async with asyncio.timeout(60):
            await published.wait(nodes=NODES)
        try:
            yield ports, published, controller
        finally:
            for task in looking:
                task.cancel()
            await asyncio.wait(looking)
