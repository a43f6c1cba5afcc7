"""Facts on the wire: a fact's values as OVSDB's JSON (RFC 7047 §5.1), each checked against the stated schema.

Values come out in the order the server itself gives them (sets and maps sorted, a set of one as its element), so
that what is desired and what a `select` brought can be compared with ==. Nothing is sent or read here.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import sha1
from typing import Any

from ovnk.northbound.facts import NAMESPACE, OWNER, RULE, Member, Ref, Row, Value
from ovsdb_schemas.check import Present, everything
from ovsdb_schemas.columns import Column
from ovsdb_schemas.northbound import TABLES

# An atom, a list of OVSDB's own making (["set", …], ["map", …], ["uuid", …]), or a row: what orjson writes.
Json = Any

# The key under which facts speak of the one row of a singleton (NB_Global), as ovn-nbctl does.
SINGLETON = "."

EMPTY_SET: Json = ["set", []]
EMPTY_MAP: Json = ["map", []]

_NAMESPACE_DIGEST = sha1(NAMESPACE.bytes, usedforsecurity=False)
# RFC 4122 §4.1.1: the two highest bits of this digit are 10.
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}

_PYTHON_TYPES: Mapping[str, type] = {"string": str, "integer": int, "real": float, "boolean": bool, "uuid": Ref}
_DEFAULT_ATOMS: Mapping[str, Json] = {"string": "", "integer": 0, "real": 0.0, "boolean": False}


class BadFact(ValueError):  # noqa: N818  it names the thing, as errors.Conflict does
    """A fact that no northbound could hold: a bug of the function that yielded it."""


# Each row of a delta is wanted again by the elements about it, which are soon to come.
@lru_cache(4096)
def uuid_text(table: str, key: str) -> str:
    """str(facts.row_uuid(table, key)), as OVSDB writes it, in a quarter of the time: it is wanted three times a pod."""
    digest = _NAMESPACE_DIGEST.copy()
    digest.update(f"{table}/{key}".encode())
    text = digest.hexdigest()
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{_VARIANT[text[16]]}{text[17:20]}-{text[20:32]}"


def default(column: Column) -> Json:
    """What the column holds in a row that was inserted without it (RFC 7047 §5.2.1)."""
    if column.kind == "map":
        return EMPTY_MAP
    return EMPTY_SET if column.kind == "set" else _DEFAULT_ATOMS[column.type]


class Wire:
    """The encoder for one server: columns that it lacks, and that we can do without, are left out."""

    def __init__(self, present: Present | None = None) -> None:
        self.present = present or everything(TABLES)
        # table → the UUID of a singleton's one row, which the database's own tools made; known once it was read
        self.singletons: dict[str, str] = {}
        self._encoders: dict[str, dict[str, Callable[[Value], Json]]] = {
            table: {name: _encoder(TABLES[table].columns[name]) for name in sorted(names)}
            for table, names in self.present.columns.items()
        }
        self._reset: dict[str, dict[str, Json]] = {
            table: {
                name: default(column)
                for name, column in TABLES[table].columns.items()
                if name in names and not column.written_by
            }
            for table, names in self.present.columns.items()
        }

    def columns(self, row: Row) -> dict[str, Json]:
        """The row's columns, with owner and rule in external_ids where the table has it.

        Raises BadFact for a table or column that is not stated, or a value that is not of the column's type.
        """
        encoders = self._encoders.get(row.table)
        if encoders is None:
            _table(row)
            return {}
        wire: dict[str, Json] = {}
        for name, value in row.columns:
            if encoder := encoders.get(name):
                try:
                    wire[name] = encoder(value)
                except (TypeError, ValueError) as error:
                    raise BadFact(f'{row.table} "{row.key}" ({row.rule}): column "{name}" {error}') from error
            else:
                _column(row, name)
        if "external_ids" in encoders:
            marks = [[OWNER, row.owner], [RULE, row.rule]]
            given = wire.get("external_ids")
            wire["external_ids"] = ["map", marks if given is None else sorted(given[1] + marks)]
        elif wire.get("name") != row.key:
            # Such a row is recognised after a restart by its UUID alone, which follows from its name.
            raise BadFact(f'{row.table} "{row.key}" ({row.rule}): its name must be its key, as it has no external_ids')
        return wire

    def element(self, member: Member) -> Json:
        """The member's element: an atom, or [key, value] in a map column. Raises BadFact as `columns` does."""
        encoders = self._encoders.get(member.table)
        encoder = encoders.get(member.column) if encoders is not None else None
        if encoder is None:
            _column(member, member.column)
            return None
        column = TABLES[member.table].columns[member.column]
        element = member.element
        try:
            if column.kind == "map":
                return encoder((element,))[1][0]  # type: ignore[arg-type]  # checked by the encoder
            if column.kind == "set" and not isinstance(element, tuple):
                return encoder((element,))
        except (TypeError, ValueError) as error:
            raise BadFact(f'{member.table} "{member.key}": column "{member.column}" {error}') from error
        raise BadFact(f'{member.table} "{member.key}": column "{member.column}" cannot hold {element!r} as an element')

    def uuid(self, table: str, key: str) -> str:
        """The row's UUID: computed, but for a singleton's, which is "" until it was read."""
        if TABLES[table].singleton:
            return self.singletons.get(table, "")
        return uuid_text(table, key)

    def owned_columns(self, table: str) -> Mapping[str, Json]:
        """The columns of `table` that are ours to set on our rows, each with its default."""
        return self._reset.get(table, {})


