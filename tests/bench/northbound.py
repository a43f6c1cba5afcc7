"""From change to commit: pods put into the compiler until ovsdb-server has their rows.

Beside it the server's own rate: the very same operations, encoded before the clock runs (database.py). Both begin with
an empty database that holds the nodes, and take turns.
"""

import gc
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ovnk import memory
from ovnk.compiler import Compiler
from ovnk.incremental.desired import Delta
from ovnk.kube.objects import Put
from ovnk.northbound import changes
from ovnk.northbound.schema import Wire
from ovnk.northbound.writer import Northbound
from tests.bench import database, engine, objects
from tests.bench.figures import Figure, Section
from tests.bench.running import Settings, middle
from tests.ovsdb import OvsdbServer, ovsdb_server

SIZES = (2_000, 10_000)
SHARE_LEAST = 0.4
TURNS = 3


def run(settings: Settings) -> Iterator[Figure]:
    """Pods a second for each size."""
    section = Section("northbound")
    # As in the daemon.
    gc.set_threshold(*memory.COLLECTOR)
    for size in SIZES[:1] if settings.quick else SIZES:
        turns = [(_commit(settings.folder, size), _bound(settings.folder, size)) for _ in range(TURNS)]
        ours, theirs = (middle([size / turn[side] for turn in turns]) for side in (0, 1))
        yield section.share(
            f"{size:,} pods from change to commit",
            ours,
            "pods/s",
            "ovsdb-server, encoded before",
            theirs,
            SHARE_LEAST,
        )


def _commit(folder: Path, size: int) -> float:
    """Seconds that compiler and writer take for all pods, the database's reply included."""
    with nodes_in_place(folder, size // objects.PODS_A_NODE) as (compiler, northbound, _):
        pods = objects.pods(size, size // objects.PODS_A_NODE)
        began = time.perf_counter()
        commit = northbound.apply(_delta(compiler, pods))
        spent = time.perf_counter() - began
        assert not commit.quarantined, commit
    return spent


def _bound(folder: Path, size: int) -> float:
    """Seconds that the server alone takes for the same rows."""
    node_count = size // objects.PODS_A_NODE
    return server_seconds(folder, node_count, lambda compiler: _delta(compiler, objects.pods(size, node_count)))


def server_seconds(folder: Path, node_count: int, delta_of: Callable[[Compiler], Delta]) -> float:
    """Seconds that the server takes for what the delta becomes on the wire, over a northbound that holds the nodes."""
    with nodes_in_place(folder, node_count) as (compiler, northbound, server):
        northbound.stop()
        delta = delta_of(compiler)
        chunks = changes.chunks(changes.units(changes.of_delta(delta, Wire()).changes))
        requests = database.encoded(server.database_name, (changes.operations(chunk) for chunk in chunks))
        began = time.perf_counter()
        database.send(server, requests)
        return time.perf_counter() - began


def _delta(compiler: Compiler, pods: dict[str, objects.Pod]) -> Delta:
    for pod in pods.values():
        compiler.apply(Put(pod))
    compiler.settle()
    return compiler.outputs.northbound.take()


@contextmanager
def nodes_in_place(folder: Path, node_count: int) -> Iterator[tuple[Compiler, Northbound, OvsdbServer]]:
    """A compiler that leads over so many nodes, and a northbound that holds them."""
    with tempfile.TemporaryDirectory(dir=folder) as place, ovsdb_server(Path(place)) as server:
        compiler = engine.compiler(0, node_count)
        northbound = Northbound(server.remote)
        try:
            connect(northbound)
            northbound.reconcile(compiler.outputs.northbound)  # type: ignore[arg-type]  # all of them are Facts
            yield compiler, northbound, server
        finally:
            northbound.stop()


def connect(northbound: Northbound) -> None:
    """Returns once it is connected."""
    event = threading.Event()
    northbound.start(event.set)
    while not northbound.connected:
        event.wait(10)
        event.clear()
