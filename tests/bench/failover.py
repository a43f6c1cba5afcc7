"""The leader killed with a standby running: how long until a pod that is new then has its port."""

import asyncio
import signal
import time
from collections.abc import Iterator

from tests.bench import planes
from tests.bench.figures import Figure, Section
from tests.bench.observers import Ports
from tests.bench.running import Settings

NODES = 20
PODS = 500
SECONDS_MOST = 10.0


def run(settings: Settings) -> Iterator[Figure]:
    """Seconds from kill -9 to the port."""
    yield Section("failover").below(
        "leader killed -9: a new pod has its port after", asyncio.run(_seconds(settings)), "s", SECONDS_MOST
    )


async def _seconds(settings: Settings) -> float:
    async with planes.plane(settings, NODES) as plane, plane.controller() as leader:
        await leader.says("northbound compared")
        async with plane.controller():
            ports, started = Ports(), asyncio.Event()
            looking = asyncio.create_task(ports.run(plane.northbound.socket, started))
            async with asyncio.timeout(60):
                await started.wait()
                await plane.sender.send(plane.pods(PODS, NODES))
                await ports.wait(lambda: f"bench/web-{PODS - 1}" in ports.seen)
                # A leader that has just begun has just renewed: let it be somewhere in its round, as in life.
                await asyncio.sleep(1)
                began = time.perf_counter()
                await leader.end(signal.SIGKILL)
                await plane.sender.send(plane.pods(1, NODES, "new"))
                await ports.wait(lambda: "bench/new-0" in ports.seen)
            looking.cancel()
            await asyncio.wait([looking])
            return ports.seen["bench/new-0"] - began
