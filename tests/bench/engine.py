"""One pod more in clusters of 100 to 50,000: what the compiler derives for it, and for how long.

No database and no API server: change in, both deltas out. Processor time, and the sizes take turns, so that whatever
else the machine does meanwhile hits all of them alike.
"""

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ovnk.allocation import Network
from ovnk.compiler import Compiler
from ovnk.kube.objects import Node, Pod, Put, Remove, Replace
from ovnk.translate.values import Cluster
from tests.bench import objects
from tests.bench.figures import Figure, Section
from tests.bench.running import Settings, middle

SIZES = (100, 1_000, 10_000, 50_000)
ROUNDS = 400
MULTIPLE_MOST = 1.3

CIDR = "10.0.0.0/8"


def compiler(pods: int, node_count: int) -> Compiler:
    """A compiler that leads over nodes and pods, settled, its deltas taken."""
    made = Compiler(Cluster((CIDR,), ("172.16.0.0/16",)), (Network(CIDR, 24),))
    made.apply(Replace(Node, dict(objects.nodes(node_count))))
    made.apply(Replace(Pod, dict(objects.pods(pods, node_count))))
    made.lead([])
    settle(made)
    return made


def settle(made: Compiler) -> None:
    """Work everything out and take what came of it."""
    made.settle()
    made.outputs.northbound.take()
    made.outputs.node_networks.take()


def run(settings: Settings) -> Iterator[Figure]:
    """Derivations and time of one pod at each size, beside the smallest."""
    section = Section("engine")
    sizes = SIZES[:3] if settings.quick else SIZES
    compilers = {size: compiler(size, max(1, size // objects.PODS_A_NODE)) for size in sizes}
    with collected():
        spent, derived = _rounds(compilers, ROUNDS // 4 if settings.quick else ROUNDS)
    first = sizes[0]
    for size in sizes:
        yield section.multiple(
            f"one pod more at {size:,}: derivations", derived[size], "", f"at {first}", derived[first], 1.0
        )
    for size in sizes:
        own, least = middle(spent[size]), middle(spent[first])
        yield section.multiple(f"one pod more at {size:,}: p50", own, "µs", f"at {first}", least, MULTIPLE_MOST)


def _rounds(compilers: dict[int, Compiler], rounds: int) -> tuple[dict[int, list[float]], dict[int, int]]:
    spent: dict[int, list[float]] = {size: [] for size in compilers}
    derived: dict[int, int] = {}
    for number in range(rounds):
        for size, made in compilers.items():
            new = objects.pod(size + number, max(1, size // objects.PODS_A_NODE))
            before = made.graph.runs.total()
            began = time.process_time()
            made.apply(Put(new))
            settle(made)
            spent[size].append((time.process_time() - began) * 1e6)
            derived[size] = made.graph.runs.total() - before
            made.apply(Remove(Pod, new.key))
            settle(made)
    return spent, derived


@contextmanager
def collected() -> Iterator[None]:
    """Garbage collection as in a controller that runs: what is there already is left out of it (ovnk/memory.py)."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
