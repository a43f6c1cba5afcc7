"""The node's Open_vSwitch database: a replica of the rows the agent cares for, and transactions.

ovsdbapp's Connection runs python-ovs' Idl in a thread of its own; this module carries what it sees into the event
loop and what the loop wants into it. Only columns that are used are replicated: not the statistics, which change
every five seconds. Reconnecting is the Idl's business; a transaction cut off by it is composed anew, so Commands
look at the database before they write.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import structlog
from ovs.db import idl as ovs_idl
from ovsdbapp import exceptions
from ovsdbapp.backend import ovs_idl as backend
from ovsdbapp.backend.ovs_idl import command, connection, idlutils

from ovnk.contract import MANAGEMENT_INTERFACE
from ovnk.errors import CommitError

SCHEMA = "Open_vSwitch"
# ovs-vswitchd.conf.db(5). Bridge.ports is written by mutation and never read: a Port of ours is on our bridge.
COLUMNS: dict[str, tuple[str, ...]] = {
    "Open_vSwitch": ("bridges", "datapath_types", "datapaths", "external_ids", "ssl"),
    "Datapath": ("capabilities",),
    "SSL": ("private_key", "certificate", "ca_cert"),
    "Bridge": ("name", "datapath_type", "fail_mode"),
    "Port": ("name",),
    "Interface": ("name", "external_ids", "error", "mac", "mtu_request", "type"),
}

# A commit to a local server takes a millisecond; beyond this the server is away, and the caller decides.
_TIMEOUT_S = 10
_RETRY_S = 1.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Interface:
    """A row of Interface: its external_ids, and why ovs-vswitchd could not use the device ("" if it could)."""

    uuid: object
    name: str
    external_ids: Mapping[str, str]
    error: str

    @property
    def installed(self) -> bool:
        """Whether ovn-controller has put the flows of this interface's logical port in place."""
        return self.external_ids.get("ovn-installed") == "true"


class VSwitch:
    """The database at `remote`, once `connect` has returned. All methods belong to the event loop's thread."""

    def __init__(
        self, remote: str, changed: Callable[[str, Interface | None], None], settings_changed: Callable[[], None]
    ) -> None:
        """Both are called in the event loop.

        `changed` for each of our interfaces that is there, changes or goes; `settings_changed` where the database's
        root, a bridge or a datapath did.
        """
        self._remote = remote
        self._changed = changed
        self._settings_changed = settings_changed
        self._interfaces: dict[object, Interface] = {}
        self._names: dict[str, Interface] = {}
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="ovsdb")
        self._connection: Any = None
        self._api: Any = None
        self._known = asyncio.Event()

    @property
    def connected(self) -> bool:
        """Whether the server answers at this moment."""
        return self._connection is not None and self._connection.idl.connected

    def get(self, name: str) -> Interface | None:
        """One of our interfaces by name."""
        return self._names.get(name)

    async def connect(self) -> None:
        """Returns when the replica is complete; tries for ever, since OVS may start after us."""
        loop = asyncio.get_running_loop()
        told = False
        while True:
            try:
                self._connection, self._api = await loop.run_in_executor(self._threads, self._open, loop)
            except Exception as error:  # python-ovs raises no narrower one here
                if not told:
                    log.warning(
                        "the Open_vSwitch database cannot be reached yet", remote=self._remote, error=str(error)
                    )
                    told = True
                await asyncio.sleep(_RETRY_S)
            else:
                self._known.set()
                return

    async def known(self, timeout_s: float | None) -> None:
        """Returns once the replica is complete: before that, what is missing in it means nothing.

        Raises CommitError after `timeout_s`. A server that goes away later leaves the replica as it was.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._known.wait()
        except TimeoutError:
            raise CommitError(f"the Open_vSwitch database at {self._remote} cannot be reached yet") from None

    async def commit(self, *commands: command.BaseCommand) -> None:
        """One transaction of all `commands`; raises CommitError where the server refuses it or is away too long.

        A caller that is cancelled goes only after the outcome is known, so that it can undo it.
        """
        if self._api is None:
            raise CommitError(f"the Open_vSwitch database at {self._remote} cannot be reached yet")
        future = asyncio.get_running_loop().run_in_executor(self._threads, self._commit, commands)
        try:
            await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise

    async def read(self, look: Callable[[Any], Any]) -> Any:
        """What `look` makes of the replica's tables, while nothing changes them."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, look)

    @property
    def api(self) -> Any:
        """What Commands are made with."""
        return self._api

    def close(self) -> None:
        """Ends the connection and its threads."""
        self._threads.shutdown()
        if self._connection is not None:
            self._connection.stop()

    def _open(self, loop: asyncio.AbstractEventLoop) -> tuple[Any, Any]:
        helper = idlutils.get_schema_helper(self._remote, SCHEMA)
        for table, columns in COLUMNS.items():
            helper.register_columns(table, list(columns))
        replica = _Replica(
            self._remote,
            helper,
            lambda rows, whole: _call(loop, self._apply, rows, whole),
            lambda: _call(loop, self._settings_changed),
        )
        opened = connection.Connection(replica, _TIMEOUT_S)

        # ovsdbapp keeps the connection on the class: one class, one connection.
        class Api(backend.Backend):  # type: ignore[misc]  # ovsdbapp has no types
            schema = SCHEMA

        return opened, Api(opened)

    def _apply(self, rows: list[tuple[object, Interface | None]], whole: bool) -> None:
        """Takes rows by UUID (None: gone); `whole` means that there are no others."""
        if whole:
            present = {uuid for uuid, _ in rows}
            rows = [*((uuid, None) for uuid in self._interfaces if uuid not in present), *rows]
        for uuid, interface in rows:
            if interface is not None:
                self._interfaces[uuid] = self._names[interface.name] = interface
                self._changed(interface.name, interface)
            elif (gone := self._interfaces.pop(uuid, None)) and self._names[gone.name] is gone:
                # One update may hold a row and its successor of the same name, in any order.
                del self._names[gone.name]
                self._changed(gone.name, None)

    def _commit(self, commands: tuple[command.BaseCommand, ...]) -> None:
        try:
            transaction = self._api.create_transaction(check_error=True, log_errors=False)
            for one in commands:
                transaction.add(one)
            transaction.commit()
        except exceptions.TimeoutException as error:
            raise CommitError(f"the Open_vSwitch database at {self._remote} does not answer") from error
        except RuntimeError as error:
            raise CommitError(f"the Open_vSwitch database refused a change: {error}") from error

    def _read(self, look: Callable[[Any], Any]) -> Any:
        with self._connection.lock:
            return look(self._connection.idl.tables)


