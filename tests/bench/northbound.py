"""From change to commit: pods put into the compiler until ovsdb-server has their rows.

Beside it the server's own rate: the very same operations in the very same transactions, encoded before the clock runs,
and nobody watching (database.py). Both begin with a database that holds the same, and take turns. Without policies a
pod is a row and its place on its switch; with them it is also a member of two groups of all pods, as 10,000 are before.
"""

import gc
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ovnk import memory
from ovnk.compiler import Compiler
from ovnk.incremental.desired import Delta
from ovnk.kube.objects import Namespace, Put
from ovnk.kube.policy_objects import PodPeers
from ovnk.northbound import changes, ordering
from ovnk.northbound.schema import Wire
from ovnk.northbound.writer import Northbound
from tests.bench import database, engine, objects
from tests.bench.figures import Figure, Section
from tests.bench.running import Settings, middle
from tests.builders import allowing, policy, selecting
from tests.ovsdb import OvsdbServer, ovsdb_server

SHARE_LEAST = 0.4
TURNS = 5
BOUND = "ovsdb-server, encoded before"


@dataclass(frozen=True)
class Case:
    """So many pods more, where `before` are in place already, under policies or not."""

    name: str
    pods: int
    before: int = 0
    policies: bool = False

    @property
    def node_count(self) -> int:
        """For all of them."""
        return (self.before + self.pods) // objects.PODS_A_NODE

    def compiler(self) -> Compiler:
        """A compiler that has settled what is there before."""
        made = engine.compiler(self.before, self.node_count)
        if self.policies:
            everybody = PodPeers((), namespaces=selecting(team="bench"))
            made.apply(Put(Namespace(objects.NAMESPACE, (("team", "bench"),))))
            made.apply(Put(policy(namespace=objects.NAMESPACE, ingress=(allowing(everybody),))))
            engine.settle(made)
        return made


CASES = (
    Case("2,000 pods", 2_000),
    Case("10,000 pods", 10_000),
    Case("2,000 pods, members of groups of 10,000", 2_000, before=10_000, policies=True),
)


@dataclass(frozen=True)
class Turn:
    """Seconds: of the compiler and the writer, of the writer alone, and of the server alone."""

    whole: float
    writer: float
    bound: float


def run(settings: Settings) -> Iterator[Figure]:
    """Pods a second of each case, for the whole and for the writer alone."""
    section = Section("northbound")
    # As in the daemon.
    gc.set_threshold(*memory.COLLECTOR)
    for case in CASES[:1] if settings.quick else CASES:
        turns = [_turn(settings.folder, case) for _ in range(TURNS)]
        whole, writer, bound = (
            middle([case.pods / seconds for seconds in found])
            for found in zip(*((turn.whole, turn.writer, turn.bound) for turn in turns), strict=True)
        )
        yield section.share(f"{case.name}: from change to commit", whole, "pods/s", BOUND, bound, SHARE_LEAST)
        yield section.share("  of it from delta to commit", writer, "pods/s", BOUND, bound)


def _turn(folder: Path, case: Case) -> Turn:
    def delta_of(compiler: Compiler) -> Delta:
        return _delta(compiler, _pods(case))

    return Turn(*_commit(folder, case), server_seconds(folder, case.compiler(), delta_of))


def _commit(folder: Path, case: Case) -> tuple[float, float]:
    """Seconds that compiler and writer take for all pods, the database's reply included; and the writer alone."""
    with in_place(folder, case.compiler()) as (compiler, northbound, _):
        pods = _pods(case)
        began = time.perf_counter()
        delta = _delta(compiler, pods)
        compiled = time.perf_counter()
        commit = northbound.apply(delta)
        ended = time.perf_counter()
        assert not commit.quarantined, commit
    return ended - began, ended - compiled


def server_seconds(folder: Path, made: Compiler, delta_of: Callable[[Compiler], Delta]) -> float:
    """Seconds that the server takes for what the delta becomes on the wire, over a northbound as the compiler wants it.

    The very transactions that the writer makes of it.
    """
    with in_place(folder, made) as (compiler, northbound, server):
        northbound.stop()
        requests = database.encoded(server.database_name, _transactions(delta_of(compiler)))
        began = time.perf_counter()
        database.send(server, requests)
        return time.perf_counter() - began


def _transactions(delta: Delta) -> Iterator[list[dict[str, object]]]:
    wire = Wire()
    for part in changes.parts(delta):
        for chunk in ordering.chunks(changes.units(changes.of_delta(part, wire).changes)):
            yield changes.operations(chunk)


def _pods(case: Case) -> list[objects.Pod]:
    return [objects.pod(case.before + number, case.node_count) for number in range(case.pods)]


def _delta(compiler: Compiler, pods: list[objects.Pod]) -> Delta:
    for pod in pods:
        compiler.apply(Put(pod))
    compiler.settle()
    return compiler.outputs.northbound.take()


@contextmanager
def in_place(folder: Path, compiler: Compiler) -> Iterator[tuple[Compiler, Northbound, OvsdbServer]]:
    """The compiler, and a northbound that holds what it wants."""
    with tempfile.TemporaryDirectory(dir=folder) as place, ovsdb_server(Path(place)) as server:
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
