"""Ordering: which units make a transaction, and which comes first. Pure.

A row's referent comes before what refers to it, and root rows are deleted last, referrers first (RFC 7047 §5.2.4).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from graphlib import TopologicalSorter

from ovnk.northbound.changes import PORT_TABLE, UNITS_A_TRANSACTION, Change, Unit
from ovsdb_schemas.northbound import TABLES

# A shared owner may hold thousands of rows; a transaction of that size still takes the server well under a second.
CHANGES_A_TRANSACTION = 4000
# An empty database is filled in one transaction: ovn-northd deletes the logical flows of what it finds missing on its
# way. But members of a cluster begin an election when the leader is busy for a second; 10,000 pods take half of that.
CHANGES_IN_A_CLUSTER = 25_000
_POLICY_TABLES = frozenset(("ACL", "Port_Group", "Address_Set"))


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
        if table == PORT_TABLE and change.verb == "insert":
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


def _delete_order() -> dict[str, int]:
    """Tables that refer strongly to root tables first: a row cannot be deleted while it is referred to."""
    referrers: dict[str, set[str]] = {table: set() for table in TABLES}
    for table, stated in TABLES.items():
        for column in stated.columns.values():
            if column.strong:
                referrers[column.references].add(table)
    return {table: position for position, table in enumerate(TopologicalSorter(referrers).static_order())}


_DELETE_ORDER = _delete_order()