def check(facts: "list[Row | Member]") -> None:
    """Raises BadFact for the first fact that a northbound of the newest known schema could not hold."""
    wire = Wire()
    for fact in facts:
        if isinstance(fact, Row):
            wire.columns(fact)
        else:
            wire.element(fact)


def mark(table: str, row: Mapping[str, Json]) -> tuple[str, str] | None:
    """The (owner, rule) of a row as the database has it, or None if it is a stranger's.

    A table without external_ids has no place for a mark: there our rows are known by their UUID, and belong to
    nobody in particular.
    """
    if "external_ids" not in TABLES[table].columns:
        return ("", "") if row["_uuid"][1] == uuid_text(table, row["name"]) else None
    marks = dict(row["external_ids"][1])
    return (marks[OWNER], marks.get(RULE, "")) if OWNER in marks else None


def elements(value: Json) -> list[Json]:
    """The elements of a set or map as the database gives it; a set of one comes as its element."""
    if isinstance(value, list) and value[0] in ("set", "map"):
        inside: list[Json] = value[1]
        return inside
    return [value]


def _table(fact: Row | Member) -> None:
    if fact.table not in TABLES:
        raise BadFact(f'table "{fact.table}" of the fact with key "{fact.key}" is not stated in ovsdb_schemas')


def _column(fact: Row | Member, name: str) -> None:
    """Raises BadFact unless the column is one we can do without."""
    _table(fact)
    stated = TABLES[fact.table].columns.get(name)
    if stated is None:
        raise BadFact(f'{fact.table} "{fact.key}": column "{name}" is not stated in ovsdb_schemas')


def _encoder(column: Column) -> Callable[[Value], Json]:
    if column.kind == "map":
        return _map_encoder(column)
    atom = _atom_encoder(column.type, column.references)
    if column.kind == "atom":
        return atom

    def encode(value: Value) -> Json:
        if not isinstance(value, tuple):
            return atom(value)
        if len(value) == 1:
            return atom(value[0])
        encoded = [atom(element) for element in value]
        if encoded and column.one_at_most:
            raise ValueError(f"holds one value at most, not {len(encoded)}")
        encoded.sort()
        return ["set", encoded]

    return encode


def _map_encoder(column: Column) -> Callable[[Value], Json]:
    key, value = _atom_encoder(column.type), _atom_encoder(column.value)

    def encode(given: Value) -> Json:
        pairs = []
        for pair in given if isinstance(given, tuple) else (given,):
            if not isinstance(pair, tuple) or len(pair) != 2:
                raise TypeError(f"is a map and cannot hold {given!r}")
            pairs.append([key(pair[0]), value(pair[1])])
        return ["map", pairs]

    return encode


def _atom_encoder(atomic_type: str, references: str = "") -> Callable[[Any], Json]:
    expected = _PYTHON_TYPES[atomic_type]

    def encode(value: Any) -> Json:
        if type(value) is not expected:
            raise TypeError(f"holds {atomic_type}s and cannot hold {value!r}")
        return value

    def refer(value: Any) -> Json:
        if type(value) is not Ref or value.table != references:
            raise TypeError(f"refers to {references} and cannot hold {value!r}")
        return ["uuid", uuid_text(value.table, value.key)]

    return refer if references else encode
