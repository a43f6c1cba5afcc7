"""Table: the values of one kind by key, indexed, and who read which of them.

A table tells the graph which derivations a change concerns: those that run on the changed key and those that
read it or an index value it has or had. It runs nothing itself.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, ValuesView
from typing import Any, Generic, TypeVar

Key = Hashable
V = TypeVar("V")
# A derivation as the graph queues it: (rank of its rule, key of the value it runs on).
Task = tuple[int, Key]
# The values under which an index files a value.
IndexOf = Callable[[V], Iterable[Hashable]]

_NOTHING: dict[Any, Any] = {}


class Table(Generic[V]):
    """Values by key. `indexes` maps the name of an index to the function that gives a value's index values."""

    def __init__(
        self, kind: type[V], indexes: Mapping[str, IndexOf[V]], changed: Callable[[Iterable[Task]], None]
    ) -> None:
        self.kind = kind
        # The ranks of the rules that run on every value of this table.
        self.ranks: list[int] = []
        # Whether the whole table has been given once (replace), so that absence means something.
        self.synced = False
        self._changed = changed
        self._index_of = dict(indexes)
        self._rows: dict[Key, V] = {}
        self._filed: dict[str, dict[Hashable, dict[Key, V]]] = {name: {} for name in indexes}
        self._readers: dict[Key, set[Task]] = {}
        self._index_readers: dict[tuple[str, Hashable], set[Task]] = {}

    def __len__(self) -> int:
        """How many values there are."""
        return len(self._rows)

    def get(self, key: Key) -> V | None:
        """The value of that key, if any."""
        return self._rows.get(key)

    def by(self, index: str, value: Hashable) -> ValuesView[V]:
        """The values filed under `value` in `index`."""
        return self._filed[index].get(value, _NOTHING).values()

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

    def note_read(self, task: Task, index: str | None, value: Hashable) -> None:
        """`task` has read the key `value`, or, given an index, all that is filed there under `value`."""
        if index is None:
            self._readers.setdefault(value, set()).add(task)
        else:
            self._index_readers.setdefault((index, value), set()).add(task)

    def forget_read(self, task: Task, index: str | None, value: Hashable) -> None:
        """The opposite of note_read."""
        readers: dict[Any, set[Task]] = self._readers if index is None else self._index_readers
        place = value if index is None else (index, value)
        if (tasks := readers.get(place)) is not None:
            tasks.discard(task)
            if not tasks:
                del readers[place]

    def _refile(self, key: Key, old: V | None, new: V | None) -> None:
        self._changed([(rank, key) for rank in self.ranks])
        if readers := self._readers.get(key):
            self._changed(readers)
        for name, index_of in self._index_of.items():
            before = set(index_of(old)) if old is not None else set()
            after = set(index_of(new)) if new is not None else set()
            filed = self._filed[name]
            for value in before - after:
                place = filed[value]
                del place[key]
                if not place:
                    del filed[value]
            if new is not None:
                for value in after:
                    filed.setdefault(value, {})[key] = new
            for value in before | after:
                if readers := self._index_readers.get((name, value)):
                    self._changed(readers)
