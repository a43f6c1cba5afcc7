"""Asking all the time, without waiting for answers; each question from a port of its own, and so decided anew."""

import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from tests.labs import Lab
from tests.system.workloads import PORT, PYTHON

# A TCP client sends a lost SYN again after 1 s: a connection that took longer lost a packet.
TIMEOUT_S = 0.9

# Arguments: addresses, port, seconds between questions, seconds until one is given up. Until its input ends; then it
# writes [[when (time.time()), "TCP" or "UDP", address, error or ""], …].
_PROBER = r"""
import asyncio, itertools, json, socket, sys, threading, time
addresses, port = json.loads(sys.argv[1]), int(sys.argv[2])
pause, timeout = map(float, sys.argv[3:])
found = []

async def tcp(endpoint, address):
    await asyncio.get_running_loop().sock_connect(endpoint, (address, port))

async def udp(endpoint, address):
    endpoint.connect((address, port))
    endpoint.send(b"who are you")
    await asyncio.get_running_loop().sock_recv(endpoint, 65536)

async def ask(way, kind, address):
    began = time.time()
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind) as endpoint:
        endpoint.setblocking(False)
        try:
            await asyncio.wait_for(way(endpoint, address), timeout)
            error = ""
        except (OSError, TimeoutError) as said:
            error = f"{type(said).__name__} {said}"
    found.append([began, way.__name__.upper(), address, error])

async def main():
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    asking = set()
    for address, (way, kind) in itertools.cycle(
        itertools.product(addresses, [(udp, socket.SOCK_DGRAM), (tcp, socket.SOCK_STREAM)])
    ):
        asking.add(asyncio.ensure_future(ask(way, kind, address)))
        if (await asyncio.wait({ended}, timeout=pause))[0]:
            break
    await asyncio.gather(*asking)

asyncio.run(main())
print(json.dumps(found))
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """One question: when (seconds since the epoch), how and of whom; why it was not answered, "" if it was."""

    at: float
    protocol: str
    address: str
    error: str

    @property
    def answered(self) -> bool:
        """Whether it was."""
        return not self.error


class Steady:
    """`with Steady(lab, place, addresses) as steady: …`; then `steady.asked` is what came of it."""

    def __init__(self, lab: Lab, place: str, addresses: Iterable[str], pause_s: float = 0.02, port: int = PORT) -> None:
        self._lab, self._place = lab, place
        settings = [json.dumps(list(addresses)), str(port), str(pause_s), str(TIMEOUT_S)]
        self._command = [PYTHON, "-c", _PROBER, *settings]
        self.asked: list[Asked] = []

    def __enter__(self) -> Self:
        """Begin."""
        self._process = self._lab.popen(self._place, *self._command, stdin=subprocess.PIPE)
        return self

    def __exit__(self, *_exception: object) -> None:
        """End; what was asked last is waited for."""
        said = self._process.communicate(timeout=30)[0]
        assert said.startswith("[["), f"the prober in {self._place} failed: {said}"
        self.asked += [Asked(*one) for one in json.loads(said)]
