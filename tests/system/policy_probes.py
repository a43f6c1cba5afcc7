"""Who gets through to whom, asked again and again: a process in each place that is given questions, and all at once.

That nobody answers is a fact only beside somebody who is answered. So the node that a target runs on asks it the same
at the same moment: no NetworkPolicy shuts it out (kubelet's probes come from it). If it is not answered either, the
machine was slow, and the question is asked again.
"""

import json
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

from tests.labs import Lab
from tests.system import workloads
from tests.system.workloads import PORT, PYTHON, Object

TIMEOUT_S = 0.5

# Argument: seconds until a question is given up. Reads lines [[address, port], …], and answers each line with a line
# {"TCP ADDRESS PORT": who answered, …}; what is not answered is not in it.
_WORKER = r"""
import asyncio, json, os, socket, struct, sys
timeout = float(sys.argv[1])

def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET

async def tcp(address, port):
    reader, writer = await asyncio.open_connection(address, port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    body = (await reader.read()).partition(b"\r\n\r\n")[2]
    writer.close()
    return json.loads(body)["pod"]

async def again(endpoint, packet):
    loop = asyncio.get_running_loop()
    while True:
        try:
            return await asyncio.wait_for(loop.sock_recv(endpoint, 65536), 0.2)
        except TimeoutError:
            endpoint.send(packet)

async def udp(address, port):
    with socket.socket(family(address), socket.SOCK_DGRAM) as endpoint:
        endpoint.setblocking(False)
        endpoint.connect((address, port))
        endpoint.send(b"who are you")
        return json.loads(await again(endpoint, b"who are you"))["pod"]

def echo(six, number):
    head = struct.pack("!BBHHH", 128 if six else 8, 0, 0, number, 1)
    total = sum(struct.unpack("!4H", head))
    # The kernel makes ICMPv6's checksum itself.
    return head if six else head[:2] + struct.pack("!H", ~((total >> 16) + total) & 0xFFFF) + head[4:]

async def icmp(address, port):
    six, number = ":" in address, port
    protocol = socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP
    with socket.socket(family(address), socket.SOCK_RAW, protocol) as endpoint:
        endpoint.setblocking(False)
        endpoint.connect((address, 0))
        endpoint.send(echo(six, number))
        while True:
            packet = await again(endpoint, echo(six, number))
            packet = packet if six else packet[(packet[0] & 15) * 4:]
            if packet[0] == (129 if six else 0) and struct.unpack("!H", packet[4:6])[0] == number:
                return ""

async def asked(way, address, port, number):
    try:
        return await asyncio.wait_for(way(address, number if way is icmp else port), timeout)
    except (OSError, ValueError, TimeoutError):
        return None

async def answers(questions):
    ways = [(way, address, port) for address, port in questions for way in (tcp, udp, icmp)]
    found = await asyncio.gather(*(asked(*way, os.getpid() + n & 0xFFFF) for n, way in enumerate(ways)))
    return {
        f"{way.__name__.upper()} {address} {port}": who
        for (way, address, port), who in zip(ways, found)
        if who is not None
    }

for line in sys.stdin:
    print(json.dumps(asyncio.run(answers(json.loads(line)))), flush=True)
"""

# By source and (address, port): who answers, by protocol.
Questions = Mapping[str, Iterable[tuple[str, int]]]

EVERYTHING = frozenset(f"{protocol}{version}" for protocol in ("TCP", "UDP", "ICMP") for version in (4, 6))
NOTHING: frozenset[str] = frozenset()
TCP_ALONE = frozenset({"TCP4", "TCP6"})


class Probers:
    """A process in each of some places: `with Probers(lab, places) as probers`."""

    def __init__(self, lab: Lab, places: Iterable[str]) -> None:
        self._lab, self._places = lab, tuple(places)
        self._processes: dict[str, subprocess.Popen[str]] = {}

    def __enter__(self) -> Self:
        """Begin."""
        for place in self._places:
            command = [PYTHON, "-u", "-c", _WORKER, str(TIMEOUT_S)]
            self._processes[place] = self._lab.popen(place, *command, stdin=subprocess.PIPE)
        return self

    def __exit__(self, *_exception: object) -> None:
        """End."""
        for process in self._processes.values():
            process.communicate(timeout=20)

    def ask(self, questions: Questions) -> dict[str, dict[str, str]]:
        """By source and "PROTOCOL ADDRESS PORT", who answered; nothing where nobody did. All at the same moment."""
        for source, targets in questions.items():
            stdin = self._processes[source].stdin
            assert stdin is not None
            stdin.write(json.dumps(list(targets)) + "\n")
            stdin.flush()
        return {source: self._answer(source) for source in questions}

    def _answer(self, source: str) -> dict[str, str]:
        stdout = self._processes[source].stdout
        assert stdout is not None
        line = stdout.readline()
        assert line.startswith("{"), f"the prober in {source} failed: {line}{stdout.read()}"
        answer: dict[str, str] = json.loads(line)
        return answer


