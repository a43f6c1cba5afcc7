"""Facts with good defaults, and what a database must hold for them."""

from collections.abc import Iterable
from typing import Any

from ovnk.incremental.desired import Delta
from ovnk.northbound.facts import OWNER, RULE, Fact, Member, Ref, Row, row
from ovsdb_schemas.northbound import TABLES


def switch(name: str = "node-1", **columns: object) -> Row:
    return row("Logical_Switch", name, f"Node/{name}", "nodes.switch", name=name, **columns)


def port(name: str = "web-0", **columns: object) -> Row:
    given = {"addresses": [f"0a:58:0a:f4:01:03 {name}"], **columns}
    return row("Logical_Switch_Port", f"shop/{name}", f"Pod/shop/{name}", "pods.port", name=f"shop/{name}", **given)


def plugged(port_row: Row, switch_row: Row) -> Member:
    return Member("Logical_Switch", switch_row.key, "ports", port_row.ref)


def pod(name: str = "web-0", node: str = "node-1", **columns: object) -> list[Fact]:
    """A port, and its place on the node's switch."""
    made = port(name, **columns)
    return [made, Member("Logical_Switch", node, "ports", made.ref)]


def port_group(name: str = "web", **columns: object) -> Row:
    return row("Port_Group", name, f"NetworkPolicy/shop/{name}", "policies.group", name=name, **columns)


def acl(key: str, group: str, **columns: object) -> list[Fact]:
    given = {"priority": 1000, "direction": "to-lport", "match": "ip4", "action": "allow-related", **columns}
    made = row("ACL", key, f"NetworkPolicy/shop/{group}", "policies.acl", **given)
    return [made, Member("Port_Group", group, "acls", made.ref)]


def address_set(name: str = "web") -> Row:
    return row("Address_Set", name, "Namespace/shop", "membership.addresses", name=name)


def balancer(name: str = "web", **columns: object) -> Row:
    return row("Load_Balancer", name, f"Service/shop/{name}", "services.load_balancer", name=name, **columns)


def group_of_balancers(name: str = "all") -> Row:
    return row("Load_Balancer_Group", name, "cluster", "services.group", name=name)


def delta(before: Iterable[Fact], after: Iterable[Fact]) -> Delta:
    """What leads from the one to the other."""
    old, new = frozenset(before), frozenset(after)
    return Delta(new - old, old - new)


def expected(facts: Iterable[Fact]) -> dict[tuple[str, str], dict[str, Any]]:
    """What tests.ovsdb.dump must give where the database holds these facts and nothing else.

    Rows of a non-root table that nothing refers to are not there, nor are elements in, or about, rows that are not.
    """
    given = list(facts)
    rows = {_seat(fact.ref): fact for fact in given if isinstance(fact, Row)}
    members = [fact for fact in given if isinstance(fact, Member) and _seat(Ref(fact.table, fact.key)) in rows]
    adopted = {
        _seat(element)
        for table, column, element in (
            *((fact.table, fact.column, fact.element) for fact in members),
            *(
                (fact.table, name, ref)
                for fact in rows.values()
                for name, value in fact.columns
                for ref in _each(value)
            ),
        )
        if isinstance(element, Ref) and TABLES[table].columns[column].strong
    }
    there = {seat: fact for seat, fact in rows.items() if TABLES[seat[0]].root or seat in adopted}
    held: dict[tuple[str, str], dict[str, Any]] = {}
    for seat, fact in there.items():
        held[seat] = {name: _plain(fact, name, value) for name, value in fact.columns}
        if "external_ids" in TABLES[fact.table].columns:
            held[seat]["external_ids"] = {**held[seat].get("external_ids", {}), OWNER: fact.owner, RULE: fact.rule}
    for member in members:
        columns = held.get(_seat(Ref(member.table, member.key)))
        if columns is None or (isinstance(member.element, Ref) and _seat(member.element) not in there):
            continue
        if isinstance(member.element, tuple):
            columns.setdefault(member.column, {})[member.element[0]] = member.element[1]
        else:
            columns[member.column] = columns.get(member.column, frozenset()) | {_atom(member.element)}
    return {
        seat: {name: value for name, value in columns.items() if value not in (frozenset(), {}, "", 0, False)}
        for seat, columns in held.items()
    }


def _each(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _seat(ref: Ref) -> tuple[str, str]:
    return ref.table, str(ref.uuid)


def _plain(fact: Row, name: str, value: Any) -> Any:
    kind = TABLES[fact.table].columns[name].kind
    if kind == "map":
        return dict(value)
    if kind == "set":
        return frozenset(map(_atom, _each(value)))
    return _atom(value)


def _atom(value: Any) -> Any:
    return str(value.uuid) if isinstance(value, Ref) else value
