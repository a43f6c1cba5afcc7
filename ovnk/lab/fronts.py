"""Who answers at a Service's addresses: each place asks some times, and says which pods answered and whom they saw."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from ovnk.lab.matrix import Run

TIMES = 12

# Arguments: how often, IP, port. A line of JSON: the pods that answered, and the client's address as they saw it.
_PROBE = """
import http.client, json, sys
times, ip, port = sys.argv[1:]
pods, seen = set(), set()
try:
    for _ in range(int(times)):
        connection = http.client.HTTPConnection(ip, int(port), timeout=3)
        connection.request("GET", "/")
        answer = json.loads(connection.getresponse().read())
        pods.add(answer["pod"])
        seen.add(answer["clientAddress"])
        connection.close()
    print(json.dumps({"pods": sorted(pods), "seen": sorted(seen)}))
except (OSError, ValueError, KeyError) as error:
    print(json.dumps({"error": getattr(error, "strerror", None) or str(error)}))
"""


@dataclass(frozen=True, slots=True)
class Front:
    """One of a Service's addresses ("ClusterIP", "node port", …), and a place that asks there."""

    place: str
    kind: str
    ip: str
    port: int


@dataclass(frozen=True, slots=True)
class Answers:
    """Which pods answered, and whom they saw; or why nobody did."""

    pods: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()
    error: str = ""


def measure(fronts: Sequence[Front], run: Run) -> dict[Front, Answers]:
    """What was heard at each. `run(place, command)` runs a command there."""
    return {front: _asked(front, run) for front in fronts}


def table(title: str, answers: Mapping[Front, Answers]) -> Table:
    """The answers as a table for people."""
    shown = Table(title=title, title_justify="left", box=None, header_style="bold", padding=(0, 2, 0, 0))
    for heading in ("from", "to", "answered by", "seen as"):
        shown.add_column(heading, no_wrap=True)
    for front, heard in answers.items():
        socket = f"[{front.ip}]:{front.port}" if ":" in front.ip else f"{front.ip}:{front.port}"
        who = f"[red]{heard.error}[/]" if heard.error else f"[green]{len(heard.pods)} pods[/]"
        shown.add_row(front.place, f"{front.kind} {socket.replace('[', chr(92) + '[')}", who, ", ".join(heard.seen))
    return shown


def _asked(front: Front, run: Run) -> Answers:
    done = run(front.place, [sys.executable, "-c", _PROBE, str(TIMES), front.ip, str(front.port)])
    try:
        heard = json.loads(done.stdout)
    except ValueError:
        return Answers(error=f"the probe failed: {done.stderr.strip()[-200:]}")
    return Answers(tuple(heard.get("pods", ())), tuple(heard.get("seen", ())), heard.get("error", ""))
