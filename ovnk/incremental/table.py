"""Table: the values of one kind by key, indexed, and who read which of them.

A table tells the graph which derivations a change concerns: those that run on the changed key, those that read it or
an index value it has or had, and those that run on pairs of it. It runs nothing itself.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, KeysView, Mapping, ValuesView
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

Key = Hashable
V = TypeVar("V")
# The values under which an index files a value.
IndexOf = Callable[[V], Iterable[Hashable]]

# So many readers are kept as a tuple; a dict takes four times the memory, and most places have one reader or two.
FEW = 8

_NOTHING: dict[Any, Any] = {}


class Reader(Protocol):
    """Whoever reads, as the graph has to know it to have it run again."""

    @property
    def rank(self) -> int:
        """The rank of its rule."""

    @property
    def key(self) -> Key:
        """What it runs on."""


class Place:
    """What can be read in a table: the value of a key (`index` is None), or all that an index files under a value."""

    __slots__ = ("index", "readers", "table", "value")

    def __init__(self, table: "Table[Any]", index: str | None, value: Hashable) -> None:
        self.table, self.index, self.value = table, index, value
        self.readers: tuple[Reader, ...] | dict[Reader, None] = ()

    def note(self, reader: Reader) -> None:
        """`reader` has read what is here."""
        if isinstance(self.readers, dict):
            self.readers[reader] = None
        else:
            more = (*self.readers, reader)
            self.readers = more if len(more) <= FEW else dict.fromkeys(more)

    def forget(self, reader: Reader) -> None:
        """The opposite of note."""
        if isinstance(self.readers, dict):
            self.readers.pop(reader, None)
        else:
            self.readers = tuple(other for other in self.readers if other is not reader)
        if not self.readers:
            self.table.vacate(self)


@dataclass(frozen=True, slots=True)
class Partner:
    """The other side of a join: what it files under a value makes a pair with each that is filed here under it."""

    rank: int
    table: "Table[Any]"
    index: str
    # Whether its keys come first in pairs.
    first: bool


class Table(Generic[V]):
    """Values by key. `indexes` maps the name of an index to the function that gives a value's index values.

    `changed` is told the rank of each rule that has to run, and on what.
    """

    def __init__(self, kind: type[V], indexes: Mapping[str, IndexOf[V]], changed: Callable[[int, Key], None]) -> None:
        self.kind = kind
        # The ranks of the rules that run on every value of this table.
        self.ranks: list[int] = []
        # By index: the joins with what other tables file, and the table that holds each value in use.
        self.partners: dict[str, list[Partner]] = {name: [] for name in indexes}
        self.distinct: dict[str, Table[Any]] = {}
        # Whether the whole table has been given once (replace), so that absence means something.
        self.synced = False
        self._changed = changed
        self._index_of = dict(indexes)
        self._rows: dict[Key, V] = {}
        self._filed: dict[str, dict[Hashable, dict[Key, V]]] = {name: {} for name in indexes}
        self._places: dict[str | None, dict[Hashable, Place]] = {name: {} for name in (None, *indexes)}

    def __len__(self) -> int:
        """How many values there are."""
        return len(self._rows)

    def get(self, key: Key) -> V | None:
        """The value of that key, if any."""
        return self._rows.get(key)

    def by(self, index: str, value: Hashable) -> ValuesView[V]:
        """The values filed under `value` in `index`."""
        return self._filed[index].get(value, _NOTHING).values()

    def keys_by(self, index: str, value: Hashable) -> KeysView[Key]:
        """The keys of those values."""
        return self._filed[index].get(value, _NOTHING).keys()

    def filed_under(self, index: str, value: V) -> frozenset[Hashable]:
        """What `index` files the value under."""
        return frozenset(self._index_of[index](value))

    def __iter__(self) -> Iterator[Key]:
        """Every key. For the graph and for inputs; a View has no such thing."""
        return iter(self._rows)

    def put(self, key: Key, value: V) -> None:
        """The value of `key` is `value` from now on. An equal value changes nothing and wakes nobody."""
        old = self._rows.get(key)
        if old is not None and old == value:
            return
        self._rows[key] = value
        self._refile(key, old, value)

    def remove(self, key: Key) -> None:
        """There is no value of `key` from now on."""
        old = self._rows.pop(key, None)
        if old is not None:
            self._refile(key, old, None)

    def replace(self, values: Mapping[Any, V]) -> None:
        """`values` are all there are: what is not among them is gone."""
        for key in [key for key in self._rows if key not in values]:
            self.remove(key)
        for key, value in values.items():
            self.put(key, value)
        self.synced = True

    def place(self, index: str | None, value: Hashable) -> Place:
        """Where the key `value` is, or, given an index, all that is filed there under `value`."""
        places = self._places[index]
        found = places.get(value)
        if found is None:
            found = places[value] = Place(self, index, value)
        return found

    def vacate(self, place: Place) -> None:
        """Nobody reads there any more."""
        self._places[place.index].pop(place.value, None)

    def _refile(self, key: Key, old: V | None, new: V | None) -> None:
        for rank in self.ranks:
            self._changed(rank, key)
        self._wake(None, key)
        for name, index_of in self._index_of.items():
            before = set(index_of(old)) if old is not None else set()
            after = set(index_of(new)) if new is not None else set()
            filed, distinct = self._filed[name], self.distinct.get(name)
            for value in before - after:
                place = filed[value]
                del place[key]
                if not place:
                    del filed[value]
                    if distinct is not None:
                        distinct.remove(value)
            if new is not None:
                for value in after:
                    if value not in filed:
                        filed[value] = {}
                        if distinct is not None:
                            distinct.put(value, value)
                    filed[value][key] = new
            for value in before | after:
                self._wake(name, value)
                for partner in self.partners[name]:
                    for other in partner.table.keys_by(partner.index, value):
                        self._changed(partner.rank, (other, key) if partner.first else (key, other))

    def _wake(self, index: str | None, value: Hashable) -> None:
        place = self._places[index].get(value)
        if place is not None:
            for reader in place.readers:
                self._changed(reader.rank, reader.key)
