"""Starting a container: its command as a process in the pod's network, or the built-in server where it has none.

The process has a session of its own and the pod's host name; what it writes goes to a log file. Whether it is started
again is worker.py's business.
"""

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from ovnk.lab import linux
from ovnk.lab.kubelet import builtin
from ovnk.lab.places import environment

_REFERENCE = re.compile(r"\$(\$|\(([A-Za-z_][A-Za-z0-9_.-]*)\))")


class Running(Protocol):
    """A container that was started. `process` is its process group's id, 0 for the built-in server."""

    process: int

    def signal(self, number: int) -> None:
        """Send it a signal; nothing happens when it has ended."""

    async def wait(self) -> int:
        """Its exit code, 128 + n for signal n, once it has ended."""


class Process:
    """A command that runs."""

    def __init__(self, popen: "subprocess.Popen[bytes]") -> None:
        self.process = popen.pid
        self._popen = popen
        self._ended = asyncio.Event()
        self._handle = os.pidfd_open(popen.pid)
        asyncio.get_running_loop().add_reader(self._handle, self._end)

    def signal(self, number: int) -> None:
        """Send the whole group a signal."""
        if not self._ended.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process, number)

    async def wait(self) -> int:
        """Its exit code, once it has ended."""
        await self._ended.wait()
        code = self._popen.returncode
        return 128 - code if code < 0 else code

    def _end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._handle)
        os.close(self._handle)
        # What it has left behind goes with it, as a container's processes do with the first of them.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process, signal.SIGKILL)
        self._popen.wait()
        self._ended.set()


def start_process(
    command: list[str], network: str, host_name: str, variables: Mapping[str, str], folder: str, log: Path
) -> Process:
    """Start a command; raises OSError when it cannot be run."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output, in_network(network, host_name):
        return Process(
            subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment(variables),
                cwd=folder if Path(folder or "-").is_dir() else "/",
                start_new_session=True,
            )
        )


async def start_builtin(identity: builtin.Identity, ports: list[tuple[str, int]], network: str) -> builtin.Builtin:
    """Start the built-in server; raises OSError when a port is taken."""
    with in_network(network):
        sockets = builtin.open_sockets(ports)
    server = builtin.Builtin(identity, sockets)
    await server.start()
    return server


async def run_to_end(command: list[str], network: str, host_name: str, variables: Mapping[str, str]) -> int:
    """Run a command beside a container (a probe, a hook); its exit code. Cancelled, it is killed."""
    try:
        process = start_process(command, network, host_name, variables, "", Path(os.devnull))
    except OSError:
        return 127
    try:
        return await process.wait()
    finally:
        process.signal(signal.SIGKILL)


@contextlib.contextmanager
def in_network(network: str, host_name: str = "") -> Iterator[None]:
    """The calling thread is in a network namespace meanwhile, under a host name; what it starts stays there.

    Not across an await. "" is the node's own network, whose host name stays.
    """
    if not network:
        yield
        return
    own = [os.open(f"/proc/thread-self/ns/{kind}", os.O_RDONLY) for kind in ("net", "uts")]
    target = os.open(network, os.O_RDONLY)
    try:
        linux.set_namespace(target)
        if host_name:
            linux.unshare(linux.NEW_HOST_NAME)
            socket.sethostname(host_name)
        yield
    finally:
        for descriptor in own:
            linux.set_namespace(descriptor)
        for descriptor in (*own, target):
            os.close(descriptor)


def variables(container: Mapping[str, Any], pod: Mapping[str, Any], known: Mapping[str, str]) -> dict[str, str]:
    """A container's environment: `env` in order, $(NAME) replaced by what stands before it, fields looked up.

    `known` are the fields that no manifest has, such as status.podIP. Config maps and secrets are not read.
    """
    found: dict[str, str] = {}
    for entry in container.get("env") or ():
        field = ((entry.get("valueFrom") or {}).get("fieldRef") or {}).get("fieldPath")
        if field is not None:
            found[entry["name"]] = known.get(field) or _field(pod, field)
        elif "valueFrom" not in entry:
            found[entry["name"]] = expanded(entry.get("value", ""), found)
    return found


def expanded(text: str, values: Mapping[str, str]) -> str:
    """$(NAME) replaced by its value where there is one; $$ is a $ (core/v1 Container, `command`)."""

    def value(match: re.Match[str]) -> str:
        return "$" if match[1] == "$" else values.get(match[2], match[0])

    return _REFERENCE.sub(value, text)


def ports(container: Mapping[str, Any]) -> list[tuple[str, int]]:
    """The ports that the built-in server serves: containerPorts, TCP 8080 if there are none."""
    declared = [(port.get("protocol", "TCP"), port["containerPort"]) for port in container.get("ports") or ()]
    return declared or [("TCP", builtin.DEFAULT_PORT)]


def _field(pod: Mapping[str, Any], path: str) -> str:
    """A field of the pod as the downward API names it: "metadata.name", "metadata.labels['app']"."""
    path, _, key = path.partition("['")
    value: Any = pod
    for part in path.split("."):
        value = (value or {}).get(part)
    if key:
        value = (value or {}).get(key.removesuffix("']"))
    return "" if value is None else str(value)
