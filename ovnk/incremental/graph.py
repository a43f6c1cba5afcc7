"""Graph: pure functions over tables, re-run when something they read has changed.

    Table ──▶ function(view, value) ──▶ values of a derived Table ──▶ function ──▶ facts in a Desired
                  │ view.get(kind, key), view.by(kind, index, value): each read is recorded
                  ▼
              Tables

One thread, no I/O. The result depends on what is in the input tables, never on the order in which it came: after any
changes, settle() leaves exactly what a new graph would have made of the same inputs.

What a function must be: deterministic, without side effects, reading only through its view, total over its inputs.
One that raises is a bug of ours: what it yielded before is held, and `failures` tells.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from ovnk.incremental.desired import Delta, Desired, Fact
from ovnk.incremental.table import IndexOf, Key, Table, Task

V = TypeVar("V")
# A read as it is recorded: the table, the index or None for a look-up by key, and the value looked up.
Read = tuple[Table[Any], str | None, Hashable]


class View:
    """How a function reads: by key or by index. There is no way to list a table, so none can be scanned by accident."""

    __slots__ = ("_reads", "_tables")

    def __init__(self, tables: Mapping[type, Table[Any]]) -> None:
        self._tables = tables
        self._reads: dict[Read, None] = {}

    def get(self, kind: type[V], key: Key) -> V | None:
        """The value of `kind` with that key, or None; its arrival, change or end will run the function again."""
        table: Table[V] = self._tables[kind]
        self._reads[table, None, key] = None
        return table.get(key)

    def by(self, kind: type[V], index: str, value: Hashable) -> Iterable[V]:
        """The values of `kind` filed under `value` in the index, in no order that may be relied on."""
        table: Table[V] = self._tables[kind]
        self._reads[table, index, value] = None
        return table.by(index, value)

    @property
    def reads(self) -> tuple[Read, ...]:
        """What has been read so far."""
        return tuple(self._reads)


Function = Callable[[View, Any], Iterable[Any]]

_NOTHING: tuple[Fact, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """A function that raised on the value `key` of `kind`. What it had yielded before is held."""

    rule: str
    kind: type
    key: Key
    error: Exception


@dataclass(slots=True, eq=False)
class Rule:
    """One function, the kind it runs on, and where its output goes: a Desired, or the derived table of a kind."""

    rank: int
    name: str
    source: Table[Any]
    function: Function
    into: Desired
    derived: Table[Any] | None
    reads: dict[Key, tuple[Read, ...]]
    # As tuples: a frozenset of one takes 216 bytes, a tuple 48, and there is one for each derivation.
    outputs: dict[Key, tuple[Fact, ...]]


class Graph:
    """Tables and the rules between them.

    With `check` every function is run twice and must yield the same: for tests, to find one that is not pure.
    """

    def __init__(self, check: bool = False) -> None:
        self.tables: dict[type, Table[Any]] = {}
        self.rules: list[Rule] = []
        self.failures: dict[tuple[str, Key], Failure] = {}
        # How often each rule has run: the cost of a change, counted rather than timed.
        self.runs: Counter[str] = Counter()
        self._check = check
        self._derived: dict[type, Desired] = {}
        self._dirty: list[dict[Key, None]] = []
        self._lowest = 0

    def table(self, kind: type[V], **indexes: IndexOf[V]) -> Table[V]:
        """A new table of `kind`, filed by `indexes`. An input, unless a rule derives into it."""
        if kind in self.tables:
            raise ValueError(f"there is a table of {kind.__name__} already")
        table = Table(kind, indexes, self._mark)
        self.tables[kind] = table
        return table

    def derive(self, kind: type, function: Function, into: Desired | type) -> None:
        """Run `function` on every value of `kind`; its output goes `into` a Desired or the table of a kind.

        A derived table holds each value under its `.key`. Rules are best made in the order in which the data
        flows: then nothing runs twice in one settle().
        """
        name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
        if any(rule.name == name for rule in self.rules):
            raise ValueError(f"{name} is wired already")
        derived = None
        if isinstance(into, type):
            derived = self.tables[into]
            into = self._derived.setdefault(into, Desired(into.__name__, lambda value: value.key))
        source = self.tables[kind]
        rank = len(self.rules)
        self.rules.append(Rule(rank, name, source, function, into, derived, {}, {}))
        self._dirty.append({})
        source.ranks.append(rank)
        self._mark((rank, key) for key in source)

    def settle(self, limit: int | None = None, until: int | None = None) -> bool:
        """Run what has to be run, at most `limit` functions; whether all is settled now.

        With `until` only the rules of a lower rank are run: those that were made first.
        """
        dirty = self._dirty
        end = len(dirty) if until is None else until
        while self._lowest < end:
            waiting = dirty[self._lowest]
            if not waiting:
                self._lowest += 1
                continue
            if limit is not None:
                if limit == 0:
                    return False
                limit -= 1
            key, _ = waiting.popitem()
            self._run(self.rules[self._lowest], key)
        return True

    def contradictions(self) -> list[Any]:
        """The contradictions within derived tables; those of a Desired are asked of it."""
        return [found for desired in self._derived.values() for found in desired.contradictions()]

    def _mark(self, tasks: Iterable[Task]) -> None:
        for rank, key in tasks:
            self._dirty[rank][key] = None
            if rank < self._lowest:
                self._lowest = rank

    def _run(self, rule: Rule, key: Key) -> None:
        task, derivation = (rule.rank, key), (rule.name, key)
        value = rule.source.get(key)
        old = rule.outputs.get(key, _NOTHING)
        new = _NOTHING
        reads: tuple[Read, ...] = ()
        self.failures.pop(derivation, None)
        if value is not None:
            self.runs[rule.name] += 1
            view = View(self.tables)
            try:
                new = tuple(dict.fromkeys(rule.function(view, value)))
                if self._check and frozenset(rule.function(View(self.tables), value)) != frozenset(new):
                    raise AssertionError(f"{rule.name} is not a pure function: it yields another result when run again")
            except Exception as error:  # whatever a function of ours raises concerns its own facts only
                self.failures[derivation] = Failure(rule.name, rule.source.kind, key, error)
                new = old
            reads = view.reads
        self._note_reads(rule, key, task, reads)
        if new == old:
            return
        if new:
            rule.outputs[key] = new
        else:
            del rule.outputs[key]
        before, after = frozenset(old), frozenset(new)
        rule.into.update(derivation, after - before, before - after)
        if rule.derived is not None:
            _apply(rule.into.take(), rule.derived)

    def _note_reads(self, rule: Rule, key: Key, task: Task, reads: tuple[Read, ...]) -> None:
        before = rule.reads.get(key, ())
        if before == reads:
            return
        for table, index, value in before:
            table.forget_read(task, index, value)
        for table, index, value in reads:
            table.note_read(task, index, value)
        if reads:
            rule.reads[key] = reads
        else:
            del rule.reads[key]


def _apply(delta: Delta, table: Table[Any]) -> None:
    """Carry a change of derived values into their table; a value that changed is put, not removed first."""
    added: dict[Key, Any] = {value.key: value for value in delta.added}  # type: ignore[attr-defined]  # derive() asks for .key
    for value in delta.removed:
        if value.key not in added:  # type: ignore[attr-defined]  # as above
            table.remove(value.key)  # type: ignore[attr-defined]  # as above
    for key, value in added.items():
        table.put(key, value)
