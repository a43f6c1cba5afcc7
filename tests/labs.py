"""A lab for tests: `with running_lab(nodes=3) as lab:`, usually in a module-scoped fixture.

It goes through the command line where people do, and enters namespaces by itself where a command for each packet
would be too slow.
"""

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ovnk.lab import api, control, enter, kubectl, running, state
from ovnk.lab.state import State

Object = dict[str, Any]

PROGRAM = [sys.executable, "-c", "from ovnk.cli import main; main()"]
OUTSIDE_V4, OUTSIDE_V6 = "203.0.113.1", "2001:db8::1"


class Lab:
    """A lab that runs."""

    def __init__(self, lab: State, nodes: tuple[str, ...]) -> None:
        self.state, self.nodes = lab, nodes
        self.kubeconfig = lab.kubeconfig
        self.northbound_socket, self.southbound_socket = lab.northbound_socket, lab.southbound_socket

    def kubectl(
        self,
        *arguments: str,
        input: str | None = None,  # noqa: A002  subprocess's name for it
        check: bool = True,
        timeout: float = 60,
    ) -> str:
        """What kubectl printed; AssertionError with its complaint when it failed (unless check=False)."""
        command = [kubectl.program(), f"--kubeconfig={self.kubeconfig}", *arguments]
        done = subprocess.run(command, input=input, capture_output=True, text=True, timeout=timeout, check=False)
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def apply(self, manifests: str | Object | Iterable[Object]) -> None:
        """Apply YAML text, an object or objects."""
        if not isinstance(manifests, str):
            items = [manifests] if isinstance(manifests, dict) else list(manifests)
            manifests = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        self.kubectl("apply", "--filename=-", input=manifests)

    def delete(self, *arguments: str, timeout: float = 60) -> None:
        """kubectl delete, waiting until the objects are gone."""
        self.kubectl("delete", "--ignore-not-found", *arguments, timeout=timeout)

    def get(self, *arguments: str) -> Object:
        """kubectl get as an object."""
        value: Object = json.loads(self.kubectl("get", *arguments, "--output=json"))
        return value

    def pods(self, selector: str = "") -> dict[str, Object]:
        """The pods there are, by "namespace/name"."""
        found = api.get(self.kubeconfig, f"/api/v1/pods?labelSelector={urllib.parse.quote(selector)}")["items"]
        return {f"{pod['metadata']['namespace']}/{pod['metadata']['name']}": pod for pod in found}

    def wait_ready(self, pods: str | Iterable[str], timeout: float = 60, count: int | None = None) -> dict[str, Object]:
        """The pods ("namespace/name", or what a selector such as "app=web" finds) once all of them are Ready.

        `count` is how many a selector must find; without it, at least one. Not by `kubectl wait`: it asks for each pod
        by itself, five a second at most.
        """
        by_selector = isinstance(pods, str) and "/" not in pods
        wanted = {pods} if isinstance(pods, str) else set(pods)
        found: dict[str, Object] = {}

        def ready() -> bool:
            there = self.pods(str(pods) if by_selector else "")
            found.clear()
            found.update(there if by_selector else {key: pod for key, pod in there.items() if key in wanted})
            enough = len(found) == count if count is not None else bool(found)
            return all(map(is_ready, found.values())) and (enough if by_selector else len(found) == len(wanted))

        try:
            self.wait_until(ready, f"pods {pods} Ready", timeout)
        except AssertionError as error:
            states = {key: pod.get("status", {}).get("conditions") for key, pod in found.items() if not is_ready(pod)}
            raise AssertionError(f"{error}: {json.dumps(states)}") from None
        return found

    def exec(
        self,
        target: str,
        *command: str,
        timeout: float = 30,
        input: str | None = None,  # noqa: A002  subprocess's name
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command at "namespace/pod", "node/NAME", "outside" or "central"; never raises for its exit code."""
        with self._entered(target) as entered:
            return subprocess.run(
                command, input=input, capture_output=True, text=True, timeout=timeout, preexec_fn=entered, check=False
            )

    def popen(self, target: str, *command: str, stdin: int = subprocess.DEVNULL) -> "subprocess.Popen[str]":
        """Start a command there, its output (stderr too) in a pipe; the caller ends it."""
        with self._entered(target) as entered:
            return subprocess.Popen(
                command,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                preexec_fn=entered,
            )

    def fetch(self, target: str, url: str, *options: str, timeout: float = 5) -> Object | None:
        """What the built-in server at a URL answers to `target`, None when nothing came."""
        done = self.exec(target, "curl", "-sf", "-m", str(timeout), *options, url, timeout=timeout + 10)
        value: Object | None = json.loads(done.stdout) if done.returncode == 0 else None
        return value

    def daemons(self) -> dict[str, Object]:
        """The daemons as the supervisor sees them, by name: process, up_s, held, restarts, last_exit."""
        found = control.ask(self.state.control_socket, do="status")["daemons"]
        return {daemon["name"]: daemon for daemon in found}

    def kill(self, daemon: str, number: int = signal.SIGKILL) -> None:
        """Send a daemon a signal; the supervisor starts it again if it ends."""
        control.ask(self.state.control_socket, do="signal", daemon=daemon, signal=int(number))

    def hold(self, daemon: str) -> None:
        """Stop a daemon with SIGTERM and keep it down; returns when it is."""
        control.ask(self.state.control_socket, do="hold", daemon=daemon)
        self.wait_until(lambda: self.daemons()[daemon]["process"] is None, f"{daemon} down")

    def release(self, daemon: str) -> None:
        """Start a daemon again that was held."""
        control.ask(self.state.control_socket, do="release", daemon=daemon)

    def kill_for_good(self, daemon: str) -> None:
        """kill -9 without a restart; a frozen process cannot heed the SIGTERM that comes first."""
        self.kill(daemon, signal.SIGSTOP)
        control.ask(self.state.control_socket, do="hold", daemon=daemon)
        self.kill(daemon, signal.SIGKILL)
        self.wait_until(lambda: self.daemons()[daemon]["process"] is None, f"{daemon} gone")

    @contextlib.contextmanager
    def frozen(self, *daemons: str) -> Iterator[None]:
        """The daemons do nothing meanwhile; one that is being restarted is waited for."""
        for daemon in daemons:
            self.wait_until(lambda daemon=daemon: self.daemons()[daemon]["process"], f"{daemon} up")
            self.kill(daemon, signal.SIGSTOP)
        try:
            yield
        finally:
            for daemon in daemons:
                self.kill(daemon, signal.SIGCONT)

    def restart(self, daemon: str, number: int = signal.SIGTERM) -> None:
        """End a daemon with a signal; returns when its successor runs."""
        before = self.daemons()[daemon]["process"]
        self.kill(daemon, number)
        self.wait_until(lambda: self.daemons()[daemon]["process"] not in (None, before), f"{daemon} up again")

    def logs(self, daemon: str) -> str:
        """What a daemon has said since the lab is up."""
        file = self.state.log(daemon)
        return file.read_text(errors="replace") if file.exists() else ""

    def container_log(self, pod: str, container: str) -> str:
        """What a container ("namespace/pod", its name) has written."""
        file = self.state.folder / "logs" / "pods" / pod / f"{container}.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def wait_until(self, condition: Callable[[], object], what: str, timeout: float = 30) -> None:
        """Ask again and again until it holds; AssertionError naming `what`. For what has no event to wait for."""
        end = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < end, f"{what} did not come within {timeout:.0f} s"
            time.sleep(0.02)

    @contextlib.contextmanager
    def _entered(self, target: str) -> Iterator[Callable[[], None]]:
        entrance = enter.find(self.state, target)
        try:
            yield entrance.enter
        finally:
            entrance.close()


def is_ready(pod: Object) -> bool:
    """Whether a pod's (or a node's) condition Ready is True."""
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


@contextlib.contextmanager
def running_lab(nodes: int = 3, options: Sequence[str] = (), name: str = "") -> Iterator[Lab]:
    """A lab for the time of the context. `options` are further ones of `ovnk lab up` ("--encap=vxlan").

    Its logs' ends go to stderr when the test fails. With KUBEBUILDER_ASSETS it has a real API server.
    """
    name = name or f"test-{secrets.token_hex(4)}"
    lab = state.named(name)
    try:
        ovnk("lab", "up", f"--name={name}", f"--nodes={nodes}", *options, timeout=90)
        yield Lab(lab, tuple(f"n{number}" for number in range(1, nodes + 1)))
    except BaseException:
        sys.stderr.write(log_ends(lab.folder))
        raise
    finally:
        running.down(lab)


def ovnk(*arguments: str, timeout: float = 60, check: bool = True) -> "subprocess.CompletedProcess[str]":
    """Run the `ovnk` program; AssertionError with what it said when it fails (unless check=False)."""
    done = subprocess.run(
        [*PROGRAM, *arguments], capture_output=True, text=True, timeout=timeout, check=False, env=dict(os.environ)
    )
    assert not check or done.returncode == 0, f"ovnk {' '.join(arguments)}: {done.stderr}"
    return done


def log_ends(folder: Path, lines: int = 8) -> str:
    """The last lines of each daemon's log."""
    parts = []
    for file in sorted((folder / "logs").rglob("*.log")):
        if "pods" not in file.parts and (text := file.read_text(errors="replace")):
            parts += [f"--- {file.relative_to(folder)}", *text.splitlines()[-lines:]]
    return "\n".join(parts) + "\n"
