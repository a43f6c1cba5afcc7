"""Real packets: from each place to each target by TCP, UDP and ICMP, and what either side saw of the other.

A probe is one process in the place it asks from. It says its own address and port as it knows them; the server it asks
says whom it sees. Equal means that nothing on the way translated anything.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from tests.labs import Lab
from tests.system.workloads import PORT, PYTHON

# Arguments: protocols. Reads [[address, port], …]; writes JSON for each: {"TCP": {"own", "seen", "pod"} or {"error"}}.
_PROBE = r"""
import http.client, json, socket, subprocess, sys
targets = json.load(sys.stdin)
pings = [subprocess.Popen(["ping", "-c1", "-W3", address], stdout=subprocess.PIPE, text=True) for address, _ in targets]

def tcp(address, port):
    connection = http.client.HTTPConnection(address, port, timeout=3)
    connection.connect()
    own = connection.sock.getsockname()
    connection.request("GET", "/")
    return own, json.loads(connection.getresponse().read())

def udp(address, port):
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as endpoint:
        endpoint.settimeout(1)
        endpoint.connect((address, port))
        for again in (True, True, False):
            endpoint.send(b"who are you")
            try:
                return endpoint.getsockname(), json.loads(endpoint.recv(65536))
            except TimeoutError:
                if not again:
                    raise

def asked(ask, address, port):
    try:
        own, answer = ask(address, port)
    except (OSError, ValueError) as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return {"own": own[:2], "seen": [answer["clientAddress"], answer["clientPort"]], "pod": answer["pod"]}

for (address, port), ping in zip(targets, pings):
    said = ping.communicate()[0]
    icmp = {} if ping.returncode == 0 else {"error": said.strip().splitlines()[-1] if said else "no ping"}
    answers = {"ICMP": icmp}
    for protocol, way in (("TCP", tcp), ("UDP", udp)):
        if protocol in sys.argv:
            answers[protocol] = asked(way, address, port)
    print(json.dumps(answers))
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one question. `own` and `seen` are (address, port) of the asker, by itself and by the server."""

    source: str
    target: str
    address: str
    protocol: str
    error: str = ""
    pod: str = ""
    own: tuple[Any, ...] = field(default=())
    seen: tuple[Any, ...] = field(default=())


def ask(
    lab: Lab,
    sources: Iterable[str],
    targets: Mapping[str, Sequence[str]],
    port: int = PORT,
    protocols: Sequence[str] = ("TCP", "UDP"),
) -> list[Answer]:
    """Every source asks every address of every target by these and by ICMP. `targets` are addresses by name."""
    pairs = [(name, address) for name, addresses in targets.items() for address in addresses]
    question = json.dumps([[address, port] for _, address in pairs])

    def asked(source: str) -> list[Answer]:
        done = lab.exec(source, PYTHON, "-c", _PROBE, *protocols, input=question, timeout=120)
        lines = done.stdout.splitlines()
        assert len(lines) == len(pairs), f"the probe in {source} failed: {done.stderr}"
        found = []
        for (name, address), line in zip(pairs, lines, strict=True):
            for protocol, answer in json.loads(line).items():
                own, seen = tuple(answer.pop("own", ())), tuple(answer.pop("seen", ()))
                found.append(Answer(source, name, address, protocol, own=own, seen=seen, **answer))
        return found

    with ThreadPoolExecutor(4) as several:
        return [answer for row in several.map(asked, sources) for answer in row]


def failed(answers: Iterable[Answer]) -> list[Answer]:
    """Those that were not answered, or not by whom they were meant for."""
    return [answer for answer in answers if answer.error or (answer.protocol != "ICMP" and answer.pod != answer.target)]


def translated(answers: Iterable[Answer]) -> list[Answer]:
    """Those whose server saw another address or port than the asker's own."""
    return [answer for answer in answers if answer.own != answer.seen]