class _Replica(connection.OvsdbIdl):  # type: ignore[misc]  # ovsdbapp has no types
    """The Idl, telling of interfaces: each change, and all of them once a (re)connection has brought the whole."""

    def __init__(
        self,
        remote: str,
        helper: Any,
        tell: Callable[[list[tuple[object, Interface | None]], bool], None],
        settings_changed: Callable[[], None],
    ) -> None:
        super().__init__(remote, helper)
        self._tell = tell
        self._settings_changed = settings_changed
        self._root: object = None

    @property
    def connected(self) -> bool:
        return bool(self._session.is_connected())

    def cooperative_yield(self) -> None:
        """Nothing: ovsdbapp would sleep(0) for each row."""

    def notify(self, event: str, row: Any, updates: Any = None) -> None:
        """Called in the Idl's thread, after all rows of a message are in place."""
        table = row._table.name  # noqa: SLF001  python-ovs offers no other way to a row's table
        if table == "Interface":
            self._tell([(row.uuid, None if event == ovs_idl.ROW_DELETE else _interface(row))], False)
        elif table in ("Open_vSwitch", "Bridge", "Datapath"):
            self._settings_changed()
        if table == "Open_vSwitch" and (event == ovs_idl.ROW_CREATE or row.uuid != self._root):
            # The one root row is created when a whole dump arrives. On a reconnection python-ovs has dropped the
            # rows from before without a word, so this is how their absence is learnt. Of a row that is all defaults,
            # as in a database made anew, it says nothing before the row's first update.
            self._root = row.uuid
            rows = [(one.uuid, _interface(one)) for one in self.tables["Interface"].rows.values()]
            self._tell([pair for pair in rows if pair[1] is not None], True)


def _interface(row: Any) -> Interface | None:
    """The row, or None where it is neither a pod's nor the node's own port."""
    external_ids = row.external_ids
    if "ovnk-container-id" not in external_ids and row.name != MANAGEMENT_INTERFACE:
        return None
    return Interface(row.uuid, row.name, external_ids, row.error[0] if row.error else "")


def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: object) -> None:
    """Runs it in the event loop; a loop that has ended has no more use for it."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(function, *arguments)
