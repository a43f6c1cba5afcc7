"""A northbound, a southbound and a northd that nothing else uses, and ovn-trace to ask what packets would become.

No Open vSwitch and no packet: what northd makes of a northbound takes some 10 ms, and a question 0.2 ms, so that
thousands are asked where a lab would answer tens.
"""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from ovnk.northbound.facts import Fact
from ovnk.northbound.writer import Northbound
from tests.northbound.conftest import Writer
from tests.ovsdb import OvsdbServer, ovsdb_server

SOUTHBOUND = Path("/usr/share/ovn/ovn-sb.ovsschema")

# A microflow (ovn-trace(8)) in, ovn-trace's minimal output out.
Ask = Callable[[str], str]


class Scratch:
    """Both databases and northd, running."""

    def __init__(self, folder: Path, northbound: OvsdbServer, southbound: OvsdbServer, writer: Northbound) -> None:
        self._folder, self._northbound, self._southbound, self._writer = folder, northbound, southbound, writer
        self._numbers = count()

    def hold(self, facts: Iterable[Fact]) -> None:
        """Have the northbound hold just these, and northd make logical flows of them."""
        commit = self._writer.reconcile(facts)
        assert not commit.quarantined, commit.quarantined
        _run("ovn-nbctl", f"--db={self._northbound.remote}", "--timeout=30", "--wait=sb", "sync")

    def logical_flows(self) -> int:
        """How many rows northd has made of what was held last; one for many switches counts once."""
        (reply,) = self._southbound.transact(
            {"op": "select", "table": "Logical_Flow", "where": [], "columns": ["_uuid"]}
        )
        return len(reply["rows"])

    @contextmanager
    def tracing(self, state: str, lookups: int) -> Iterator[Ask]:
        """ovn-trace over the flows as they are now: it reads them once.

        Its first `lookups` connection tracking look-ups all say `state`, such as "new" (ovn-trace(8), --ct); each
        connection takes at most five. The states are used up over all questions, hence so many.
        """
        # The one before may still be on its way out, and would take its successor's files with it.
        name = f"trace{next(self._numbers)}"
        pid, control, log = (self._folder / f"{name}.{kind}" for kind in ("pid", "ctl", "log"))
        options = [f"--db={self._southbound.remote}", f"--pidfile={pid}", f"--unixctl={control}"]
        options += [f"--log-file={log}", "-vconsole:off", "-vsyslog:off"]
        _run("ovn-trace", *[f"--ct={state}"] * lookups, "--minimal", "--detach", "--no-chdir", *options)
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(30)
                connection.connect(str(control))
                yield lambda microflow: _asked(connection, microflow)
            # A match that is no expression is a flow that is not there, and ovn-controller says so no louder.
            assert "|WARN|" not in (said := log.read_text()), said
        finally:
            os.kill(int(pid.read_text()), signal.SIGTERM)


@contextmanager
def scratch(folder: Path) -> Iterator[Scratch]:
    """One that is empty; all of it is gone at the end."""
    with ovsdb_server(folder / "nb") as northbound, ovsdb_server(folder / "sb", SOUTHBOUND) as southbound:
        command = ["ovn-northd", f"--ovnnb-db={northbound.remote}", f"--ovnsb-db={southbound.remote}", "--no-chdir"]
        options = ["-vconsole:off", f"--unixctl={folder / 'northd.ctl'}"]
        northd = subprocess.Popen([*command, *options], env={**os.environ, "OVN_RUNDIR": str(folder)})
        writer = Writer(northbound.remote).ready()
        try:
            yield Scratch(folder, northbound, southbound, writer)
        finally:
            writer.stop()
            northd.terminate()
            northd.wait()


def _asked(connection: socket.socket, microflow: str) -> str:
    """One JSON-RPC request to the daemon, as ovs-appctl makes it."""
    request = {"method": "trace", "params": ["--minimal", microflow], "id": 0}
    connection.sendall(json.dumps(request).encode())
    received = b""
    while True:
        piece = connection.recv(1 << 20)
        assert piece, "ovn-trace closed the connection"
        received += piece
        try:
            reply = json.loads(received)
        except ValueError:
            continue
        assert reply["error"] is None, f"{microflow}: {reply['error']}"
        return str(reply["result"])


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, f"{command[0]}: {done.stderr}"
