"""The lab's first process: init of its own mount, process and network namespaces, and the supervisor of all the rest.

It is forked by `ovnk lab up` and never executes another program, so that what it has imported is there at once in the
Python daemons it forks. Killed with any signal, it takes the whole lab with it.
"""

import importlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ovnk.lab import control, daemons, databases, fabric, linux, places
from ovnk.lab.places import Place
from ovnk.lab.plan import Plan
from ovnk.lab.state import State
from ovnk.lab.supervisor import Daemon, Supervisor

CONTROLLER_HTTP_PORT = 10256
# A real kube-apiserver on a busy machine.
START_S_MAX = 60.0


@dataclass(frozen=True, slots=True)
class Launched:
    """A lab that has begun: its first process's id on the machine, and where it tells how it gets on (JSON lines)."""

    process: int
    progress: int


def launch(plan: Plan, state: State, api_socket: int) -> Launched:
    """Fork the first process into namespaces of its own; `api_socket`, on the machine's loopback, goes along."""
    progress_out, progress_in = os.pipe()
    identity_out, identity_in = os.pipe()
    if not (parent := os.fork()):
        # This process makes the namespaces; its child is the first process in them.
        try:
            os.setsid()
            own_users = _new_namespaces()
            if process := os.fork():
                os.write(identity_in, str(process).encode())
                os._exit(0)
            os.close(progress_out)
            _run(plan, state, api_socket, progress_in, own_users)
        except BaseException as error:
            traceback.print_exc()
            os.write(progress_in, json.dumps({"failed": str(error)}).encode() + b"\n")
        finally:
            os._exit(1)
    os.close(progress_in)
    os.close(identity_in)
    identity = os.read(identity_out, 32)
    os.close(identity_out)
    os.waitpid(parent, 0)
    return Launched(int(identity) if identity else 0, progress_out)


def _new_namespaces() -> bool:
    """Make the namespaces for the next child; whether one of them is a user namespace, which root needs not."""
    flags = linux.NEW_MOUNTS | linux.NEW_PROCESSES | linux.NEW_NETWORK | linux.NEW_HOST_NAME
    user, group = os.geteuid(), os.getegid()
    if user == 0:
        linux.unshare(flags)
        return False
    linux.unshare(flags | linux.NEW_USERS)
    for file, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        Path(f"/proc/self/{file}").write_text(text)
    return True


def _run(plan: Plan, state: State, api_socket: int, progress: int, own_users: bool) -> None:
    _detach(state, {api_socket, progress})
    linux.mount("none", Path("/"), flags=linux.MOUNT_RECURSIVE | linux.MOUNT_PRIVATE)
    linux.mount("proc", Path("/proc"), "proc")
    places.private_run(state.folder)
    places.without_names()
    lab = _Lab(plan, state, lambda **fields: os.write(progress, json.dumps(fields).encode() + b"\n"))
    signal.signal(signal.SIGTERM, lambda *_: lab.stop())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control.listen(state.control_socket, lab.supervisor, lab.places, own_users)
    lab.start(api_socket)
    lab.tell(started=True)
    os.close(progress)
    while not lab.stopping:
        lab.supervisor.turn()
    if plan.api_state is not None:
        # It writes its file to the end; the rest has nothing to keep.
        lab.supervisor.end(("api-server",), timeout_s=1.0)
    os._exit(0)


