"""Changes: what is to be done to the database, in units of one owner, in transactions of many units.

A unit is all that one owner changes; it is committed as a whole or not at all. Transactions are cut between units,
a row's referent before what refers to it. Pure: from facts to the operations of RFC 7047 §5.2, no I/O.

    Delta ──of_delta──▶ changes ──units──▶ one a owner ──chunks──▶ ≤ 200 units each ──operations──▶ transactions
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from typing import Literal, NamedTuple

from ovnk.incremental.desired import Delta
from ovnk.northbound.facts import Fact, Member, Ref, Row
from ovnk.northbound.schema import BadFact, Json, Wire, default, uuid_text
from ovsdb_schemas.northbound import TABLES

UNITS_A_TRANSACTION = 200
# A shared owner may hold thousands of rows; a transaction of that size still takes the server well under a second.
CHANGES_A_TRANSACTION = 4000
# An empty database is filled in one transaction: ovn-northd deletes the logical flows of what it finds missing on its
# way. But members of a cluster begin an election when the leader is busy for a second; 10,000 pods take half of that.
CHANGES_IN_A_CLUSTER = 25_000
_PORT = "Logical_Switch_Port"
_POLICY_TABLES = frozenset(("ACL", "Port_Group", "Address_Set"))

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
    others = {row.owner for row in rows if row.table != _PORT}
    keys = dict.fromkeys(row.key for row in rows if row.table == _PORT and row.owner not in others)
    number = {key: 1 + position // UNITS_A_TRANSACTION for position, key in enumerate(keys)}
    cut: list[tuple[list[Fact], list[Fact]]] = [([], []) for _ in range(2 + len(keys) // UNITS_A_TRANSACTION)]
    for position, half in enumerate(halves):
        for fact in half:
            about = fact if isinstance(fact, Row) else fact.element
            port = isinstance(about, (Row, Ref)) and about.table == _PORT
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


def chunks(given: Sequence[Unit], changes_most: float | None = None) -> list[list[Unit]]:
    """The units as transactions: inserts and updates with referents first, then root rows' deletes, referrers first.

    `changes_most`: as large as that, in place of small ones of which one is worked on while another is made.
    """
    deletes: list[Unit] = []
    others: list[Unit] = []
    for unit in given:
        last: list[Change]
        last = [change for change in unit.changes if change.verb == "delete" and TABLES[change.place[0]].root]
        if not last:
            others.append(unit)
            continue
        deletes.append(Unit(unit.name, last))
        if rest := [change for change in unit.changes if change not in last]:
            others.append(Unit(unit.name, rest))
    deletes.sort(key=lambda unit: min(_DELETE_ORDER[change.place[0]] for change in unit.changes))
    return [*_cut(_ordered(others), changes_most), *_cut(([unit] for unit in deletes), changes_most)]


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


def _ordered(given: list[Unit]) -> list[list[Unit]]:
    """Referents before what refers to them; units that need each other become one.

    Units about policies are one group: halfway through them a pod would be open or shut that is neither before nor
    after. They come before new ports, which so find all that guards them.
    """
    policies = [unit for unit in given if _is_about_policies(unit)]
    by_name = {unit.name: [unit] for unit in [*policies[:1], *given]}
    for unit in policies[1:]:
        by_name[policies[0].name] += by_name.pop(unit.name)
    maker = {uuid: name for name, group in by_name.items() for unit in group for uuid in unit.inserts()}
    before = {
        name: {maker[uuid] for unit in group for uuid in unit.needs() if maker.get(uuid, name) != name}
        for name, group in by_name.items()
    }
    if not any(before.values()):
        return list(by_name.values())
    ordered = []
    for first, *others in _components(before):
        for name in others:
            for unit in by_name[name]:
                by_name[first][0].changes += unit.changes
        ordered.append(by_name[first])
    return ordered


def _components(before: Mapping[str, Iterable[str]]) -> Iterator[list[str]]:
    """The strongly connected components of the graph, each after those that it leads to (Tarjan 1972)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    open_names: list[str] = []
    for start in before:
        path = [(start, iter(before[start]))] if start not in number else []
        while path:
            name, following = path[-1]
            if name not in number:
                number[name] = lowest[name] = len(number)
                open_names.append(name)
            for other in following:
                if other not in number:
                    path.append((other, iter(before[other])))
                    break
                lowest[name] = min(lowest[name], lowest.get(other, number[name]))
            else:
                path.pop()
                if path:
                    parent = path[-1][0]
                    lowest[parent] = min(lowest[parent], lowest[name])
                if lowest[name] == number[name]:
                    position = open_names.index(name) if open_names[-1] != name else len(open_names) - 1
                    component, open_names[position:] = open_names[position:], []
                    for closed in component:
                        del lowest[closed]
                    yield component


def _is_about_policies(unit: Unit) -> bool:
    """Whether it changes what guards ports that are there already: a new port comes with all that is about it."""
    about = False
    for change in unit.changes:
        table = change.place[0]
        if table == _PORT and change.verb == "insert":
            return False
        about = about or table in _POLICY_TABLES
    return about


def _cut(given: Iterable[list[Unit]], most: float | None) -> Iterator[list[Unit]]:
    """The groups as transactions, none of them cut apart."""
    units_most, changes_most = (most, most) if most else (UNITS_A_TRANSACTION, CHANGES_A_TRANSACTION)
    chunk: list[Unit] = []
    size = 0
    for group in given:
        changes = sum([len(unit.changes) for unit in group])
        if chunk and (len(chunk) + len(group) > units_most or size + changes > changes_most):
            yield chunk
            chunk, size = [], 0
        chunk += group
        size += changes
    if chunk:
        yield chunk


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


def _delete_order() -> dict[str, int]:
    """Tables that refer strongly to root tables first: a row cannot be deleted while it is referred to."""
    referrers: dict[str, set[str]] = {table: set() for table in TABLES}
    for table, stated in TABLES.items():
        for column in stated.columns.values():
            if column.strong:
                referrers[column.references].add(table)
    return {table: position for position, table in enumerate(TopologicalSorter(referrers).static_order())}


_DELETE_ORDER = _delete_order()
