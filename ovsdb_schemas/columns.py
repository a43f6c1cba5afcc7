"""What a table and a column are, as data: the shapes of RFC 7047 §3.2 that we use, and who writes them.

The statements themselves are in northbound.py and open_vswitch.py; the check of a live server is in check.py.
Value limits and enumerations are the server's to enforce and are not repeated here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal["atom", "set", "map"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its type, since which version it is there, and what we do on a server that lacks it.

    `type` and `value` are OVSDB's atomic types ("string", "integer", "real", "boolean", "uuid"); `value` is that of
    a map's values and "" for anything else. `references` is the table a "uuid" refers to; a strong reference keeps
    its row alive, a weak one vanishes with it. An empty `without` means the column is needed.
    `written_by` names the daemon that writes the column; such a column is never ours to compare or reset.
    """

    type: str
    kind: Kind = "atom"
    value: str = ""
    one_at_most: bool = False
    references: str = ""
    strong: bool = False
    since: str = ""
    without: str = ""
    written_by: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """One table. Rows of a table that is not `root` live only while something refers to them strongly.

    A `singleton` has exactly one row, which the database's own tools make. An empty `without` means the table is
    needed.
    """

    columns: Mapping[str, Column]
    root: bool = True
    singleton: bool = False
    since: str = ""
    without: str = ""


Tables = Mapping[str, Table]

STRING = Column("string")
INTEGER = Column("integer")
BOOLEAN = Column("boolean")
OPTIONAL_STRING = Column("string", "set", one_at_most=True)
OPTIONAL_INTEGER = Column("integer", "set", one_at_most=True)
OPTIONAL_BOOLEAN = Column("boolean", "set", one_at_most=True)
STRINGS = Column("string", "set")
STRING_MAP = Column("string", "map", "string")


def strong(table: str) -> Column:
    """A set of references that keep the rows of `table` alive."""
    return Column("uuid", "set", references=table, strong=True)


def weak(table: str) -> Column:
    """A set of references that vanish by themselves when their row of `table` does."""
    return Column("uuid", "set", references=table)


def written_by(daemon: str, column: Column) -> Column:
    """The column as one that `daemon` writes and we at most read."""
    return replace(column, written_by=daemon)
