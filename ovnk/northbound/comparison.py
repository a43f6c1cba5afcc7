"""Comparison: what the database has against what is desired, and the fewest changes that make them one.

Serves a start (every table, read whole) and the repair of single rows alike. Pure: it is given the rows.

What is whose: a row is ours if it bears our mark or has the UUID of a desired row; any other row is foreign and is
left alone. In our rows every stated column is ours, but for those a daemon writes; a column that is not stated is
not. In our rows' sets of references, an element that refers to a foreign row stays: an operator may attach a port
of his own to our switch. Elements that are plain values carry no mark, so the undesired ones go.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from ovnk.northbound import schema
from ovnk.northbound.changes import Change, MemberChange, Place, RowChange, insertion, member_change
from ovnk.northbound.facts import Fact, Row
from ovnk.northbound.schema import BadFact, Json, Wire
from ovsdb_schemas.columns import Column
from ovsdb_schemas.northbound import TABLES

# table → its rows as `select` gives them, with "_uuid" and all columns that are ours
Rows = Mapping[str, Iterable[Mapping[str, Json]]]


@dataclass(slots=True)
class Comparison:
    """The changes; the rows that are ours, by UUID; and what stands in the way of a desired fact.

    `waiting` holds the places of members that refer to, or stand in, a row that is nowhere: UUID → places. The rows
    that such a member would keep alive are `wanted`.
    `owned` counts our rows as they were read, `undesired` those of them that go.
    """

    changes: list[Change] = field(default_factory=list)
    known: dict[str, Place] = field(default_factory=dict)
    waiting: dict[str, set[Place]] = field(default_factory=dict)
    wanted: set[str] = field(default_factory=set)
    bad: dict[str, str] = field(default_factory=dict)
    owned: int = 0
    undesired: int = 0

    def without_deletes(self) -> list[Change]:
        """The changes that take nothing away; the entry of a map that changes its value is not taken away."""
        return [change for change in self.changes if change.verb not in ("delete", "remove")]


def compare(
    desired: Iterable[Fact],
    rows: Rows,
    wire: Wire,
    held: AbstractSet[tuple[str, str]] = frozenset(),
    elsewhere: Callable[[str], bool] | None = None,
) -> Comparison:
    """The changes that make `rows` what is `desired`.

    Rows whose (owner, rule) is `held`, and elements that refer to them, stay as they are; so do rows that refer to
    one of them strongly. Where `rows` are not the whole database, `elsewhere` says whether a UUID is of a row of ours
    that exists but is not among them.
    """
    return _Comparing(wire, held, elsewhere).run(desired, rows)


class _Comparing:
    def __init__(self, wire: Wire, held: AbstractSet[tuple[str, str]], elsewhere: Callable[[str], bool] | None) -> None:
        self.wire = wire
        self.held_marks = held
        self.whole = elsewhere is None
        self.elsewhere: Callable[[str], bool] = elsewhere or (lambda uuid: False)
        self.result = Comparison()
        self.rows: dict[str, Row] = {}
        self.members: defaultdict[str, defaultdict[str, list[MemberChange]]] = defaultdict(lambda: defaultdict(list))
        self.marks: dict[str, tuple[str, str]] = {}
        self.existing: set[str] = set()
        self.held: set[str] = set()

    def run(self, desired: Iterable[Fact], rows: Rows) -> Comparison:
        result = self.result
        self._read(rows)
        self._note(desired)
        undesired: list[tuple[str, Mapping[str, Json]]] = []
        for table, row in _each(rows):
            uuid = row["_uuid"][1]
            if uuid in self.rows:
                if uuid not in self.held:
                    self._row(table, uuid, row)
            elif TABLES[table].singleton:
                self._columns(table, uuid, row, {}, strangers_too=False)
            elif uuid in self.marks:
                undesired.append((table, row))
        result.owned = len(self.marks)
        for table, row in self._deletable(undesired):
            uuid = row["_uuid"][1]
            result.changes.append(RowChange("delete", (table, ""), uuid, self.marks[uuid][0], {}))
            result.undesired += 1
        for uuid, fact in self.rows.items():
            result.known[uuid] = (fact.table, fact.key)
            if uuid not in self.existing:
                self._insert(fact, uuid)
        for uuid, columns in self.members.items():
            if uuid not in self.rows and uuid not in self.existing:
                places = {change.place for changes in columns.values() for change in changes}
                result.waiting.setdefault(uuid, set()).update(places)
        return result

    def _read(self, rows: Rows) -> None:
        for table, row in _each(rows):
            uuid = row["_uuid"][1]
            self.existing.add(uuid)
            if TABLES[table].singleton:
                self.wire.singletons[table] = uuid
                self.result.known[uuid] = (table, schema.SINGLETON)
            elif mark := schema.mark(table, row):
                self.marks[uuid] = mark
                if mark in self.held_marks:
                    self.held.add(uuid)

    def _note(self, desired: Iterable[Fact]) -> None:
        for fact in desired:
            if isinstance(fact, Row):
                self.rows[schema.uuid_text(fact.table, fact.key)] = fact
                continue
            try:
                change = member_change("add", fact, self.wire)
            except BadFact as error:
                self.result.bad[f"{fact.table} {fact.key}"] = str(error)
            else:
                if change is not None:
                    self.members[change.uuid][change.column].append(change)

    def _insert(self, row: Row, uuid: str) -> None:
        try:
            self.result.changes.append(insertion(row, self.wire))
        except BadFact as error:
            self.result.bad[row.owner] = str(error)
            return
        for members in self.members.get(uuid, {}).values():
            self.result.changes += self._possible(members)

    def _row(self, table: str, uuid: str, actual: Mapping[str, Json]) -> None:
        row = self.rows[uuid]
        self.marks.setdefault(uuid, (row.owner, row.rule))
        try:
            expected = self.wire.columns(row)
        except BadFact as error:
            self.result.bad[row.owner] = str(error)
            return
        update = self._columns(table, uuid, actual, expected)
        if update:
            refers = tuple(
                element[1]
                for name, value in update.items()
                if TABLES[table].columns[name].references
                for element in schema.elements(value)
            )
            self.result.changes.append(RowChange("update", (row.table, row.key), uuid, row.owner, update, refers))

    def _columns(
        self,
        table: str,
        uuid: str,
        actual: Mapping[str, Json],
        expected: Mapping[str, Json],
        strangers_too: bool = True,
    ) -> dict[str, Json]:
        """The columns to write whole; what differs element by element goes straight to the changes."""
        update: dict[str, Json] = {}
        members: Mapping[str, list[MemberChange]] = self.members.get(uuid, {})
        for name, empty in self.wire.owned_columns(table).items():
            has = actual[name]
            stated = TABLES[table].columns[name]
            if name in expected:
                if has != expected[name] and not _same(has, expected[name]):
                    update[name] = expected[name]
            elif stated.kind == "atom":
                if strangers_too and has != empty:
                    update[name] = empty
            elif has != empty or name in members:
                self._elements(uuid, (table, name), stated, has, members.get(name, []), strangers_too)
        return update

    def _elements(
        self,
        uuid: str,
        where: tuple[str, str],
        stated: Column,
        has: Json,
        wanted: list[MemberChange],
        strangers_too: bool,
    ) -> None:
        """Adds what is missing, removes what is ours and not wanted; `where` is (table, column)."""
        table, name = where
        there = {_hashable(element): element for element in schema.elements(has)}
        want = {_hashable(change.element): change for change in self._possible(wanted)}
        self.result.changes += [change for element, change in want.items() if element not in there]
        if not strangers_too:
            return
        replaced = {change.element[0] for change in wanted} if stated.kind == "map" else ()
        row = self.rows.get(uuid)
        place = (table, row.key if row else "")
        for element, wire in there.items():
            refers = wire[1] if stated.references else ""
            if element in want or (stated.kind == "map" and wire[0] in replaced):
                continue
            if not refers or (refers not in self.held and self._ours(refers)):
                self.result.changes.append(MemberChange("remove", place, uuid, name, wire, refers))

    def _possible(self, wanted: Iterable[MemberChange]) -> Iterator[MemberChange]:
        """The elements but for references to rows that are not to be, and for those to held rows."""
        for change in wanted:
            refers = change.refers
            if not refers or refers in self.rows or self.elsewhere(refers):
                yield change
            elif refers not in self.held:
                self.result.waiting.setdefault(refers, set()).add(change.place)
                if TABLES[change.place[0]].columns[change.column].strong:
                    self.result.wanted.add(refers)

    def _ours(self, uuid: str) -> bool:
        """Whether a reference to that row may be taken out: the row is ours, or there is none.

        ovsdb-server 3.1 forgets a weak reference to a row that goes in a transaction that changes another column of
        the referring row; the reference then dangles.
        """
        dangles = self.whole and uuid not in self.existing
        return uuid in self.marks or uuid in self.rows or dangles or self.elsewhere(uuid)

    def _deletable(self, undesired: list[tuple[str, Mapping[str, Json]]]) -> list[tuple[str, Mapping[str, Json]]]:
        """The undesired rows but the held ones, and but those that would take a held one with them."""
        kept = set(self.held)
        while True:
            rest = [(table, row) for table, row in undesired if row["_uuid"][1] not in kept]
            parents = {row["_uuid"][1] for table, row in rest if any(uuid in kept for uuid in _strong(table, row))}
            if not parents:
                return rest
            kept |= parents
            self.held |= parents


def _each(rows: Rows) -> Iterator[tuple[str, Mapping[str, Json]]]:
    for table, found in rows.items():
        for row in found:
            yield table, row


def _strong(table: str, row: Mapping[str, Json]) -> Iterator[str]:
    """The UUIDs that a row as it was read refers to strongly."""
    for name, column in TABLES[table].columns.items():
        if column.strong and name in row:
            yield from (element[1] for element in schema.elements(row[name]))


def _hashable(element: Json) -> Json:
    return tuple(element) if isinstance(element, list) else element


def _same(one: Json, other: Json) -> bool:
    """Whether two values are equal, in whatever order a server gives sets and maps."""
    if not (isinstance(one, list) and isinstance(other, list)) or one[0] != other[0]:
        return False
    return one[0] in ("set", "map") and set(map(_hashable, one[1])) == set(map(_hashable, other[1]))
