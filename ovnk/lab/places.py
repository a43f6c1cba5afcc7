"""Places: sets of namespaces that a lab's processes are started in, one a node, one outside, one for the centre.

A node has its own mounts (so its own /run, hence /run/openvswitch/db.sock and /run/netns as on a real one), its
own network and its own host name. A place is held by open descriptors alone: nothing is left when they close.
"""

import os
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ovnk.lab import linux

# In the order they must be entered in.
NAMESPACES = ("mnt", "net", "uts")
# Past any descriptor a process can have (close_range(2) does not mind).
_DESCRIPTORS_END = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Place:
    """Namespaces under a name ("central", "outside", "n1"), as descriptors of mount, network and UTS namespace."""

    name: str
    descriptors: tuple[int, int, int]

    @property
    def network(self) -> str:
        """A path that ip(8) takes for a network namespace, in the process that holds the place."""
        return f"/proc/{os.getpid()}/fd/{self.descriptors[1]}"

    def enter(self) -> None:
        """Move the calling process in; for a child just forked."""
        for descriptor in self.descriptors:
            linux.set_namespace(descriptor)

    @contextmanager
    def network_entered(self) -> Iterator[None]:
        """The calling thread is in the place's network meanwhile: its sockets and /proc/sys/net are of there."""
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        linux.set_namespace(self.descriptors[1])
        try:
            yield
        finally:
            linux.set_namespace(own)
            os.close(own)

    def run(self, *command: str, text: str = "") -> None:
        """Run a command in the place to its end; raises RuntimeError with what it said when it fails."""
        done = subprocess.run(  # noqa: PLW1509, RUF100  the process has one thread, so a function may run after fork
            command, input=text, capture_output=True, text=True, preexec_fn=self.enter, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} in {self.name} failed: {done.stderr.strip()}")


def here(name: str) -> Place:
    """The calling process's own namespaces as a Place."""
    return Place(name, _open("self"))


def found(name: str, state: Path, network: bool = True) -> Place:
    """A new place with a private /run, in which `state` is still to be seen.

    Without `network` it shares the caller's network namespace. Raises RuntimeError where the kernel refuses.
    """
    ready_out, ready_in = os.pipe()
    held_out, held_in = os.pipe()
    if not (child := os.fork()):
        try:
            linux.unshare(linux.NEW_MOUNTS | linux.NEW_HOST_NAME | (linux.NEW_NETWORK if network else 0))
            socket.sethostname(name)
            private_run(state)
            os.write(ready_in, b".")
            os.close(held_in)
            os.read(held_out, 1)
        finally:
            os._exit(0)
    os.close(ready_in)
    os.close(held_out)
    founded = os.read(ready_out, 1)
    try:
        if not founded:
            raise RuntimeError(f"the namespaces of {name} could not be made; see the lab's own log")
        return Place(name, _open(str(child)))
    finally:
        os.close(ready_out)
        os.close(held_in)
        os.waitpid(child, 0)


def private_run(state: Path) -> None:
    """Put an empty /run over the machine's, in this mount namespace only; `state` stays where it is."""
    # A bind mount's source must belong to this very mount namespace, so it is opened after unshare.
    kept = os.open(state, os.O_PATH)
    run = Path("/run")
    linux.mount("ovnk-lab", run, "tmpfs", linux.MOUNT_NOSUID | linux.MOUNT_NODEV, "mode=0755")
    for folder in ("netns", "openvswitch", "ovn", "ovnk", "lock"):
        (run / folder).mkdir()
    # ip(8) binds /run/netns onto itself unless it is a mount point, and so doubles the mounts it finds there: a pod's
    # namespace that was made before could not be removed any more.
    linux.mount("/run/netns", run / "netns", flags=linux.MOUNT_BIND)
    if not Path("/var/run").is_symlink():
        linux.mount("/run", Path("/var/run"), flags=linux.MOUNT_BIND)
    state.mkdir(parents=True, exist_ok=True)
    linux.mount(f"/proc/self/fd/{kept}", state, flags=linux.MOUNT_BIND | linux.MOUNT_RECURSIVE)
    os.close(kept)


def without_names() -> None:
    """Take the machine's name servers away, in this mount namespace only: nothing in a lab reaches them.

    Who looks a name up is refused at once then (resolv.conf(5): without a server it asks 127.0.0.1), where it would
    have waited for 10 s; a Python HTTPServer, for one, looks its own name up before it listens.
    """
    if (file := Path("/etc/resolv.conf")).exists():
        empty = Path("/run/resolv.conf")
        empty.write_text("# A lab has no name servers.\n")
        linux.mount(str(empty), file, flags=linux.MOUNT_BIND)


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a lab's process finds in its environment: the machine's, with the folders of system programs in PATH."""
    folders = [*os.environ.get("PATH", "").split(":"), "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
    return {**os.environ, "PATH": ":".join(dict.fromkeys(filter(None, folders))), **(extra or {})}


def child(place: Place, function: Callable[[], None]) -> int:
    """Fork a child that runs `function` in `place` and ends; its process id."""
    if process := os.fork():
        return process
    status = 1
    try:
        place.enter()
        function()
        status = 0
    finally:
        os._exit(status)


def close_all_but(kept: set[int]) -> None:
    """Close every descriptor of the calling process that is not `kept`; those are inherited by what it executes."""
    low = 0
    for descriptor in sorted(kept):
        os.set_inheritable(descriptor, True)
        # CPython 3.11 asks close_range(2) for 0 to 2**32-1 when told 0 to 0.
        if descriptor > low:
            os.closerange(low, descriptor)
        low = descriptor + 1
    os.closerange(low, _DESCRIPTORS_END)


def _open(process: str) -> tuple[int, int, int]:
    mounts, network, host_name = (os.open(f"/proc/{process}/ns/{kind}", os.O_RDONLY) for kind in NAMESPACES)
    return mounts, network, host_name
