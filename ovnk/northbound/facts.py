"""Facts: what the northbound shall hold, a row or one element of a set or map column at a time.

A fact is a value. Functions in translate/ yield facts; a row's UUID follows from its table and key, so a
reference needs no look-up and a lost database is rebuilt identical.
"""

from uuid import UUID, uuid5

from msgspec import Struct

# Fixed for ever: changing it would give every row in every database a new UUID.
NAMESPACE = UUID("6f766e6b-6e6f-5274-8000-6f766e6b2e69")

OWNER = "ovnk-owner"
RULE = "ovnk-rule"


def row_uuid(table: str, key: str) -> UUID:
    """The UUID the row has in every database, computed, never looked up (RFC 4122 v5)."""
    return uuid5(NAMESPACE, f"{table}/{key}")


class Ref(Struct, frozen=True, order=True, gc=False, cache_hash=True):
    """A reference to the row of `table` with `key`, whether it exists yet or not."""

    table: str
    key: str

    @property
    def uuid(self) -> UUID:
        """The referenced row's UUID."""
        return row_uuid(self.table, self.key)


Atom = str | int | float | bool | Ref
# A set column is a sorted tuple of atoms, a map column a sorted tuple of pairs.
Value = Atom | tuple[Atom, ...] | tuple[tuple[Atom, Atom], ...]


class Row(Struct, frozen=True, gc=False, cache_hash=True):
    """One row with the columns that its owner decides alone.

    `owner` is the Kubernetes object that caused it ("Pod/shop/web-0"; "cluster" for what any object may cause)
    and `rule` the function that yielded it ("pods.port"). Both go into external_ids, where the table has it.
    Two owners may yield the same Row; they may not yield the same (table, key) with other columns.
    """

    table: str
    key: str
    owner: str
    rule: str
    columns: tuple[tuple[str, Value], ...]

    @property
    def ref(self) -> Ref:
        """A reference to this row."""
        return Ref(self.table, self.key)


class Member(Struct, frozen=True, gc=False, cache_hash=True):
    """One element of a set or map column of the row (table, key): an atom, a Ref, or a (key, value) pair.

    A column is given whole in a Row or element by element in Members, never both.
    """

    table: str
    key: str
    column: str
    element: Atom | tuple[str, str]


Fact = Row | Member


def row(table: str, key: str, owner: str, rule: str, **columns: object) -> Row:
    """A Row from plain values: lists, tuples and sets become sets, dicts maps, None is left out."""
    stated = sorted([(name, _value(given)) for name, given in columns.items() if given is not None])
    return Row(table, key, owner, rule, tuple(stated))


def _value(given: object) -> Value:
    if isinstance(given, (str, int, float, Ref)):
        return given
    if isinstance(given, (list, set, frozenset, tuple)):
        return tuple(sorted(given))
    if isinstance(given, dict):
        return tuple(sorted(given.items()))
    raise TypeError(f"a column cannot hold {given!r}")