class _Lab:
    """The places and daemons of one lab, started in the order they need each other."""

    def __init__(self, plan: Plan, state: State, tell: Callable[..., object]) -> None:
        self.plan, self.state, self.tell = plan, state, tell
        self.supervisor = Supervisor(state.log)
        self.places: dict[str, Place] = {}
        self.stopping = False

    def stop(self) -> None:
        """End at the next turn."""
        self.stopping = True

    def start(self, api_socket: int) -> None:
        """Start everything; returns when all daemons run, which is before the nodes are Ready."""
        self.tell(step="network")
        central = self.places["central"] = places.here("central")
        outside = self.places["outside"] = places.found("outside", self.state.folder)
        nodes = [places.found(name, self.state.folder) for name in self.plan.nodes]
        self.places |= {f"node/{place.name}": place for place in nodes}
        fabric.build(self.plan, central, outside, nodes)
        self.tell(step="OVN and Open vSwitch")
        self._databases(central, nodes)
        self.supervisor.start(daemons.northd(self.state, central))
        for place in nodes:
            self.supervisor.start(daemons.vswitchd(self.plan, place))
        # What the Python daemons import takes a second of one core; Open vSwitch and OVN start beside it.
        self.tell(step="API server")
        self._control_plane(central, api_socket)
        self.tell(step="controller and nodes")
        self._ovnk(central, nodes)

    def _databases(self, central: Place, nodes: list[Place]) -> None:
        state, supervisor = self.state, self.supervisor
        folder = state.folder / "databases"
        folder.mkdir(exist_ok=True)
        schemas = {"northbound": databases.NORTHBOUND_SCHEMA, "southbound": databases.SOUTHBOUND_SCHEMA}
        files = {name: folder / f"{name}.db" for name in schemas}
        for name, file in files.items():
            databases.create(file, schemas[name])
        for daemon in daemons.databases(self.plan, state, central, files):
            supervisor.start(daemon)
        for place in nodes:
            file = folder / f"{place.name}.db"
            databases.create_vswitch(file, self.plan.datapath, self.plan.mac(place.name))
            supervisor.start(daemons.vswitch_database(place, file))
        supervisor.until(
            lambda: (
                state.northbound_socket.exists()
                and state.southbound_socket.exists()
                and all(self._in(place, daemons.VSWITCH_SOCKET).exists() for place in nodes)
            ),
            "the databases' sockets",
        )

    def _control_plane(self, central: Place, api_socket: int) -> None:
        from ovnk.lab import control_plane, programs

        plan, state = self.plan, self.state
        if plan.kube_bin is None:
            servers = control_plane.embedded(plan, state, central, api_socket)
        else:
            servers = control_plane.real(plan, state, central, api_socket, plan.kube_bin)
        for daemon in servers:
            self.supervisor.start(daemon)
        if wanted := control_plane.controllers_wanted(plan):
            self.supervisor.start(Daemon("controllers", central, programs.controllers(state, wanted)))
        self.supervisor.until(self.supervisor.settled, "the nodes' underlay and the API server", START_S_MAX)

    def _ovnk(self, central: Place, nodes: list[Place]) -> None:
        from ovnk.lab import programs

        plan, state, start = self.plan, self.state, self.supervisor.start
        for place in nodes:
            start(Daemon(f"{place.name}/kubelet", place, programs.kubelet(plan, state, place.name)))
        for name in ("controller", "node"):
            importlib.import_module(f"ovnk.cli.{name}")
        for number in range(plan.controllers):
            name = f"controller-{number + 1}" if number else "controller"
            start(Daemon(name, central, programs.controller(plan, state, name, CONTROLLER_HTTP_PORT + number)))
        for place in nodes:
            start(Daemon(f"{place.name}/agent", place, programs.agent(plan, state, place.name)))
            start(daemons.ovn_controller(place))

    def _in(self, place: Place, path: Path) -> Path:
        """A node's file as this process sees it, through its database server's root."""
        process = self.supervisor.standings[f"{place.name}/ovsdb-server"].process
        return Path(f"/proc/{process}/root{path}")


def _detach(state: State, kept: set[int]) -> None:
    """Let go of the terminal, of standard output and of every descriptor that is not the lab's business."""
    log = state.log("supervisor")
    log.parent.mkdir(parents=True, exist_ok=True)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    sys.stdout.flush()
    places.close_all_but({0, 1, 2, *kept})
    os.chdir("/")
