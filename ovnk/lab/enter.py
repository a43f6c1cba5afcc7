"""Running a command inside a lab from outside: in a node, in a pod's network, or on the outside host.

The command is the caller's own child, in the lab's process namespace too: it has the caller's terminal, and it ends
when the lab does.
"""

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from ovnk.errors import LabError
from ovnk.lab import control, linux
from ovnk.lab.places import environment
from ovnk.lab.state import State

# As a shell says them.
COMMAND_NOT_FOUND = 127
COMMAND_NOT_RUNNABLE = 126


def run(state: State, target: str, command: Sequence[str]) -> int:
    """Run a command at "NAMESPACE/POD", "node/NAME", "outside" or "central"; its exit code, 128 + n for signal n.

    Raises LabError when there is no such place.
    """
    place, network = _find(state, target)
    namespaces = control.namespaces(state.control_socket, place)
    # A child is born in the process namespace that its parent has set for its children, hence before the fork.
    if namespaces.users is not None and os.geteuid() != 0:
        linux.set_namespace(namespaces.users)
    linux.set_namespace(namespaces.processes)
    sys.stdout.flush()
    if child := os.fork():
        return _wait(child)
    code = COMMAND_NOT_RUNNABLE
    try:
        linux.die_with_parent()
        for descriptor in (namespaces.mounts, namespaces.network, namespaces.host_name):
            linux.set_namespace(descriptor)
        if network:
            linux.set_namespace(os.open(network, os.O_RDONLY))
        os.execvpe(command[0], list(command), environment())
    except FileNotFoundError as error:
        print(f"ovnk: {command[0]}: {error.strerror}", file=sys.stderr)
        code = COMMAND_NOT_FOUND
    except OSError as error:
        print(f"ovnk: {command[0]}: {error.strerror or error}", file=sys.stderr)
    finally:
        sys.stderr.flush()
        os._exit(code)


def pods(state: State) -> dict[str, Path]:
    """The pods that run in the lab: "namespace/name" → the file in which its kubelet says where its network is."""
    found = state.folder.glob("nodes/*/pods/*/*.json")
    return {f"{file.parent.name}/{file.stem}": file for file in sorted(found)}


def _find(state: State, target: str) -> tuple[str, str]:
    """The place of a target, and the path of a pod's network namespace there ("" for what is no pod)."""
    if target in ("outside", "central") or target.startswith("node/"):
        return target, ""
    file = pods(state).get(target)
    if file is None:
        known = ", ".join(["node/NAME", "outside", "central", *pods(state)])
        raise LabError(f'nothing runs as "{target}" in this lab; there are {known}')
    record = json.loads(file.read_text())
    return f"node/{file.parent.parent.parent.name}", record["network"]


def _wait(child: int) -> int:
    # The terminal sends its ^C to the child itself; who waits for it must not go before it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, _: os.kill(child, number))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return 128 - code if code < 0 else code
