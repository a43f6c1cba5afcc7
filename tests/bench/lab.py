"""A lab of three nodes: from the command's start to Ready, and down again."""

import os
import time
from collections.abc import Iterator

from tests.bench.figures import Figure, Section
from tests.bench.running import Settings, middle
from tests.labs import ovnk

NODES = 3
SECONDS_MOST = 10.0
TURNS = 3


def run(settings: Settings) -> Iterator[Figure]:
    """Seconds of `ovnk lab up` and `ovnk lab down`."""
    ups, downs = [], []
    options = [f"--kube-bin={settings.kube_bin}"] if settings.kube_bin else []
    for turn in range(1 if settings.quick else TURNS):
        name = f"bench-{os.getpid()}-{turn}"
        try:
            began = time.perf_counter()
            ovnk("lab", "up", f"--name={name}", f"--nodes={NODES}", *options, timeout=120)
            ups.append(time.perf_counter() - began)
        finally:
            began = time.perf_counter()
            ovnk("lab", "down", f"--name={name}")
            downs.append(time.perf_counter() - began)
    section = Section("lab")
    yield section.below(f"ovnk lab up --nodes {NODES}, until Ready", middle(ups), "s", SECONDS_MOST)
    yield section.plain("ovnk lab down", middle(downs), "s")
