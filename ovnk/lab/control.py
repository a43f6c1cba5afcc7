"""What the machine can ask of a running lab: how its daemons are, to signal or hold one, and to hand out namespaces.

One request, one answer a connection on a unix socket of packets (SOCK_SEQPACKET). Namespaces are handed out as open
descriptors, so that a caller enters them itself and its child is its own: terminal, exit code and signals are as usual.
"""

import json
import os
import selectors
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovnk.errors import LabError
from ovnk.lab.places import Place
from ovnk.lab.supervisor import Supervisor

_ANSWER_BYTES_MAX = 1 << 20
_DESCRIPTORS_MAX = 8
_REPLY_S_MAX = 10.0


@dataclass(frozen=True, slots=True)
class Namespaces:
    """What a process needs to be in a place: entered in the order of the fields. `users` is None in root's labs."""

    users: int | None
    processes: int
    mounts: int
    network: int
    host_name: int


def listen(file: Path, supervisor: Supervisor, places: dict[str, Place], own_users: bool) -> None:
    """Answer on a socket from now on, as the supervisor turns."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    server.bind(str(file))
    server.listen()

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.settimeout(_REPLY_S_MAX)
            try:
                request = json.loads(connection.recv(65536) or "{}")
                answer, descriptors = _answer(request, supervisor, places, own_users)
                socket.send_fds(connection, [json.dumps(answer).encode()], descriptors)
                for descriptor in descriptors[: len(descriptors) - 3]:
                    os.close(descriptor)
            except OSError:
                # The caller has gone, or is stuck: its loss.
                return

    supervisor.selector.register(server, selectors.EVENT_READ, serve)


def ask(file: Path, **request: object) -> dict[str, Any]:
    """The lab's answer; raises LabError when it refuses or cannot be reached."""
    return _ask(file, request)[0]


def namespaces(file: Path, place: str) -> Namespaces:
    """Descriptors of a place's namespaces; raises LabError when there is no such place."""
    answer, descriptors = _ask(file, {"do": "namespaces", "place": place})
    users = descriptors.pop(0) if answer["users"] else None
    processes, mounts, network, host_name = descriptors
    return Namespaces(users, processes, mounts, network, host_name)


def _ask(file: Path, request: dict[str, object]) -> tuple[dict[str, Any], list[int]]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.settimeout(_REPLY_S_MAX)
        try:
            connection.connect(str(file))
            connection.send(json.dumps(request).encode())
            data, descriptors, _, _ = socket.recv_fds(connection, _ANSWER_BYTES_MAX, _DESCRIPTORS_MAX)
        except OSError as error:
            raise LabError(f"the lab does not answer at {file}: {error}; see `ovnk lab status`") from error
    answer = json.loads(data or '{"error": "the lab closed the connection; see its log supervisor.log"}')
    if "error" in answer:
        raise LabError(answer["error"])
    return answer, descriptors


def _answer(
    request: dict[str, Any], supervisor: Supervisor, places: dict[str, Place], own_users: bool
) -> tuple[dict[str, Any], list[int]]:
    name = request.get("daemon", "")
    match request.get("do"):
        case "status":
            return {"daemons": _status(supervisor)}, []
        case "namespaces":
            place = places.get(request.get("place", ""))
            if place is None:
                return {"error": f'there is no place "{request.get("place")}"; there are {", ".join(places)}'}, []
            users = [os.open("/proc/self/ns/user", os.O_RDONLY)] if own_users else []
            processes = os.open("/proc/self/ns/pid", os.O_RDONLY)
            return {"users": own_users}, [*users, processes, *place.descriptors]
        case "signal" | "hold" | "release" as verb:
            if name not in supervisor.standings:
                return {"error": f'there is no daemon "{name}"; there are {", ".join(supervisor.standings)}'}, []
            try:
                if verb == "signal":
                    supervisor.signal(name, int(request["signal"]))
                else:
                    getattr(supervisor, verb)(name)
            except ProcessLookupError as error:
                return {"error": str(error)}, []
            return {}, []
        case other:
            return {"error": f'"{other}" is not a request this lab knows'}, []


def _status(supervisor: Supervisor) -> list[dict[str, Any]]:
    now = time.monotonic()
    return [
        {
            "name": name,
            "process": standing.process,
            "up_s": round(now - standing.started, 1) if standing.process else None,
            "held": not standing.wanted,
            "restarts": standing.restarts,
            "last_exit": standing.last_exit,
        }
        for name, standing in supervisor.standings.items()
    ]
