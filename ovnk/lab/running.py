"""Bringing a lab up and down from the machine's side: the folder, the API's socket on loopback, the first process.

What happens inside is first.py's; this waits for it and says how far it is.
"""

import contextlib
import json
import os
import select
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass

from ovnk.errors import ConfigError, LabError
from ovnk.lab import api, control, first, requirements, state
from ovnk.lab.plan import Plan
from ovnk.lab.state import State

START_S_MAX = 60.0
DOWN_S_MAX = 5.0


@dataclass(frozen=True, slots=True)
class Step:
    """Something the lab has begun to do, for people to read."""

    text: str


def up(plan: Plan, told: Callable[[Step], None]) -> State:
    """Start a lab; returns when its nodes are Ready. Raises ConfigError (the machine, the name), LabError (it failed).

    A lab that failed is taken down, its logs stay until the next of that name.
    """
    requirements.check(plan)
    lab = state.named(plan.name)
    if lab.first_process is not None:
        raise ConfigError(f'a lab "{plan.name}" is up already; take it down with `ovnk lab down --name {plan.name}`')
    lab.remove()
    lab.folder.mkdir(parents=True, mode=0o700)
    # The socket is of the machine's network namespace for ever, whoever accepts on it.
    with socket.create_server(("127.0.0.1", 0)) as api_socket:
        launched = first.launch(plan, lab, api_socket.fileno())
    if launched.process:
        lab.write_first_process(launched.process)
    try:
        _await_start(launched, lab, told)
        _await_ready(lab, len(plan.nodes), told)
    except BaseException:
        down(lab, keep_folder=True)
        raise
    return lab


def down(lab: State, keep_folder: bool = False) -> bool:
    """End a lab and remove its folder; whether there was one that lived."""
    process = lab.first_process
    if process is not None:
        with contextlib.suppress(ProcessLookupError):
            _end(process)
    if not keep_folder:
        lab.remove()
    return process is not None


def await_end(handle: int, timeout_s: float | None = None) -> bool:
    """Wait for the process of a pidfd to end, which for a first process means all of its lab; whether it has."""
    return bool(select.select([handle], [], [], timeout_s)[0])


def _end(process: int) -> None:
    """SIGTERM lets the API server write its file; then, whatever happens, the namespaces go with their init."""
    handle = os.pidfd_open(process)
    try:
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        if not await_end(handle, DOWN_S_MAX):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            await_end(handle)
    finally:
        os.close(handle)


def _await_ready(lab: State, count: int, told: Callable[[Step], None]) -> None:
    try:
        for ready, node in enumerate(api.await_nodes_ready(lab.kubeconfig, count, START_S_MAX), 1):
            told(Step(f"{ready} of {count} nodes are Ready: {node}"))
    except LabError as error:
        daemons = control.ask(lab.control_socket, do="status")["daemons"]
        died = [f"{daemon['name']} ({daemon['last_exit']})" for daemon in daemons if daemon["last_exit"]]
        what = f"; died meanwhile: {', '.join(died)}" if died else ""
        raise LabError(f"{error}{what}; the logs are in {lab.log('supervisor').parent}") from error


def _await_start(launched: first.Launched, lab: State, told: Callable[[Step], None]) -> None:
    with os.fdopen(launched.progress) as progress:
        for line in progress:
            message = json.loads(line)
            if "failed" in message:
                raise LabError(
                    f"the lab did not start: {message['failed']}; its logs are in {lab.log('supervisor').parent}"
                )
            if "started" in message:
                return
            told(Step(message["step"]))
    raise LabError(f"the lab's first process ended while it started; its logs are in {lab.log('supervisor').parent}")
