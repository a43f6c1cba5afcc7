"""Connections that go on: one TCP connection or one UDP socket, on which something is asked all the time."""

import subprocess
import threading
import time
from typing import Self

from tests.labs import Lab
from tests.system.workloads import PORT, PYTHON

# Arguments: address, port, protocol. A line for each answer; the next question follows 20 ms later, or for UDP whenever
# there was none. What TCP does not get across it sends again by itself.
_CLIENT = r"""
import http.client, socket, sys, time
address, port, protocol = sys.argv[1], int(sys.argv[2]), sys.argv[3]

def tcp():
    connection = http.client.HTTPConnection(address, port)
    while True:
        connection.request("GET", "/")
        connection.getresponse().read()
        yield

def udp():
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as endpoint:
        endpoint.settimeout(0.1)
        endpoint.connect((address, port))
        while True:
            try:
                endpoint.send(b"who are you")
                endpoint.recv(65536)
            except TimeoutError:
                continue
            yield

for _ in {"TCP": tcp, "UDP": udp}[protocol]():
    print("answered", flush=True)
    time.sleep(0.02)
"""


class Conversation:
    """`with Conversation(lab, place, address, protocol) as conversation`."""

    def __init__(self, lab: Lab, place: str, address: str, protocol: str, port: int = PORT) -> None:
        self._lab, self._place = lab, place
        self._command = [PYTHON, "-c", _CLIENT, address, str(port), protocol]
        self._heard, self._heard_at = 0, 0.0
        self._changed = threading.Condition()

    def __enter__(self) -> Self:
        """Begin; returns once there was an answer."""
        self._process = self._lab.popen(self._place, *self._command)
        self._reader = threading.Thread(target=self._read, args=(self._process,))
        self._reader.start()
        self.goes_on()
        return self

    def __exit__(self, *_exception: object) -> None:
        """End."""
        self._process.terminate()
        self._process.wait()
        self._reader.join()

    def goes_on(self, answers: int = 3, timeout: float = 30) -> None:
        """Waits for so many answers more."""
        with self._changed:
            wanted = self._heard + answers
            assert self._changed.wait_for(lambda: self._heard >= wanted, timeout), "nothing is answered any more"

    def falls_silent(self, quiet_s: float = 1.0, timeout: float = 30) -> None:
        """Waits until for that time nothing has been answered."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while (left := self._heard_at + quiet_s - time.monotonic()) > 0:
                self._changed.wait(left)
                assert time.monotonic() < deadline, "it is answered still"

    def _read(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        for _ in process.stdout:
            with self._changed:
                self._heard += 1
                self._heard_at = time.monotonic()
                self._changed.notify_all()
