"""Running a command inside a lab from outside: in a node, in a pod's network, or on the outside host.

The command is the caller's own child, in the lab's process namespace too: it has the caller's terminal, and it ends
when the lab does.
"""

import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import NoReturn

from ovnk.errors import LabError
from ovnk.lab import control, linux
from ovnk.lab.control import Namespaces
from ovnk.lab.places import close_all_but, environment
from ovnk.lab.state import State

# As a shell says them.
COMMAND_NOT_FOUND = 127
COMMAND_NOT_RUNNABLE = 126


@dataclass(frozen=True, slots=True)
class Entrance:
    """The way into a place: its namespaces, and the path of a pod's network namespace there ("" for what is no pod)."""

    namespaces: Namespaces
    network: str

    def enter(self) -> None:
        """Returns in a child of the calling process, inside; the caller itself waits for it and ends as it does.

        A process cannot change its own process namespace, only that of its children.
        """
        namespaces = self.namespaces
        if namespaces.users is not None and os.geteuid() != 0:
            linux.set_namespace(namespaces.users)
        linux.set_namespace(namespaces.processes)
        if child := os.fork():
            _wait(child)
        linux.die_with_parent()
        for descriptor in (namespaces.mounts, namespaces.network, namespaces.host_name):
            linux.set_namespace(descriptor)
        if self.network:
            linux.set_namespace(os.open(self.network, os.O_RDONLY))

    def close(self) -> None:
        """Let go of the descriptors."""
        for descriptor in astuple(self.namespaces):
            if descriptor is not None:
                os.close(descriptor)


def find(state: State, target: str) -> Entrance:
    """The way to "NAMESPACE/POD", "node/NAME", "outside" or "central"; raises LabError when there is no such place."""
    place, network = _find(state, target)
    return Entrance(control.namespaces(state.control_socket, place), network)


def run(state: State, target: str, command: Sequence[str]) -> NoReturn:
    """Become the command at that place; the exit code is its own, 128 + n for signal n. Raises LabError."""
    entrance = find(state, target)
    sys.stdout.flush()
    try:
        entrance.enter()
        os.execvpe(command[0], list(command), environment({"KUBECONFIG": str(state.inner_kubeconfig)}))
    except FileNotFoundError as error:
        print(f"ovnk: {command[0]}: {error.strerror}", file=sys.stderr)
        sys.exit(COMMAND_NOT_FOUND)
    except OSError as error:
        print(f"ovnk: {command[0]}: {error.strerror or error}", file=sys.stderr)
        sys.exit(COMMAND_NOT_RUNNABLE)


def pods(state: State) -> dict[str, Path]:
    """The pods that run in the lab: "namespace/name" → the file in which its kubelet says where its network is."""
    found = state.folder.glob("nodes/*/pods/*/*/sandbox.json")
    return {f"{file.parents[1].name}/{file.parent.name}": file for file in sorted(found)}


def _find(state: State, target: str) -> tuple[str, str]:
    """The place of a target, and the path of a pod's network namespace there ("" for what is no pod)."""
    if target in ("outside", "central") or target.startswith("node/"):
        return target, ""
    file = pods(state).get(target)
    if file is None:
        known = ", ".join(["node/NAME", "outside", "central", *pods(state)])
        raise LabError(f'nothing runs as "{target}" in this lab; there are {known}')
    record = json.loads(file.read_text())
    return f"node/{file.parents[3].name}", record["network"]


def _wait(child: int) -> NoReturn:
    # The terminal sends its ^C to the child itself; who waits for it must not go before it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, _: os.kill(child, number))
    # What the child inherits is its own to close: a pipe's reader waits for the last one who holds it.
    close_all_but({0, 1, 2})
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os._exit(128 - code if code < 0 else code)
