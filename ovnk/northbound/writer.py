"""The one writer of the northbound: takes facts and differences of facts, and commits them.

It keeps no facts: what should be is the caller's knowledge, what is is the database's. In between stand the ledger
(which rows are there, which are amiss) and the quarantine (whose rows the database rejects).

    reconcile(all facts) ──▶ one select, compare, fewest changes        at a start, and when an outcome is unknown
    apply(delta)         ──▶ its changes, nothing read                  ever after
    drift() and repair() ──▶ as reconcile, for single rows              when somebody else wrote them
"""

import gc
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice

from ovnk.errors import CommitError
from ovnk.incremental.desired import Delta
from ovnk.northbound.changes import Change, MemberChange, Place, Planned, Unit, of_delta, parts, units
from ovnk.northbound.commits import Sent, failure, send
from ovnk.northbound.comparison import Rows, compare
from ovnk.northbound.facts import Fact
from ovnk.northbound.ledger import Ledger
from ovnk.northbound.ordering import CHANGES_IN_A_CLUSTER, chunks
from ovnk.northbound.quarantine import Quarantine
from ovnk.northbound.remotes import Tls
from ovnk.northbound.replica import Seen
from ovnk.northbound.schema import SINGLETON, Json
from ovnk.northbound.session import Session
from ovnk.northbound.transaction import Link, Operations, Outcome, Verdict
from ovsdb_schemas.columns import Column
from ovsdb_schemas.northbound import TABLES

# So few deletes are never held back, however large their share.
DELETES_NEVER_HELD_BACK = 10

