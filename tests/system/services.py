"""Services and their clients in the lab: manifests with good defaults, and processes that ask again and again."""

import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Self

from tests.labs import Lab
from tests.system.workloads import PYTHON, Object

PORT = 80

# Arguments: address, port, protocol, how often, pause in seconds, and "one" to keep to one UDP socket. A line of JSON
# for each time: the answer, or {"error"}.
_CLIENT = r"""
import http.client, json, socket, sys, time
address, port, protocol, times, pause, sockets = sys.argv[1:]
family = socket.AF_INET6 if ":" in address else socket.AF_INET

def tcp():
    connection = http.client.HTTPConnection(address, int(port), timeout=3)
    try:
        connection.request("GET", "/", headers={"Connection": "close"})
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()

def datagram(endpoint):
    endpoint.settimeout(1)
    endpoint.connect((address, int(port)))
    endpoint.send(b"who are you")
    return json.loads(endpoint.recv(65536))

def udp():
    with socket.socket(family, socket.SOCK_DGRAM) as endpoint:
        return datagram(endpoint)

kept = socket.socket(family, socket.SOCK_DGRAM)
ask = tcp if protocol == "TCP" else udp if sockets == "new" else lambda: datagram(kept)
for _ in range(int(times)):
    began = time.monotonic()
    try:
        answer = ask()
    except (OSError, http.client.HTTPException, ValueError) as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps({**answer, "at": began}), flush=True)
    time.sleep(float(pause))
"""


@dataclass(frozen=True, slots=True)
class Heard:
    """One answer: who gave it and whom they saw, or the error in its place; when it was asked for (time.monotonic)."""

    pod: str = ""
    seen: str = ""
    error: str = ""
    at: float = field(default=0.0, compare=False)


def service(name: str, space: str, selector: dict[str, str] | None, **spec: Any) -> Object:
    """A dual-stack Service on port 80, TCP and UDP, that leads to port 8080."""
    ports = [{"name": kind.lower(), "port": PORT, "targetPort": 8080, "protocol": kind} for kind in ("TCP", "UDP")]
    picked = {"selector": selector} if selector else {}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": space},
        "spec": {"ipFamilyPolicy": "PreferDualStack", "ports": ports, **picked, **spec},
    }


def cluster_ip(lab: Lab, name: str, space: str, version: int) -> str:
    """The Service's ClusterIP of IP version 4 or 6."""
    found = lab.get("service", name, f"--namespace={space}")["spec"]["clusterIPs"]
    return str(next(ip for ip in found if (":" in ip) == (version == 6)))


def node_address(lab: Lab, node: str, version: int) -> str:
    """The address of IP version 4 or 6 by which the cluster knows the node."""
    listed = lab.get("node", node)["status"]["addresses"]
    return str(
        next(
            one["address"]
            for one in listed
            if one["type"] == "InternalIP" and (":" in one["address"]) == (version == 6)
        )
    )


def node_port(lab: Lab, name: str, space: str, protocol: str) -> int:
    """The node port of the Service's (only) port of that protocol."""
    ports = lab.get("service", name, f"--namespace={space}")["spec"]["ports"]
    return int(next(one["nodePort"] for one in ports if one["protocol"] == protocol))


def ask(
    lab: Lab,
    place: str,
    address: str,
    protocol: str = "TCP",
    times: int = 1,
    pause: float = 0.0,
    port: int = PORT,
) -> list[Heard]:
    """Ask so often, each time from a new port."""
    done = lab.exec(place, *_command(address, protocol, times, pause, "new", port), timeout=60 + times * (pause + 3))
    assert done.returncode == 0, done.stderr
    return [_heard(line) for line in done.stdout.splitlines()]


class Asking:
    """A client that goes on asking in the background: `with Asking(…) as client`; what it heard is in `heard`."""

    def __init__(
        self,
        lab: Lab,
        place: str,
        address: str,
        protocol: str = "TCP",
        *,
        port: int = PORT,
        pause: float = 0.02,
        one_port: bool = False,
    ) -> None:
        self._command = _command(address, protocol, 1_000_000, pause, "one" if one_port else "new", port)
        self._lab, self._place = lab, place
        self.heard: list[Heard] = []

    def __enter__(self) -> Self:
        """Begin."""
        self._process = self._lab.popen(self._place, *self._command)
        return self

    def __exit__(self, *_exception: object) -> None:
        """End; what was still under way is heard too."""
        self._process.terminate()
        assert self._process.stdout
        self.heard += [_heard(line) for line in self._process.stdout if line.endswith("}\n")]
        self._process.wait()
        self._process.stdout.close()

    def until(self, condition: Any, what: str, timeout: float = 20) -> Heard:
        """The first answer to what is asked from now on that satisfies `condition`."""
        end = time.monotonic() + timeout
        for answer in self._answers():
            if condition(answer):
                return answer
            assert time.monotonic() < end, f"{what} did not come within {timeout:.0f} s; last was {answer}"
        raise AssertionError("the client ended")

    def more(self, answers: int) -> list[Heard]:
        """The next answers to what is asked from now on."""
        return [answer for answer, _ in zip(self._answers(), range(answers), strict=False)]

    def _answers(self) -> Iterator[Heard]:
        """To what is asked from now on; what was asked before, and has not been read yet, is kept in `heard` alone."""
        now = time.monotonic()
        assert self._process.stdout
        for line in self._process.stdout:
            answer = _heard(line)
            self.heard.append(answer)
            if answer.at >= now:
                yield answer


def established(lab: Lab, name: str, space: str, addresses: set[str], protocol: str = "tcp") -> None:
    """Wait until the northbound leads the Service to just these endpoints' addresses, and every node knows."""

    def targets() -> set[str]:
        return {
            target.rpartition(":")[0].strip("[]")
            for vips in balancers(lab, name, space, protocol)
            for targets in vips.values()
            for target in filter(None, targets.split(","))
        }

    lab.wait_until(lambda: targets() == addresses, f"{space}/{name} on {addresses}, not {targets()}")
    nbctl(lab, "--wait=hv", "sync")


def balancers(lab: Lab, name: str, space: str, protocol: str) -> list[dict[str, str]]:
    """The vips of the Service's Load_Balancer that is everybody's: vip → targets, as the northbound has them."""
    arguments = ["--format=json", "--columns=vips", "find", "Load_Balancer", f'name="{space}/{name}:{protocol}"']
    return [dict(row[0][1]) for row in json.loads(nbctl(lab, *arguments))["data"]]


def nbctl(lab: Lab, *arguments: str) -> str:
    command = ["ovn-nbctl", f"--db=unix:{lab.northbound_socket}", "--timeout=20", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _command(address: str, protocol: str, times: int, pause: float, sockets: str, port: int) -> list[str]:
    return [PYTHON, "-c", _CLIENT, address, str(port), protocol, str(times), str(pause), sockets]


def _heard(line: str) -> Heard:
    found = json.loads(line)
    return Heard(found.get("pod", ""), found.get("clientAddress", ""), found.get("error", ""), found["at"])
