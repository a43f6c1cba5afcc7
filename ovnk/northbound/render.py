"""Facts as text: what the northbound shall hold, for people, golden files and `ovnk compile`.

A row is a block: its table and key, who caused it, its columns. Members stand in their row's column as if the row
had been given whole, references by key and never by UUID, everything sorted: equal facts give equal text. It is
read by nobody but people; nothing parses it.

    Logical_Switch_Port "shop/web-0"  ← Pod/shop/web-0 (pods.port)
        addresses = "0a:58:0a:f4:01:03 10.244.1.3"
        options
            requested-chassis = "node-1"
"""

import json
from collections import defaultdict
from collections.abc import Iterable

from ovnk.northbound.facts import Atom, Fact, Ref, Row
from ovsdb_schemas.columns import Column
from ovsdb_schemas.northbound import TABLES

_INDENT = "    "
_SCALAR = Column("string")


def render(facts: Iterable[Fact]) -> str:
    """The facts' text, tables in the schema's order, rows by key; the empty text for no facts.

    Members of a row that is not among the facts stand in a block of their own, without an owner.
    """
    rows: dict[tuple[str, str], Row] = {}
    elements: defaultdict[tuple[str, str], defaultdict[str, list[object]]] = defaultdict(lambda: defaultdict(list))
    for fact in facts:
        identity = (fact.table, fact.key)
        if isinstance(fact, Row):
            rows[identity] = fact
            for name, value in fact.columns:
                elements[identity][name] += value if isinstance(value, tuple) else (value,)
            elements[identity]  # a row without columns is a block too
        else:
            elements[identity][fact.column].append(fact.element)
    order = {table: position for position, table in enumerate(TABLES)}
    identities = sorted(elements, key=lambda identity: (order.get(identity[0], len(order)), identity))
    return "\n".join(_block(*identity, rows.get(identity), elements[identity]) for identity in identities)


def _block(table: str, key: str, row: Row | None, columns: dict[str, list[object]]) -> str:
    cause = f"  ← {row.owner} ({row.rule})" if row else ""
    lines = [f"{table} {_text(key)}{cause}"]
    for name in sorted(columns):
        stated = TABLES[table].columns.get(name, _SCALAR) if table in TABLES else _SCALAR
        lines += _column(name, stated, columns[name])
    return "".join(f"{line}\n" for line in lines)


def _column(name: str, stated: Column, elements: list[object]) -> list[str]:
    if stated.kind == "map":
        pairs = sorted((_text(pair[0], bare=True), _text(pair[1])) for pair in elements if isinstance(pair, tuple))
        return [f"{_INDENT}{name}", *(f"{_INDENT * 2}{key} = {value}" for key, value in pairs)]
    texts = sorted(_text(element) for element in elements)
    if len(texts) == 1:
        return [f"{_INDENT}{name} = {texts[0]}"]
    return [f"{_INDENT}{name}", *(f"{_INDENT * 2}{text}" for text in texts)]


def _text(value: Atom | object, bare: bool = False) -> str:
    if isinstance(value, Ref):
        return f"→ {value.table} {_text(value.key)}"
    if isinstance(value, str):
        quoted = json.dumps(value, ensure_ascii=False)
        return value if bare and quoted == f'"{value}"' and not set(value) & set(" =") else quoted
    return json.dumps(value)
