"""The replica: which rows of the northbound somebody else changed, and nothing more.

The rows themselves are not kept: a start reads them once (`select`), and what they should be is known elsewhere. What
is watched is each row's `_version`, which the server changes with every change of any column, so that drift in a
large set is noticed without replicating the set.

Our own commits are told from others' by order: the server sends a transaction's changes directly before its reply
(ovsdb-server 3.1, ovsdb_jsonrpc_session_send). So a row that our transaction touched may show up once before the
reply, and whatever else shows up is somebody else's doing.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping
from typing import Any

import ovs.db.idl
import ovs.jsonrpc
from ovsdbapp.backend.ovs_idl import connection

from ovnk.northbound import patience
from ovsdb_schemas.check import Present
from ovsdb_schemas.northbound import DATABASE, TABLES

_VERSION = "_version"
# A refusal holds for so long; it is asked again sooner.
_REFUSAL_S = 2.0

# (table, UUID) of a row
Seen = tuple[str, str]

# What a daemon writes in rows of ours; a change that comes with one of these is the daemon's.
_DAEMON_COLUMNS = {
    table: frozenset(name for name, column in stated.columns.items() if column.written_by)
    for table, stated in TABLES.items()
}


class Replica(connection.OvsdbIdl):  # type: ignore[misc]  # ovsdbapp has no types
    """python-ovs' Idl (connection, leader, lock, monitor), keeping changes in place of rows.

    `concerns` says whether a change of the row with that UUID matters to us. `woken` is called in the connection's
    thread after messages were processed; it must not block.
    """

    lock_name: str | None

    def __init__(
        self,
        remotes: str,
        schema_json: Mapping[str, Any],
        present: Present,
        concerns: Callable[[str], bool],
        woken: Callable[[], None],
    ) -> None:
        self._schema_question = _SchemaQuestion(schema_json)
        super().__init__(remotes, _Watched(schema_json, present))
        for name, table in self.tables.items():
            if not TABLES[name].singleton:
                # No column of the schema, but ovsdb-server monitors it as one. The Idl only asks for its name.
                table.columns[_VERSION] = None
        # counts connections: what was known before the last one is void
        self.generation = 0
        # Why no lock was given, to nobody, and when that was.
        self._refusal, self._refused, self._leaves = "", 0.0, False
        self._lost: float | None = None
        self._concerns = concerns
        self._woken = woken
        self._flying: set[Hashable] = set()
        self._seen: Counter[Seen] = Counter()
        self._deleted: set[str] = set()
        self._foreign: set[Seen] = set()
        self._foreign_lock = threading.Lock()

    @property
    def connected(self) -> bool:
        """Whether the server answers and takes writes, has the schema expected, and the monitor is established."""
        return (
            bool(self._session.is_connected())
            and not self.refusal
            and self.state == self.IDL_S_MONITORING
            and self._schema_question.answered
            and not self._schema_question.differs
        )

    @property
    def clustered(self) -> bool:
        """Whether the server is one of several that agree on every transaction."""
        databases = list(self.server_tables["Database"].rows.values()) if self.server_tables else []
        return any(row.name == DATABASE and row.model == ovs.db.idl.CLUSTERED for row in databases)

    @property
    def refusal(self) -> str:
        """Why the server takes no writes from anybody, being a backup; "" when it may."""
        return self._refusal if time.monotonic() < self._refused + _REFUSAL_S else ""

    @property
    def drifted(self) -> bool:
        """Whether others changed anything that was not taken yet."""
        return bool(self._foreign)

    @property
    def outdated(self) -> bool:
        """Whether the server has another schema than the one this Idl was made for."""
        return self._schema_question.differs

    def take_foreign(self) -> set[Seen]:
        """The rows that others changed since the last time."""
        with self._foreign_lock:
            taken, self._foreign = self._foreign, set()
        return taken

    def take_deleted(self) -> set[str]:
        """The UUIDs of the rows that went, whoever's doing it was, while transactions of ours were on their way."""
        taken, self._deleted = self._deleted, set()
        return taken

    def forget(self, read: Collection[Seen] | None) -> None:
        """These rows (None: all) were just read, so what is known to have changed is in what was read."""
        with self._foreign_lock:
            for row in list(self._seen) if read is None else read:
                self._seen.pop(row, None)
            self._foreign.difference_update(set(self._foreign) if read is None else read)

    def launched(self, transaction: Hashable) -> None:
        """A transaction of ours is on its way."""
        self._flying.add(transaction)

    def landed(self, transaction: Hashable, touched: Collection[Seen]) -> None:
        """Its reply is there, or will never come; `touched` are the rows it changed, if it was committed."""
        self._flying.discard(transaction)
        for row in touched:
            count = self._seen.pop(row, 0)
            if count > 1:
                self._seen[row] = count - 1
        self._settle()

    def steal_lock(self) -> None:
        """Takes the lock from whoever holds it (RFC 7047 §4.1.8); python-ovs only knows how to wait for one."""
        name = self.lock_name
        self.set_lock(None)  # a lock that is being waited for cannot be stolen
        self.lock_name = name
        self._lock_request_id = self._Idl__do_send_lock_request("steal")

    # python-ovs' hooks

    def cooperative_yield(self) -> None:
        """Nothing: this thread is a real one, and ovsdbapp's sleep(0) a row is dear."""

    def run(self) -> bool:
        """Processes what has come. An error that python-ovs lets through (TLS set-up) is slept over, not spun upon."""
        try:
            changed = bool(super().run())
        except OSError:
            time.sleep(1)
            changed = False
        if self._leaves:
            # Not where the refusal was read: whatever is read after it would undo this.
            self._leaves = False
            self._session.force_reconnect()
        if not self._flying:
            self._settle()
        self._pace()
        self._woken()
        return changed

    def restart_fsm(self) -> None:
        """A new connection, or the server dropped its monitors: all that was known is void."""
        self.generation += 1
        self._flying.clear()
        super().restart_fsm()
        # The Idl takes it that schemas never change. (_Server tells them, but not of a database that was converted:
        # ovsdb-server 3.1.)
        question = ovs.jsonrpc.Message.create_request("get_schema", [DATABASE])
        self._schema_question.answered = False
        self._outstanding_txns[question.id] = self._schema_question
        self._session.send(question)

    def _Idl__txn_process_reply(self, message: Any) -> Any:  # noqa: N802  theirs
        # python-ovs does not look at an error in answer to "lock". This is where it ends up. The active server may be
        # the next one, or this one soon, and then a session that began before is read-only still (ovsdb-server 3.1).
        if message.type == ovs.jsonrpc.Message.T_ERROR and message.id == self._lock_request_id:
            self._refusal, self._refused, self._leaves = str(message.error), time.monotonic(), True
            return True
        return super()._Idl__txn_process_reply(message)

    def _Idl__parse_lock_reply(self, result: Any) -> None:  # noqa: N802  theirs
        self._refusal = ""
        super()._Idl__parse_lock_reply(result)

    def _Idl__parse_update(self, update: Any, version: str, tables: Any = None) -> None:  # noqa: N802  theirs
        # python-ovs' public hook (notify) is for rows that it has stored, and those cost 32 MB for 10,000 ports. This
        # private one is where it would store them. A test fails should a later version go another way.
        if tables is not None:
            super()._Idl__parse_update(update, version, tables)  # the server's own database, _Server
            return
        for table, rows in update.items():
            by_daemon = _DAEMON_COLUMNS[table]
            for uuid, change in rows.items():
                modified = change.get("modify")
                if modified is not None and not by_daemon.isdisjoint(modified):
                    continue
                if "delete" in change and self._flying:
                    self._deleted.add(uuid)
                if "insert" in change or ("initial" not in change and self._concerns(uuid)):
                    self._seen[table, uuid] += 1

    def _pace(self) -> None:
        """Has the next try to connect made soon: python-ovs would wait for a second at least, as ovn-northd does."""
        if self.connected:
            self._lost = None
            return
        now = time.monotonic()
        self._lost = now if self._lost is None else self._lost
        self._session.reconnect.backoff = int(1000 * patience.pause_s(now - self._lost))

    def _settle(self) -> None:
        if self._seen:
            with self._foreign_lock:
                self._foreign.update(self._seen)
                self._seen.clear()


