"""`python -m tests.bench [--quick] [--kube-bin DIR] [SECTION…]`: runs the sections, prints a table, writes JSON."""

import argparse
import importlib
import os
import platform
import subprocess
import tempfile
import time
from pathlib import Path

import orjson
from rich.console import Console

from ovnk import __version__
from ovnk.lab import kubebin
from tests.bench import figures
from tests.bench.figures import Figure
from tests.bench.running import Settings

# In the order in which they run; each is a module here with `run(settings)`.
SECTIONS = {
    "engine": "one pod more in clusters of any size",
    "northbound": "from change to commit",
    "services": "1,000 Services of ten endpoints; a change until it is served",
    "policies": "400 policies over 10,000 pods",
    "enforcement": "from a policy's creation to the wire",
    "api": "pods created through an API server",
    "start": "a controller's start over a cluster in place",
    "failover": "the leader killed",
    "lab": "a lab of three nodes up and down",
    "adds": "CNI ADD, step by step",
}
OUTPUT = Path("build/bench.json")
# The table is wider than a terminal that nobody has: in a log it must not be folded.
WIDTH = 150


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    listed = ", ".join(f"{name} ({what})" for name, what in SECTIONS.items())
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"{listed}; default: all")
    parser.add_argument("--quick", action="store_true", help="smaller sizes: whether it works, not how well")
    parser.add_argument("--kube-bin", type=Path, help="measure with the etcd and kube-apiserver of this folder")
    flags = parser.parse_args()
    if unknown := [name for name in flags.sections if name not in SECTIONS]:
        parser.error(f"no section {unknown[0]!r}; there are {', '.join(SECTIONS)}")
    say = Console(stderr=True, highlight=False)
    found: list[Figure] = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ovnk-bench-") as folder:
        settings = Settings(Path(folder), flags.quick, kubebin.found(flags.kube_bin, os.environ))
        for name in flags.sections or SECTIONS:
            with say.status(f"{name}: {SECTIONS[name]}"):
                section_began = time.monotonic()
                found += importlib.import_module(f"tests.bench.{name}").run(settings)
            say.print(f"[dim]{name}: {time.monotonic() - section_began:.0f} s[/]")
    OUTPUT.parent.mkdir(exist_ok=True)
    circumstances = _circumstances(settings, time.monotonic() - began)
    OUTPUT.write_bytes(orjson.dumps(circumstances | {"figures": figures.plain(found)}, option=orjson.OPT_INDENT_2))
    Console(highlight=False, width=WIDTH).print(figures.table(found))
    missed = sum(figure.met is False for figure in found)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    say.print(
        f"{len(found)} figures, {missed} marks not met; {os.cpu_count()} processors, load {load}; also in {OUTPUT}"
    )


def _circumstances(settings: Settings, seconds: float) -> dict[str, object]:
    ovs = subprocess.run(["ovsdb-server", "--version"], capture_output=True, text=True, check=True).stdout
    return {
        "ovnk": __version__,
        "python": platform.python_version(),
        "ovsdb_server": ovs.splitlines()[0].split()[-1],
        "api_server": "kube-apiserver" if settings.kube_bin else "embedded",
        "processors": os.cpu_count(),
        "load": os.getloadavg(),
        "quick": settings.quick,
        "seconds": round(seconds, 1),
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


if __name__ == "__main__":
    main()
