"""Transactions: commands of raw OVSDB operations, several in a batch, two of them in flight.

ovsdbapp's Connection runs them, its Command carries them, python-ovs' Transaction.add_op sends them: rows are never
python objects, and the server works on one transaction while the next is being encoded. What an outcome means for
those who asked is not decided here.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from enum import Enum
from typing import Any, NamedTuple

import ovs.db.idl
import ovs.poller
from ovsdbapp.backend.ovs_idl import command, connection, idlutils, transaction

from ovnk.northbound.replica import Replica, Seen
from ovnk.northbound.schema import Json

_IN_FLIGHT = 4
# Who waits for replies looks so often whether it is to end.
_LOOK_S = 0.25
_Status = ovs.db.idl.Transaction

# What one owner's facts can cause; any other error is of the server as a whole (read-only, disk full, …).
_OF_THE_ROWS = frozenset(
    {
        "constraint violation",
        "referential integrity violation",
        "domain error",
        "range error",
        "duplicate uuid",
        "syntax error",
        "ovsdb error",  # what has no name of its own, such as an element given twice
    }
)


class Verdict(Enum):
    """What became of a transaction."""

    COMMITTED = "committed"
    REJECTED = "rejected"  # these rows cannot be; the server is fine
    REFUSED = "refused"  # the server takes no transaction, whatever is in it
    NOT_LOCKED = "not locked"
    UNKNOWN = "unknown"  # no reply: it may have been committed or not


class Outcome(NamedTuple):
    """A transaction's verdict, the reply (a result an operation) and, where it was not committed, the reason."""

    verdict: Verdict
    results: list[Any]
    error: str = ""
    details: str = ""


class Operations(command.BaseCommand):  # type: ignore[misc]  # ovsdbapp has no types
    """The one Command: operations as RFC 7047 §5.2 writes them, one transaction.

    `touched` are the rows it writes. `read` is called, in the connection's thread, when it was committed: what a
    select brought is then all there is, no message of a later change was looked at yet.
    """

    def __init__(
        self,
        api: "Link",
        operations: list[dict[str, Json]],
        touched: Collection[Seen] = (),
        read: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(api)
        self.operations = operations
        self.touched = touched
        self.read = read

    def run_idl(self, txn: Any) -> None:
        """Puts the operations into the transaction."""
        for operation in self.operations:
            txn.add_op(operation)


class Link(connection.Connection):  # type: ignore[misc]  # ovsdbapp has no types
    """ovsdbapp's connection, run in the caller's own thread and not waiting for a server that may be away."""

    idl: Replica

    def __init__(self, idl: Replica, reply_s_max: float) -> None:
        super().__init__(idl, reply_s_max)
        self._gate = threading.Lock()

    def serve(self) -> None:
        """Runs the connection until `end` is called."""
        self.poller = ovs.poller.Poller()
        self.is_running = True
        self.run()
        with self._gate:
            while (late := self.txns.get_nowait()) is not None:
                late.results.put([])

    def end(self) -> None:
        """Makes `serve` return; from any thread."""
        self.is_running = False
        self.txns.alert_notify()

    def commit(self, commands: Iterable[Operations]) -> list[Outcome]:
        """The outcomes, in order, up to the first that is not COMMITTED and what was in flight with it.

        Blocks the caller until then; a transaction without a reply is UNKNOWN after `reply_s_max`. Nothing comes
        out where the connection was ended. One caller at a time.
        """
        batch = _Batch(self, iter(commands))
        with self._gate:
            if not self.is_running:
                return []
            self.queue_txn(batch)
        result = batch.results.get()
        if isinstance(result, idlutils.ExceptionResult):
            raise result.ex
        outcomes: list[Outcome] = result
        return outcomes


class _Batch(transaction.Transaction):  # type: ignore[misc]  # ovsdbapp has no types
    """ovsdbapp's transaction, but its commands are transactions of their own, and it never tries anything twice.

    The stock one sends again what had no reply, which for an insert with a given UUID turns success into an error.
    """

    def __init__(self, link: Link, commands: Iterator[Operations]) -> None:
        super().__init__(link, link)
        self._link = link
        self._commands = commands

    def do_commit(self) -> list[Outcome]:
        """Sends and collects; in the connection's thread."""
        idl = self._link.idl
        outcomes: list[Outcome] = []
        flying: deque[_Transaction] = deque()
        deadline = time.monotonic() + self.timeout
        more = True
        while more or flying:
            while more and len(flying) < _IN_FLIGHT:
                following = next(self._commands, None)
                if following is None:
                    more = False
                else:
                    flying.append(_launch(idl, following))
                    more = flying[-1].pending
            idl.run()
            while flying and not flying[0].pending:
                outcome = flying.popleft().outcome()
                deadline = time.monotonic() + self.timeout
                outcomes.append(outcome)
                more = more and outcome.verdict is Verdict.COMMITTED
            if not flying:
                continue
            if not idl.connected or not self._link.is_running or time.monotonic() > deadline:
                if not self._link.is_running:
                    reason = "we are stopping"
                else:
                    reason = "no reply in time" if idl.connected else "the connection was lost"
                outcomes += [Outcome(Verdict.UNKNOWN, [], reason)] * len(flying)
                if idl.connected:
                    idl.force_reconnect()
                break
            _wait(idl, min(deadline, time.monotonic() + _LOOK_S))
        return outcomes


class _Transaction(ovs.db.idl.Transaction):  # type: ignore[misc]  # python-ovs has no types
    """python-ovs' transaction, keeping the reply, which the stock one throws away, and telling the replica of it."""

    def __init__(self, idl: Replica, asked: Operations) -> None:
        super().__init__(idl)
        self.asked = asked
        self.results: list[Any] = []
        self.refusal: dict[str, Any] = {}

    @property
    def pending(self) -> bool:
        """Whether the reply is yet to come."""
        return bool(self._status == _Status.INCOMPLETE)

    def outcome(self) -> Outcome:
        """What became of it."""
        if self._status in (_Status.SUCCESS, _Status.UNCHANGED):
            return Outcome(Verdict.COMMITTED, self.results)
        if self._status == _Status.NOT_LOCKED:
            return Outcome(Verdict.NOT_LOCKED, [])
        if self._status == _Status.TRY_AGAIN:
            return Outcome(Verdict.UNKNOWN, [], "the connection was lost")
        error, details = str(self.refusal.get("error", "unknown error")), str(self.refusal.get("details", ""))
        return Outcome(Verdict.REJECTED if error in _OF_THE_ROWS else Verdict.REFUSED, [], error, details)

    def _process_reply(self, msg: Any) -> None:
        super()._process_reply(msg)
        results = msg.result if isinstance(msg.result, list) else [msg.error]
        self.refusal = next((result for result in results if isinstance(result, dict) and result.get("error")), {})
        # With a lock, python-ovs puts an "assert" before our operations.
        self.results = results[1:] if self.idl.lock_name else results
        committed = self._status == _Status.SUCCESS
        self.idl.landed(self, self.asked.touched if committed else ())
        if committed and self.asked.read is not None:
            self.asked.read()


def _launch(idl: Replica, asked: Operations) -> _Transaction:
    launched = _Transaction(idl, asked)
    asked.run_idl(launched)
    launched.commit()
    if launched.pending:
        idl.launched(launched)
    return launched


def _wait(idl: Replica, deadline: float) -> None:
    poller = ovs.poller.Poller()
    idl.wait(poller)
    poller.timer_wait(max(1, int((deadline - time.monotonic()) * 1000)))
    poller.block()
