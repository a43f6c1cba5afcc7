"""The check of a live server's schema against the tables and columns we use.

It refuses, in plain words, a server that lacks something needed, and says which optional columns are there. It does
no I/O: the caller brings the schema as the server's "get_schema" gives it (RFC 7047 §4.1.2).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ovsdb_schemas.columns import Column, Table, Tables


class SchemaError(Exception):
    """The server's database lacks, or has otherwise, a table or column that is needed; the message lists them all."""


@dataclass(frozen=True, slots=True)
class Present:
    """What of the stated tables and columns a server has.

    `columns` holds the names of the columns there are, by table; `absent` says for each optional one that is not
    there what is done without it, a sentence each.
    """

    columns: Mapping[str, frozenset[str]]
    absent: tuple[str, ...] = ()


def everything(tables: Tables) -> Present:
    """A server that has all we know of: what facts are rendered and checked for when there is no server."""
    return Present({name: frozenset(table.columns) for name, table in tables.items()})


def check(schema: Mapping[str, Any], database: str, tables: Tables) -> Present:
    """What is there of `tables` in `schema`; raises SchemaError if anything needed is not, or is of another type."""
    product = "OVN" if database.startswith("OVN_") else "Open vSwitch"
    columns: dict[str, frozenset[str]] = {}
    lacking: list[str] = []
    absent: list[str] = []
    newest = ""
    for name, table in tables.items():
        theirs = schema.get("tables", {}).get(name)
        if theirs is None:
            (absent if table.without else lacking).append(f'table "{name}" is missing{_origin(product, table)}')
            newest = newest if table.without else _later(newest, table.since)
            continue
        if bool(theirs.get("isRoot", False)) != table.root:
            lacking.append(f'table "{name}" is{" not" if table.root else ""} part of the root set')
        there = set()
        for column_name, column in table.columns.items():
            definition = theirs["columns"].get(column_name)
            if definition is not None and (difference := _difference(definition["type"], column)):
                lacking.append(f'column "{name}.{column_name}" {difference}')
            elif definition is not None:
                there.add(column_name)
            elif column.without:
                absent.append(f'column "{name}.{column_name}" is missing{_origin(product, column)}: {column.without}')
            else:
                lacking.append(f'column "{name}.{column_name}" is missing{_origin(product, column)}')
                newest = _later(newest, column.since)
        columns[name] = frozenset(there)
    if lacking:
        version = schema.get("version", "unknown")
        release = f"{product} {newest} or newer" if newest else "the release that is documented as supported"
        raise SchemaError(
            f'database "{database}" (schema version "{version}") cannot be used: {"; ".join(lacking)}; '
            f"upgrade its server to {release} and convert the database (ovsdb-client convert)"
        )
    return Present(columns, tuple(absent))


def _origin(product: str, stated: Table | Column) -> str:
    return f" (came with {product} {stated.since})" if stated.since else ""


def _later(one: str, other: str) -> str:
    return max(one, other, key=lambda release: [int(part) for part in release.split(".") if part])


def _difference(theirs: str | Mapping[str, Any], ours: Column) -> str:
    """How a column's type differs from ours, or "" where it does not (value limits are left aside)."""
    expected = [("type", _base(theirs, "key", "type"), ours.type)]
    expected.append(("kind", _kind(theirs), ours.kind))
    if ours.kind == "map":
        expected.append(("value type", _base(theirs, "value", "type"), ours.value))
    if ours.references:
        expected.append(("referenced table", _base(theirs, "key", "refTable"), ours.references))
        reference = "strong" if _base(theirs, "key", "refType") != "weak" else "weak"
        expected.append(("reference", reference, "strong" if ours.strong else "weak"))
    return ", ".join(f'has {what} "{has}" instead of "{wanted}"' for what, has, wanted in expected if has != wanted)


def _base(definition: str | Mapping[str, Any], part: str, detail: str) -> str:
    base = definition if isinstance(definition, str) else definition.get(part, "")
    if isinstance(base, str):
        return base if detail == "type" else ""
    return str(base.get(detail, ""))


def _kind(definition: str | Mapping[str, Any]) -> str:
    if isinstance(definition, str):
        return "atom"
    if "value" in definition:
        return "map"
    return "atom" if definition.get("min", 1) == definition.get("max", 1) == 1 else "set"
