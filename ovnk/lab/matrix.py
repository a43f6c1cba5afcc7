"""Who reaches whom: every place asks every pod for its page, and says how long it took and whom the pod saw.

A cell is good when the pod answered and saw the asker's own address: one network, no NAT.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from rich.table import Table

# Asks each "IP PORT" of its arguments twice and prints, for the second, milliseconds and the client's address as the
# pod saw it: the first pays for ARP and for the upcalls that make the flows.
PROBE = """
import http.client, json, sys, time
for target in sys.argv[1:]:
    ip, port = target.split()
    try:
        for _ in range(2):
            began = time.perf_counter()
            connection = http.client.HTTPConnection(ip, int(port), timeout=3)
            connection.connect()
            own = connection.sock.getsockname()[0]
            connection.request("GET", "/")
            answer = json.loads(connection.getresponse().read())
            took = (time.perf_counter() - began) * 1000
            connection.close()
        print(json.dumps({"ms": took, "own": own, "seen": answer["clientAddress"], "pod": answer["pod"]}))
    except (OSError, ValueError, KeyError) as error:
        print(json.dumps({"error": getattr(error, "strerror", None) or str(error)}))
"""


@dataclass(frozen=True, slots=True)
class Target:
    """A pod that serves: its name, address and port."""

    name: str
    ip: str
    port: int


@dataclass(frozen=True, slots=True)
class Answer:
    """One cell: milliseconds, or why not. `translated` when the pod saw another address than the asker's own."""

    ms: float = 0.0
    error: str = ""
    translated: str = ""

    @property
    def good(self) -> bool:
        """Whether it was answered, and without NAT."""
        return not self.error and not self.translated


Run = Callable[[str, Sequence[str]], "subprocess.CompletedProcess[str]"]


def measure(places: Sequence[str], targets: Sequence[Target], run: Run) -> dict[str, list[Answer]]:
    """What each place was answered by each target, in their order. `run(place, command)` runs a command there."""
    command = [sys.executable, "-c", PROBE, *(f"{target.ip} {target.port}" for target in targets)]
    with ThreadPoolExecutor(2) as two:
        runs = two.map(lambda place: run(place, command), places)
        return {place: _answers(done.stdout, done.stderr, targets) for place, done in zip(places, runs, strict=True)}


def table(
    title: str, answers: Mapping[str, Sequence[Answer]], targets: Sequence[Target], notes: Mapping[str, str]
) -> Table:
    """The answers as a table in milliseconds, columns by the rows' numbers; `notes` says where each place is."""
    shown = Table(title=title, title_justify="left", box=None, header_style="bold", padding=(0, 2, 0, 0))
    shown.add_column("from ╲ to", no_wrap=True)
    numbers = {target.name: number for number, target in enumerate(targets, 1)}
    for target in targets:
        shown.add_column(f"{numbers[target.name]}", justify="right")
    for place, row in answers.items():
        number = f"{numbers[place]} " if place in numbers else "  "
        shown.add_row(f"{number}{place} [dim]{notes.get(place, '')}[/]", *(_cell(answer) for answer in row))
    return shown


def _cell(answer: Answer) -> str:
    if answer.error:
        return f"[red]{answer.error}[/]"
    if answer.translated:
        return f"[yellow]seen as {answer.translated}[/]"
    return f"[green]{answer.ms:.1f}[/]"


def _answers(printed: str, complaint: str, targets: Sequence[Target]) -> list[Answer]:
    lines = printed.splitlines()
    if len(lines) != len(targets):
        return [Answer(error=f"the probe failed: {complaint.strip()[-200:]}")] * len(targets)
    found = []
    for line, target in zip(lines, targets, strict=True):
        answer = json.loads(line)
        if "error" in answer:
            found.append(Answer(error=answer["error"]))
        elif answer["pod"] != target.name:
            found.append(Answer(error=f"{answer['pod']} answered"))
        else:
            translated = "" if answer["seen"] == answer["own"] else answer["seen"]
            found.append(Answer(ms=answer["ms"], translated=translated))
    return found