class _SchemaQuestion:
    """The question whether the schema is still the same, in the place of a transaction: the Idl hands it the reply."""

    def __init__(self, expected: Mapping[str, Any]) -> None:
        self._expected = (expected.get("version"), expected.get("tables"))
        self._status = ""
        self.answered = False
        self.differs = False

    def _process_reply(self, message: Any) -> None:
        schema = message.result or {}
        self.answered = True
        self.differs = (schema.get("version"), schema.get("tables")) != self._expected


class _Watched(ovs.db.idl.SchemaHelper):  # type: ignore[misc]  # python-ovs has no types
    """The schema cut down to what is watched beside `_version`: what tells a daemon's change; a singleton's maps."""

    def __init__(self, schema_json: Mapping[str, Any], present: Present) -> None:
        super().__init__(schema_json=schema_json)
        self._present = present

    def get_idl_schema(self) -> Any:
        """The schema for the Idl."""
        for table in self._present.columns:
            self.register_table(table)
        schema = super().get_idl_schema()
        for name, table in schema.tables.items():
            stated = TABLES[name]
            maps = {column for column, definition in stated.columns.items() if definition.kind == "map"}
            watched = self._present.columns[name] & (maps if stated.singleton else _DAEMON_COLUMNS[name])
            table.columns = {column: table.columns[column] for column in watched}
        return schema
