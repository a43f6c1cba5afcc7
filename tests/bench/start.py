"""A controller's start over a cluster that is in place: how soon it serves, what it writes (nothing), what it holds.

A first controller puts everything in place; the second is measured, from its process' start until it has compared
the northbound with what is wanted. That nothing was written is read from the database and the API server.
"""

import asyncio
import time
from collections.abc import Iterator

from tests.bench import objects, planes
from tests.bench.figures import Figure, Section
from tests.bench.observers import Ports, Published
from tests.bench.planes import Plane
from tests.bench.running import Settings

PODS = 10_000
POLICIES = 400
SERVICES = 500
SECONDS_MOST = 5.0
MEGABYTES_MOST = 150.0


def run(settings: Settings) -> Iterator[Figure]:
    """Seconds, writes and megabytes of a start."""
    return asyncio.run(_run(settings, Section("start"), PODS // 10 if settings.quick else PODS))


async def _run(settings: Settings, section: Section, count: int) -> Iterator[Figure]:
    node_count = count // objects.PODS_A_NODE
    async with planes.plane(settings, node_count) as plane:
        await plane.create_policies_and_services(POLICIES, SERVICES, node_count)
        await _in_place(plane, count, node_count)
        rows, records = plane.northbound.versions(), await plane.node_network_versions()
        size = plane.northbound.size()
        began = time.perf_counter()
        async with plane.controller() as controller:
            await controller.says("northbound compared")
            seconds, cpu_s = time.perf_counter() - began, controller.cpu_s()
            now, most = (controller.kilobytes(field) / 1024 for field in ("VmRSS", "VmHWM"))
            rows_after, records_after = plane.northbound.versions(), await plane.node_network_versions()
            appended = plane.northbound.size() - size
    in_place = f"with {count:,} pods, {POLICIES} policies, {SERVICES} Services"
    return iter(
        [
            section.below(f"{in_place}: until the northbound is compared", seconds, "s", SECONDS_MOST),
            section.plain("  its processor time until then", cpu_s, "s"),
            section.none("rows of the northbound written", _differences(rows, rows_after), "", "rows there", len(rows)),
            section.none("bytes appended to the database", appended, ""),
            section.none(
                "NodeNetworks written", _differences(records, records_after), "", "NodeNetworks there", len(records)
            ),
            section.below("its memory then (VmRSS)", now, "MB", MEGABYTES_MOST),
            section.plain("  memory at most until then (VmHWM)", most, "MB"),
        ]
    )


async def _in_place(plane: Plane, count: int, node_count: int) -> None:
    """Pods at the API server, their ports in the northbound, their addresses in NodeNetworks; and no controller."""
    async with plane.controller() as controller:
        await controller.says("northbound compared")
        ports, published, started = Ports(), Published(plane.client), asyncio.Event()
        looking = [
            asyncio.create_task(ports.run(plane.northbound.socket, started)),
            asyncio.create_task(published.run()),
        ]
        async with asyncio.timeout(120):
            await started.wait()
            wanted = len(ports.seen) + count
            await plane.sender.send(plane.pods(count, node_count))
            await ports.wait(lambda: len(ports.seen) >= wanted)
            await published.wait(count)
        for task in looking:
            task.cancel()
        await asyncio.wait(looking)


def _differences(before: dict[str, str], after: dict[str, str]) -> int:
    return sum(before.get(key) != after.get(key) for key in before.keys() | after.keys())
