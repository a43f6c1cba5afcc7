"""Changes: what is to be done to the database, in units of one owner.

A unit is all that one owner changes; it is committed as a whole or not at all. Which units make a transaction, and in
which order, is ordering.py's. Pure: from facts to the operations of RFC 7047 §5.2, no I/O.

    Delta ──of_delta──▶ changes ──units──▶ one a owner ──chunks──▶ ≤ 200 units each ──operations──▶ transactions
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from ovnk.incremental.desired import Delta
from ovnk.northbound.facts import Fact, Member, Ref, Row
from ovnk.northbound.schema import BadFact, Json, Wire, default, uuid_text
from ovsdb_schemas.northbound import TABLES

UNITS_A_TRANSACTION = 200
PORT_TABLE = "Logical_Switch_Port"

# Where a fact stands: (table, key).
Place = tuple[str, str]


class RowChange(NamedTuple):
    """A row inserted, updated in `columns`, or deleted. Rows of a non-root table go when nothing refers to them."""

    verb: Literal["insert", "update", "delete"]
    place: Place
    uuid: str
    owner: str
    columns: dict[str, Json]
    refers: tuple[str, ...] = ()


class MemberChange(NamedTuple):
    """One element added to, or removed from, a set or map column of the row `uuid`.

    `refers` is the UUID of the row the element refers to, or "". An added map entry replaces one of the same key.
    """

    verb: Literal["add", "remove"]
    place: Place
    uuid: str
    column: str
    element: Json
    refers: str = ""


Change = RowChange | MemberChange


@dataclass(slots=True)
class Unit:
    """All changes of one owner, or of one row whose owner is not known (then `name` is the row's UUID)."""

    name: str
    changes: list[Change] = field(default_factory=list)

    def places(self) -> set[Place]:
        """Every row that the unit writes, and every row that holds an element of it."""
        return {change.place for change in self.changes}

    def inserts(self) -> set[str]:
        """The UUIDs of the rows it inserts."""
        return {change.uuid for change in self.changes if change.verb == "insert"}

    def needs(self) -> Iterator[str]:
        """The UUIDs of the rows that must be there before, other than its own."""
        for change in self.changes:
            if isinstance(change, RowChange):
                yield from change.refers
            elif change.verb == "add":
                yield change.uuid
                if change.refers:
                    yield change.refers


@dataclass(slots=True)
class Planned:
    """A delta as changes, with the facts that no database could hold, by owner."""

    changes: list[Change] = field(default_factory=list)
    bad: dict[str, str] = field(default_factory=dict)


class Part(NamedTuple):
    """Some of a delta's facts."""

    added: Sequence[Fact]
    removed: Sequence[Fact]


def parts(delta: Delta) -> list[Part]:
    """The delta in parts, the later ones needing nothing of each other.

    The later ones are ports, a transaction of them each, so that the server has something to do soon: nothing refers to
    a port but elements about it, which go with it. Owners of more than ports, such as nodes, are in the first part as a
    whole; it may be empty.
    """
    halves = _facts(delta.added), _facts(delta.removed)
    if sum(map(len, halves)) < 2 * UNITS_A_TRANSACTION:
        return [Part(*halves)]
    rows = [fact for half in halves for fact in half if isinstance(fact, Row)]
    others = {row.owner for row in rows if row.table != PORT_TABLE}
    keys = dict.fromkeys(row.key for row in rows if row.table == PORT_TABLE and row.owner not in others)
    number = {key: 1 + position // UNITS_A_TRANSACTION for position, key in enumerate(keys)}
    cut: list[tuple[list[Fact], list[Fact]]] = [([], []) for _ in range(2 + len(keys) // UNITS_A_TRANSACTION)]
    for position, half in enumerate(halves):
        for fact in half:
            about = fact if isinstance(fact, Row) else fact.element
            port = isinstance(about, (Row, Ref)) and about.table == PORT_TABLE
            cut[number.get(about.key, 0) if port else 0][position].append(fact)  # type: ignore[union-attr]  # as checked
    first, *ports = (Part(*halves) for halves in cut)
    return [first, *(part for part in ports if any(part))]


def of_delta(delta: Delta | Part, wire: Wire) -> Planned:
    """The changes that `delta` asks for: a row in both halves is an update of the columns that differ."""
    planned = Planned()
    added, removed = _facts(delta.added), _facts(delta.removed)
    before = {(fact.table, fact.key): fact for fact in removed if isinstance(fact, Row)}
    members: list[tuple[Literal["add", "remove"], Member]]
    members = [("remove", fact) for fact in removed if isinstance(fact, Member)]
    for fact in added:
        if isinstance(fact, Member):
            members.append(("add", fact))
            continue
        old = before.pop((fact.table, fact.key), None) if before else None
        try:
            change = insertion(fact, wire) if old is None else _update(old, fact, wire)
        except BadFact as error:
            planned.bad[fact.owner] = str(error)
        else:
            if change.verb == "insert" or change.columns:
                planned.changes.append(change)
    for row in before.values():
        planned.changes.append(RowChange("delete", (row.table, row.key), uuid_text(row.table, row.key), row.owner, {}))
    for verb, member in members:
        try:
            element = member_change(verb, member, wire)
        except BadFact as error:
            planned.bad[f"{member.table} {member.key}"] = str(error)
        else:
            if element is not None:
                planned.changes.append(element)
    return planned


def insertion(row: Row, wire: Wire) -> RowChange:
    """The change that makes the row. Raises BadFact."""
    columns = wire.columns(row)
    return RowChange(
        "insert", (row.table, row.key), uuid_text(row.table, row.key), row.owner, columns, _references(row)
    )


def member_change(verb: Literal["add", "remove"], member: Member, wire: Wire) -> MemberChange | None:
    """The change of one element, or None where the server lacks the column. Raises BadFact."""
    element = wire.element(member)
    if element is None:
        return None
    refers = element[1] if isinstance(member.element, Ref) else ""
    place = (member.table, member.key)
    return MemberChange(verb, place, wire.uuid(member.table, member.key), member.column, element, refers)


def units(changes: Iterable[Change]) -> list[Unit]:
    """The changes by owner.

    An element goes with the owner of the row it refers to, so that a row that is not root comes with its parent's
    reference and one that moves is never without; an element that is a plain value goes with the row it stands in.
    """
    by_name: dict[str, Unit] = {}
    owners: dict[str, str] = {}
    members: list[MemberChange] = []
    for change in changes:
        if isinstance(change, RowChange):
            name = owners[change.uuid] = change.owner or change.uuid
            _unit(by_name, name).changes.append(change)
        else:
            members.append(change)
    for member in members:
        about = member.refers or member.uuid
        _unit(by_name, owners.get(about, about)).changes.append(member)
    return list(by_name.values())


def operations(chunk: Iterable[Unit]) -> list[dict[str, Json]]:
    """One transaction's operations: inserts, updates, one mutate a row, deletes."""
    inserts: list[dict[str, Json]] = []
    updates: list[dict[str, Json]] = []
    deletes: list[dict[str, Json]] = []
    mutations: defaultdict[tuple[str, str], dict[tuple[str, str], list[Json]]] = defaultdict(dict)
    for unit in chunk:
        for change in unit.changes:
            table, uuid = change.place[0], change.uuid
            if isinstance(change, MemberChange):
                _mutate(mutations[table, uuid], change)
            elif change.verb == "insert":
                inserts.append({"op": "insert", "table": table, "uuid": uuid, "row": change.columns})
            elif change.verb == "update":
                updates.append({"op": "update", "table": table, "where": _where(uuid), "row": change.columns})
            elif TABLES[table].root:
                deletes.append({"op": "delete", "table": table, "where": _where(uuid)})
    mutates = [
        {
            "op": "mutate",
            "table": table,
            "where": _where(uuid),
            "mutations": [
                [column, mutator, _collection(table, column, mutator, elements)]
                for (column, mutator), elements in sorted(by_column.items())
            ],
        }
        for (table, uuid), by_column in mutations.items()
    ]
    return [*inserts, *updates, *mutates, *deletes]


def _facts(half: Iterable[object]) -> list[Fact]:
    return list(half)  # type: ignore[arg-type]  # the northbound holds Facts alone


def _update(old: Row, new: Row, wire: Wire) -> RowChange:
    columns, before = wire.columns(new), wire.columns(old)
    changed = {name: value for name, value in columns.items() if before.get(name) != value}
    for name in before.keys() - columns.keys():
        changed[name] = default(TABLES[new.table].columns[name])
    uuid = uuid_text(new.table, new.key)
    return RowChange("update", (new.table, new.key), uuid, new.owner, changed, _references(new))


_REFERENCE_COLUMNS = {
    table: frozenset(name for name, column in stated.columns.items() if column.references)
    for table, stated in TABLES.items()
}


def _references(row: Row) -> tuple[str, ...]:
    """The UUIDs that the row's own columns refer to."""
    names = _REFERENCE_COLUMNS[row.table]
    if not names:
        return ()
    return tuple(
        uuid_text(ref.table, ref.key)
        for name, value in row.columns
        if name in names
        for ref in (value if isinstance(value, tuple) else (value,))
        if isinstance(ref, Ref)
    )


def _unit(by_name: dict[str, Unit], name: str) -> Unit:
    unit = by_name.get(name)
    if unit is None:
        unit = by_name[name] = Unit(name)
    return unit


def _mutate(by_column: dict[tuple[str, str], list[Json]], change: MemberChange) -> None:
    """Notes the element under its mutator. In a map "insert" keeps an old value, so the key is deleted before."""
    is_map = TABLES[change.place[0]].columns[change.column].kind == "map"
    if is_map or change.verb == "remove":
        by_column.setdefault((change.column, "delete"), []).append(change.element[0] if is_map else change.element)
    if change.verb == "add":
        by_column.setdefault((change.column, "insert"), []).append(change.element)


def _collection(table: str, column: str, mutator: str, elements: list[Json]) -> Json:
    """The elements as a mutation takes them: entries are deleted by their keys alone (RFC 7047 §5.1 <mutation>)."""
    if TABLES[table].columns[column].kind != "map":
        return ["set", elements]
    return ["map", elements] if mutator == "insert" else ["set", list(dict.fromkeys(elements))]


def _where(uuid: str) -> Json:
    """The row; the empty UUID stands for the one row of a singleton that has not been read yet."""
    return [["_uuid", "==", ["uuid", uuid]]] if uuid else []