Held = AbstractSet[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Commit:
    """What a call did. Nothing was written where `transactions` is 0.

    `quarantined` says why by owner, for those that this call could not commit. `held_back` counts the rows that
    would have been deleted but for `delete_limit`.
    """

    rows: int = 0
    operations: int = 0
    transactions: int = 0
    ms: float = 0.0
    quarantined: Mapping[str, str] = field(default_factory=dict)
    held_back: int = 0


@dataclass(frozen=True, slots=True)
class Drift:
    """Rows to look at: ours by (table, key), and others' that may look like ours by (table, UUID)."""

    rows: frozenset[Place] = frozenset()
    strangers: frozenset[Seen] = frozenset()

    def __bool__(self) -> bool:
        """Whether there is anything to look at."""
        return bool(self.rows or self.strangers)


@dataclass(slots=True)
class _Tally:
    """What the parts of one call came to."""

    rows: int = 0
    operations: int = 0
    transactions: int = 0
    quarantined: dict[str, str] = field(default_factory=dict)
    deletes: list[Change] = field(default_factory=list)
    units: list[Unit] = field(default_factory=list)


class Northbound:
    """The northbound at `remotes` ("unix:PATH", "tcp:IP:PORT", "ssl:IP:PORT", comma separated).

    With a `lock` nothing is written while another process holds it. All calls block, may come from any thread, and
    wait for each other. Raises ConfigError for remotes or TLS files that cannot be used; the TLS files are
    python-ovs', and so the whole process's.
    """

    def __init__(self, remotes: str, *, tls: Tls | None = None, lock: str | None = None) -> None:
        self._session = Session(remotes, tls, lock, self._concerns)
        self._writing = threading.RLock()
        self._synced: tuple[Link, int] | None = None
        self._ledger = Ledger()
        self._quarantine = Quarantine()
        self._on_event: Callable[[], None] = lambda: None

    def start(self, on_event: Callable[[], None]) -> None:
        """Begins to connect, and returns at once; connects again, for ever, when the connection is lost.

        `on_event` is called, in some thread, when connected, has_lock, trouble or drifted changed; it must not block.
        """
        self._on_event = on_event
        self._session.start(on_event)

    def stop(self) -> None:
        """Closes the connection, which gives the lock away."""
        self._session.stop()

    def want_lock(self, wanted: bool) -> None:
        """Ask for the lock, as from the start, or give it away: who does not lead must not keep it from who does."""
        self._session.want_lock(wanted)

    def steal_lock(self) -> None:
        """Take the lock from whoever holds it, who cannot write any more from then on."""
        self._session.steal_lock()

    @property
    def contended(self) -> bool:
        """Whether the lock is asked for and another's."""
        return self._session.contended

    @property
    def connected(self) -> bool:
        """Whether the server answers, its schema will do and, on a cluster, it is the leader."""
        return self._session.connected

    @property
    def has_lock(self) -> bool:
        """Whether we may write: connected, and the lock (if any was asked for) is ours."""
        return self._session.has_lock

    @property
    def trouble(self) -> str:
        """Why nothing can be written, and what now: not connected, or the lock is asked for and another's; else ""."""
        return self._session.trouble

    @property
    def absent(self) -> tuple[str, ...]:
        """The optional columns that the server lacks, and what is done without each."""
        return self._session.wire.present.absent

    @property
    def acl_tiers(self) -> bool:
        """Whether the server that is connected has tiers of ACLs (OVN 23.06)."""
        return "tier" in self._session.wire.present.columns["ACL"]

    @property
    def synced(self) -> bool:
        """Whether deltas suffice: reconciled since the connection was made, and no outcome unknown since."""
        link = self._session.link
        return link is not None and link.idl.connected and self._synced == (link, link.idl.generation)

    @property
    def drifted(self) -> bool:
        """Whether `drift` has something to say."""
        link = self._session.link
        return self.synced and (bool(self._ledger.amiss) or (link is not None and link.idl.drifted))

    @property
    def quarantined(self) -> Mapping[str, str]:
        """Why, by owner, for all whose rows the database rejects at present."""
        return self._quarantine.reasons()

    def reconcile(self, desired: Iterable[Fact], held: Held = frozenset(), delete_limit: float | None = None) -> Commit:
        """Makes the database what is desired, from whatever it is; writes nothing where nothing differs.

        Rows whose (owner, rule) is `held` stay as they are. Where more than the share `delete_limit` of our rows
        would be deleted, nothing is deleted. Raises CommitError.
        """
        with self._writing, _collector_paused():
            began = time.perf_counter()
            link = self._session.usable()
            generation = link.idl.generation
            compared = compare(
                desired, self._select(link, _everything(self._columns()), None), self._session.wire, held
            )
            changes, held_back = compared.changes, 0
            share = 1.0 if delete_limit is None else delete_limit
            if compared.undesired > max(DELETES_NEVER_HELD_BACK, compared.owned * share):
                changes, held_back = compared.without_deletes(), compared.undesired
            self._ledger.compared(compared)
            self._quarantine.clear()
            self._synced = (link, generation)
            most = CHANGES_IN_A_CLUSTER if link.idl.clustered else math.inf
            planned = [Planned(changes, compared.bad)]
            return self._commit(link, planned, began, held_back, None if compared.owned else most)

    def apply(self, delta: Delta) -> Commit:
        """Commits the difference. What it says about an owner in quarantine is left to `drift`.

        Raises CommitError, after which the outcome may be unknown and nothing but `reconcile` is taken.
        """
        with self._writing, _collector_paused():
            began = time.perf_counter()
            link = self._comparable()
            return self._commit(link, (of_delta(part, self._session.wire) for part in parts(delta)), began)

    def drift(self) -> Drift:
        """What is to be looked at, told once: the caller brings the facts about it to `repair`."""
        with self._writing:
            link = self._session.link
            if link is None or not self.synced:
                return Drift()
            places, self._ledger.amiss = self._ledger.amiss, set()
            strangers = set()
            for table, uuid in link.idl.take_foreign():
                if uuid in self._ledger.known:
                    places.add(self._ledger.known[uuid])
                elif TABLES[table].singleton:
                    places.add((table, SINGLETON))
                else:
                    strangers.add((table, uuid))
            return Drift(frozenset(places), frozenset(strangers))

    def repair(self, drift: Drift, facts: Iterable[Fact], held: Held = frozenset()) -> Commit:
        """Makes the rows of `drift` what they should be: `facts` are all that stand about `drift.rows`.

        Deltas that led to these facts must have been applied before. Raises CommitError.
        """
        with self._writing, _collector_paused():
            began = time.perf_counter()
            link = self._comparable()
            wire = self._session.wire
            rows = {(table, wire.uuid(table, key)) for table, key in drift.rows}
            uuids = {uuid for _, uuid in rows}
            found = self._select(link, _these(self._columns(), rows | drift.strangers), rows | drift.strangers)
            known = self._ledger.known
            compared = compare(facts, found, wire, held, lambda uuid: uuid in known and uuid not in uuids)
            self._ledger.compared_rows(compared, drift.rows, uuids)
            self._quarantine.release(drift.rows)
            return self._commit(link, [Planned(compared.changes, compared.bad)], began)

    # reading

    def _concerns(self, uuid: str) -> bool:
        return not self.synced or uuid in self._ledger.known

    def _comparable(self) -> Link:
        link = self._session.usable()
        if not self.synced:
            raise CommitError("the northbound was not compared with what is desired since it was connected: reconcile")
        return link

    def _columns(self) -> dict[str, list[str]]:
        wire = self._session.wire
        return {table: ["_uuid", *wire.owned_columns(table)] for table in wire.present.columns}

    def _select(self, link: Link, selects: list[dict[str, Json]], read: set[Seen] | None) -> Rows:
        """The rows; with the reply, what is known of changes to them (None: to any row) is void."""
        outcomes = link.commit([Operations(link, selects, read=lambda: link.idl.forget(read))])
        outcome = outcomes[0] if outcomes else Outcome(Verdict.UNKNOWN, [], "the connection was closed")
        if outcome.verdict is not Verdict.COMMITTED:
            self._synced = None
            raise failure(outcome)
        rows: dict[str, list[Mapping[str, Json]]] = {}
        for select, result in zip(selects, outcome.results, strict=True):
            rows.setdefault(select["table"], []).extend(result["rows"])
        return rows

    # writing

    def _commit(
        self,
        link: Link,
        planned: Iterable[Planned],
        began: float,
        held_back: int = 0,
        changes_most: float | None = None,
    ) -> Commit:
        """Commits the first part, then the others, each being planned while the server works on those before."""
        tally = _Tally()
        rest = iter(planned)
        try:
            for some in (islice(rest, 1), rest):
                ready: list[Unit] = []
                sent = send(link, self._chunks(some, ready, tally, changes_most), self._quarantine.refused())
                self._conclude(ready, sent, tally)
                tally.units += ready
        except CommitError:
            self._synced = None
            raise
        self._look_after(link, tally)
        if self._ledger.amiss:
            self._on_event()
        ms = (time.perf_counter() - began) * 1000
        return Commit(tally.rows, tally.operations, tally.transactions, ms, tally.quarantined, held_back)

    def _chunks(
        self, planned: Iterable[Planned], ready: list[Unit], tally: "_Tally", changes_most: float | None
    ) -> Iterator[list[Unit]]:
        """The transactions to send, and their units; what concerns an owner in quarantine is left to be compared."""
        for part in planned:
            tally.deletes += [change for change in part.changes if change.verb == "delete"]
            tally.quarantined |= part.bad
            free = []
            for unit in units(self._ledger.placeable(part.changes, self._quarantine.refused())):
                if unit.name in self._quarantine:
                    self._ledger.rejected(unit)
                    self._ledger.amiss |= unit.places() | self._quarantine.places(unit.name)
                else:
                    free.append(unit)
            ready += free
            yield from chunks(free, changes_most)

    def _conclude(self, ready: list[Unit], sent: Sent, tally: "_Tally") -> None:
        """Writes into ledger and quarantine what became of the units."""
        tally.rows += sent.rows
        tally.operations += sent.operations
        tally.transactions += sent.transactions
        tally.quarantined |= self._put_away(sent)
        self._ledger.committed(ready)
        self._ledger.look_at(uuid for _, uuid in sent.missing)

    def _put_away(self, sent: Sent) -> Mapping[str, str]:
        """Puts into quarantine what could not be committed; why, by owner."""
        rejected = []
        for unit, outcome in sent.rejected:
            self._ledger.rejected(unit)
            if outcome.error == "duplicate uuid":
                # The row is there, whatever we believed: compare.
                self._ledger.amiss |= unit.places()
            else:
                rejected.append((unit, outcome))
        for unit, _ in sent.blocked:
            self._ledger.rejected(unit)
        return self._quarantine.put_away(rejected, sent.blocked)

    def _look_after(self, link: Link, tally: "_Tally") -> None:
        """Compares the rows that went with those that were to go; what differs is amiss.

        A row of a non-root table goes when the last reference to it does. Functions withdraw or keep a row and its
        reference together, so there is hardly ever anything to find.
        """
        went = link.idl.take_deleted()
        if self._ledger.look_at(went):
            # Weak references to them went too, which shows in no version where we changed the referring row ourselves.
            self._ledger.amiss |= {
                change.place
                for unit in tally.units
                for change in unit.changes
                if isinstance(change, MemberChange) and _is_weak(TABLES[change.place[0]].columns[change.column])
            }
        stayed = {
            change.uuid: change.place
            for change in tally.deletes
            if change.uuid not in went and not TABLES[change.place[0]].root
        }
        selects = [
            {"op": "select", "table": table, "where": [[name, "includes", ["uuid", uuid]]], "columns": ["_uuid"]}
            for uuid, place in stayed.items()
            for table, stated in TABLES.items()
            for name, column in stated.columns.items()
            if column.strong and column.references == place[0]
        ]
        if selects:
            found = self._select(link, selects, set())
            if self._ledger.look_at(row["_uuid"][1] for rows in found.values() for row in rows):
                self._ledger.amiss |= set(stayed.values())


@contextmanager
def _collector_paused() -> Iterator[None]:
    """A time without garbage collection: what is made here in plenty has no cycles and is gone at the end.

    With the collector on, going through the same young objects again and again is two thirds of a large commit.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _is_weak(column: Column) -> bool:
    return bool(column.references) and not column.strong


def _everything(columns: Mapping[str, list[str]]) -> list[dict[str, Json]]:
    return [{"op": "select", "table": table, "where": [], "columns": names} for table, names in columns.items()]


def _these(columns: Mapping[str, list[str]], rows: AbstractSet[Seen]) -> list[dict[str, Json]]:
    return [
        {
            "op": "select",
            "table": table,
            "where": [["_uuid", "==", ["uuid", uuid]]] if uuid else [],
            "columns": columns[table],
        }
        for table, uuid in rows
    ]
