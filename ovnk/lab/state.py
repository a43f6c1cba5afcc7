"""A lab's folder on the machine: who its first process is, how its API is reached, and the daemons' logs.

All that a lab leaves outside of its namespaces is here. A folder whose first process is gone is stale: it counts as no
lab, and the next `up` or `down` of that name removes it.
"""

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from ovnk.errors import ConfigError

# A unix socket's path has 107 bytes at most, and sockets are in the folder.
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,22}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class State:
    """The folder of one lab."""

    folder: Path

    @property
    def name(self) -> str:
        """The lab's name."""
        return self.folder.name

    @property
    def process_file(self) -> Path:
        """The first process's id and start time, in clock ticks since boot: an id alone may be somebody else's."""
        return self.folder / "pid"

    @property
    def kubeconfig(self) -> Path:
        """For kubectl on the machine: the API on loopback."""
        return self.folder / "kubeconfig"

    @property
    def inner_kubeconfig(self) -> Path:
        """For the lab's nodes: the API on the nodes' network."""
        return self.folder / "kubeconfig.nodes"

    @property
    def control_socket(self) -> Path:
        """Where the supervisor answers."""
        return self.folder / "control.sock"

    @property
    def northbound_socket(self) -> Path:
        """The northbound's unix socket, usable from the machine too."""
        return self.folder / "ovnnb_db.sock"

    @property
    def southbound_socket(self) -> Path:
        """The southbound's unix socket, usable from the machine too."""
        return self.folder / "ovnsb_db.sock"

    def log(self, daemon: str) -> Path:
        """The file a daemon's output goes to."""
        return self.folder / "logs" / f"{daemon}.log"

    def node(self, node: str) -> Path:
        """What a node keeps where the machine sees it: its kubelet's record of pods."""
        return self.folder / "nodes" / node

    @property
    def first_process(self) -> int | None:
        """The id of the lab's first process while it lives."""
        try:
            process, started = self.process_file.read_text().split()
        except (OSError, ValueError):
            return None
        return int(process) if started == start_time(process) else None

    def write_first_process(self, process: int) -> None:
        """Note the first process."""
        self.process_file.write_text(f"{process} {start_time(str(process))}\n")

    def remove(self) -> None:
        """Remove the folder and all in it."""
        shutil.rmtree(self.folder, ignore_errors=True)


def base() -> Path:
    """The folder of all labs of this user."""
    if os.geteuid() == 0:
        return Path("/run/ovnk-lab")
    return Path(os.environ.get("XDG_RUNTIME_DIR") or f"/tmp/ovnk-{os.geteuid()}") / "ovnk-lab"


def named(name: str) -> State:
    """The lab of that name, there or not. Raises ConfigError for what cannot be a name."""
    if not NAME.fullmatch(name):
        raise ConfigError(
            f'--name: "{name}" cannot name a lab; use up to 24 lower case letters, digits and dashes, no dash at an end'
        )
    return State(base() / name)


def living() -> list[State]:
    """The labs that run, by name."""
    folder = base()
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return [state for state in map(State, found) if state.first_process is not None]


def start_time(process: str) -> str | None:
    """When a process started, as proc(5) has it in field 22 of stat; None when there is no such process, or a zombie.

    The first process belongs to the machine's init, which may take its time to reap it.
    """
    try:
        # The second field is the program's name in parentheses and may hold spaces.
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]
