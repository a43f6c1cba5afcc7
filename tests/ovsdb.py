"""A real ovsdb-server of a test's own: started, killed, moved, dumped. Nothing of the machine's own OVS is touched.

The dump speaks OVSDB by itself, so that what is checked does not depend on the code under test.
"""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NORTHBOUND = Path("/usr/share/ovn/ovn-nb.ovsschema")
OPEN_VSWITCH = Path("/usr/share/openvswitch/vswitch.ovsschema")


class OvsdbServer:
    """One ovsdb-server with one database in `folder`; not running until `start`."""

    def __init__(self, folder: Path, schema: Path = NORTHBOUND, name: str = "db") -> None:
        self.folder, self.schema_file, self.name = folder, schema, name
        self.database = folder / f"{name}.db"
        self.socket = folder / f"{name}.sock"
        self.pid = 0
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.create()

    @property
    def remote(self) -> str:
        """How clients reach it."""
        return f"unix:{self.socket}"

    @property
    def database_name(self) -> str:
        """The name of its database, as in the schema."""
        return str(json.loads(self.schema_file.read_text())["name"])

    def create(self, schema: Path | None = None) -> None:
        """An empty database in place of the one there was."""
        self.schema_file = schema or self.schema_file
        self.database.unlink(missing_ok=True)
        subprocess.run(["ovsdb-tool", "create", self.database, self.schema_file], check=True)

    def start(self, *options: str) -> "OvsdbServer":
        """Starts it on its unix socket; `options` are ovsdb-server's ("--remote=ptcp:PORT:127.0.0.1", …)."""
        command = [
            "ovsdb-server",
            "--no-chdir",
            f"--remote=punix:{self.socket}",
            f"--unixctl={self.folder / self.name}.ctl",
            "-vconsole:off",
            f"--log-file={self.folder / self.name}.log",
        ]
        self.socket.unlink(missing_ok=True)
        self._process = subprocess.Popen(
            [*command, *options, str(self.database)], env={**os.environ, "OVS_RUNDIR": str(self.folder)}
        )
        self.pid = self._process.pid
        deadline = time.monotonic() + 10
        while not self._answers():
            assert self._process.poll() is None, (self.folder / f"{self.name}.log").read_text()
            assert time.monotonic() < deadline, "ovsdb-server does not start"
            time.sleep(0.01)
        return self

    def freeze(self) -> None:
        """SIGSTOP: it keeps its connections and answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def transact(self, *operations: dict[str, Any]) -> list[Any]:
        """The results of the operations, one transaction; fails the test on an error."""
        reply = self.call("transact", [self.database_name, *operations])
        errors = [result for result in reply if result and "error" in result]
        assert not errors, errors
        return reply

    def call(self, method: str, parameters: list[Any]) -> Any:
        """The result of any OVSDB method."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30)
            connection.connect(str(self.socket))
            connection.sendall(json.dumps({"method": method, "params": parameters, "id": 0}).encode())
            received = b""
            while True:
                piece = connection.recv(1 << 20)
                assert piece, "ovsdb-server closed the connection"
                received += piece
                if piece.endswith(b"}"):
                    try:
                        reply = json.loads(received)
                    except ValueError:
                        continue
                    assert reply["error"] is None, reply["error"]
                    return reply["result"]

    def tables(self) -> dict[str, Any]:
        """The tables of its schema."""
        tables: dict[str, Any] = json.loads(self.schema_file.read_text())["tables"]
        return tables

    def versions(self) -> dict[str, str]:
        """Every row's _version: equal before and after means that nothing was written."""
        return {row["_uuid"][1]: row["_version"][1] for rows in self.select().values() for row in rows}

    def size(self) -> int:
        """The database file's size: it grows with every transaction that changes anything."""
        return self.database.stat().st_size

    def select(self) -> dict[str, list[dict[str, Any]]]:
        """Every table's rows as the server writes them; tables without rows are left out."""
        tables = list(self.tables())
        replies = self.transact(*({"op": "select", "table": table, "where": []} for table in tables))
        return {table: reply["rows"] for table, reply in zip(tables, replies, strict=True) if reply["rows"]}

    def _answers(self) -> bool:
        try:
            self.call("list_dbs", [])
        except OSError:
            return False
        return True


@contextmanager
def ovsdb_server(folder: Path, schema: Path = NORTHBOUND, name: str = "db") -> Iterator[OvsdbServer]:
    """A running server, gone at the end."""
    server = OvsdbServer(folder, schema, name)
    try:
        yield server.start()
    finally:
        server.kill()


def older_schema(folder: Path, *lacking: tuple[str, str]) -> Path:
    """OVN's schema without those columns."""
    schema = json.loads(NORTHBOUND.read_text())
    for table, column in lacking:
        del schema["tables"][table]["columns"][column]
    schema.pop("cksum", None)
    file = folder / "older.ovsschema"
    file.write_text(json.dumps(schema))
    return file


def dump(server: OvsdbServer) -> dict[tuple[str, str], dict[str, Any]]:
    """Every row by (table, UUID), with the columns that are not empty: sets as frozensets, maps as dicts.

    References are UUIDs. _version is left out.
    """
    tables = server.tables()
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for table, found in server.select().items():
        for row in found:
            columns = rows[table, row["_uuid"][1]] = {}
            for name, definition in tables[table]["columns"].items():
                value = _plain(row[name], definition["type"])
                if value not in (frozenset(), {}, "", 0, False):
                    columns[name] = value
    return rows


def _plain(value: Any, definition: Any) -> Any:
    if isinstance(definition, dict) and "value" in definition:
        return {key: _atom(element) for key, element in value[1]}
    is_set = isinstance(definition, dict) and (definition.get("min", 1), definition.get("max", 1)) != (1, 1)
    if not is_set:
        return _atom(value)
    inside = value[1] if isinstance(value, list) and value[0] == "set" else [value]
    return frozenset(map(_atom, inside))


def _atom(value: Any) -> Any:
    return value[1] if isinstance(value, list) else value