class Reach:
    """What gets through between the pods of a lab, named "namespace/name", and nodes, "node/NAME"."""

    def __init__(self, probers: Probers, pods: dict[str, Object]) -> None:
        self._probers, self._pods = probers, pods

    def passing(self, pairs: Iterable[tuple[str, str]], port: int = PORT) -> dict[tuple[str, str], frozenset[str]]:
        """For each pair of source and target pod the protocols that are answered, with their family: "TCP4"."""
        wanted = list(pairs)
        targets = {target: [(ip, port) for ip in workloads.addresses(self._pods[target])] for _, target in wanted}
        questions: dict[str, list[tuple[str, int]]] = {}
        for source, target in [*wanted, *((self._node(target), target) for target in targets)]:
            known = questions.setdefault(source, [])
            known += [one for one in targets[target] if one not in known]
        deadline = time.monotonic() + 30
        while True:
            answers = self._probers.ask(questions)
            slow = [one for one in targets if _of(answers[self._node(one)], targets[one]) != EVERYTHING]
            if not slow:
                return {(source, target): _of(answers[source], targets[target]) for source, target in wanted}
            assert time.monotonic() < deadline, f"not even their nodes are answered by {slow}"

    def until(self, wanted: dict[tuple[str, str], frozenset[str]], port: int = PORT) -> None:
        """Waits until just that passes: policies are enforced a little after they are written."""
        deadline = time.monotonic() + 20
        while (now := self.passing(wanted, port)) != wanted:
            differ = {pair: sorted(now[pair]) for pair in wanted if now[pair] != wanted[pair]}
            assert time.monotonic() < deadline, f"not what was wanted: {differ}"

    def until_answered(self, wanted: Mapping[tuple[str, str, int], dict[str, str]]) -> None:
        """Waits until just these answer, by protocol; asked from a place at an address and port that no pod has."""
        questions: dict[str, list[tuple[str, int]]] = {}
        for source, address, port in wanted:
            questions.setdefault(source, []).append((address, port))
        deadline = time.monotonic() + 20
        while True:
            answers = self._probers.ask(questions)
            now = {
                (source, address, port): {
                    protocol: answers[source][f"{protocol} {address} {port}"]
                    for protocol in ("TCP", "UDP", "ICMP")
                    if f"{protocol} {address} {port}" in answers[source]
                }
                for source, address, port in wanted
            }
            if now == wanted:
                return
            differ = {one: now[one] for one in wanted if now[one] != wanted[one]}
            assert time.monotonic() < deadline, f"not what was wanted: {differ}"

    def _node(self, pod: str) -> str:
        return f"node/{self._pods[pod]['spec']['nodeName']}"


def _of(answers: dict[str, str], targets: list[tuple[str, int]]) -> frozenset[str]:
    return frozenset(
        f"{protocol}{6 if ':' in address else 4}"
        for protocol in ("TCP", "UDP", "ICMP")
        for address, port in targets
        if f"{protocol} {address} {port}" in answers
    )


def policy(name: str, space: str, subject: dict[str, str], **spec: Any) -> Object:
    """A NetworkPolicy about pods with these labels, about all pods without any."""
    selector = {"matchLabels": subject} if subject else {}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": space},
        "spec": {"podSelector": selector, **spec},
    }


@contextmanager
def servers(lab: Lab, space: str, nodes: Mapping[str, str]) -> Iterator[dict[str, Object]]:
    """A namespace with a server on each of these nodes, labelled app=its name; by "namespace/name"."""
    pods = [workloads.server(name, node, space=space, app=name) for name, node in nodes.items()]
    lab.apply([workloads.namespace(space), *pods])
    yield lab.wait_ready([f"{space}/{name}" for name in nodes])
    lab.delete("namespace", space)
