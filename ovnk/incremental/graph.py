"""Graph: pure functions over tables, re-run when something they read has changed.

    Table ──▶ function(view, value) ──▶ values of a derived Table ──▶ function ──▶ facts in a Desired
                  │ view.get(kind, key), view.by(kind, index, value): each read is recorded
                  ▼
              Tables

    Table ─┐
           ├─▶ function(view, left, right), on each pair that two indexes file under one value ──▶ as above
    Table ─┘

A function that reads an index runs whenever anything is filed there anew, over all of it; a join runs on the new pairs
alone. So what is many against many is a join.

One thread, no I/O. The result depends on what is in the input tables, never on the order in which it came: after any
changes, settle() leaves exactly what a new graph would have made of the same inputs.

What a function must be: deterministic, without side effects, reading only through its view, total over its inputs.
One that raises is a bug of ours: what it yielded before is held, and `failures` tells.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ovnk.incremental.desired import Delta, Desired, Fact
from ovnk.incremental.table import IndexOf, Key, Partner, Place, Table

V = TypeVar("V")


class View:
    """How a function reads: by key or by index. There is no way to list a table, so none can be scanned by accident."""

    __slots__ = ("_reads", "_tables")

    def __init__(self, tables: Mapping[type, Table[Any]]) -> None:
        self._tables = tables
        self._reads: dict[Place, None] = {}

    def get(self, kind: type[V], key: Key) -> V | None:
        """The value of `kind` with that key, or None; its arrival, change or end will run the function again."""
        table: Table[V] = self._tables[kind]
        self._reads[table.place(None, key)] = None
        return table.get(key)

    def by(self, kind: type[V], index: str, value: Hashable) -> Iterable[V]:
        """The values of `kind` filed under `value` in the index, in no order that may be relied on."""
        table: Table[V] = self._tables[kind]
        self._reads[table.place(index, value)] = None
        return table.by(index, value)

    @property
    def reads(self) -> tuple[Place, ...]:
        """What has been read so far."""
        return tuple(self._reads)


Function = Callable[..., Iterable[Any]]

_NOTHING: tuple[Fact, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """A function that raised on the value `key` of `kind` (of a pair: the right one). What it had yielded is held."""

    rule: str
    kind: type
    key: Key
    error: Exception


@dataclass(frozen=True, slots=True)
class Each:
    """What a function is run on: each value of a table, by its key."""

    table: Table[Any]

    def arguments(self, key: Key) -> tuple[Any, ...] | None:
        """The value of that key; None when there is none."""
        value = self.table.get(key)
        return None if value is None else (value,)

    def places(self, key: Key) -> tuple[tuple[Table[Any], Key], ...]:
        """The table, and the key in it."""
        return ((self.table, key),)


@dataclass(frozen=True, slots=True)
class Pairs:
    """What a function is run on: each pair of values that two tables file under one value, by the keys of both."""

    left: Table[Any]
    left_index: str
    right: Table[Any]
    right_index: str

    def arguments(self, key: Key) -> tuple[Any, ...] | None:
        """The pair of those keys; None when they make none, or no longer."""
        (_, left_key), (_, right_key) = self.places(key)
        left, right = self.left.get(left_key), self.right.get(right_key)
        if left is None or right is None:
            return None
        for value in self.left.filed_under(self.left_index, left):
            if right_key in self.right.keys_by(self.right_index, value):
                return (left, right)
        return None

    def places(self, key: Key) -> tuple[tuple[Table[Any], Key], ...]:
        """The two tables, and the key in each."""
        assert isinstance(key, tuple)
        return ((self.left, key[0]), (self.right, key[1]))


@dataclass(slots=True, eq=False)
class Rule:
    """One function, what it runs on, and where its output goes: a Desired, or the derived table of a kind.

    Derivations that neither read nor yielded anything are not kept.
    """

    rank: int
    name: str
    source: Each | Pairs
    function: Function
    into: Desired
    derived: Table[Any] | None
    derivations: dict[Key, "Derivation"] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Derivation:
    """A function run on one value, or on one pair: what it read, and what it yielded.

    As tuples: a frozenset of one takes 216 bytes, a tuple 48, and there are several derivations for each pod.
    """

    rule: Rule
    key: Key
    reads: tuple[Place, ...] = ()
    yielded: tuple[Fact, ...] = _NOTHING

    @property
    def rank(self) -> int:
        """Its rule's."""
        return self.rule.rank

    @property
    def kind(self) -> type:
        """The kind of what it was run on; of a pair, the right one's."""
        return self.rule.source.places(self.key)[-1][0].kind


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
        # By rank, what that rule has to be run on.
        self._dirty: dict[int, dict[Key, None]] = {}

    def table(self, kind: type[V], **indexes: IndexOf[V]) -> Table[V]:
        """A new table of `kind`, filed by `indexes`. An input, unless something derives into it.

        Raises ValueError for a second table of one kind.
        """
        if kind in self.tables:
            raise ValueError(f"there is a table of {kind.__name__} already")
        table = Table(kind, indexes, self._mark)
        self.tables[kind] = table
        return table

    def distinct(self, kind: type, index: str, into: type) -> None:
        """The table of `into` holds what the index files values of `kind` under, each once, as its own key.

        To be made before there are values.
        """
        self.tables[kind].distinct[index] = self.tables[into]

    def derive(self, kind: type, function: Function, into: Desired | type) -> None:
        """Run `function` on every value of `kind`; its output goes `into` a Desired or the table of a kind.

        A derived table holds each value under its `.key`. Rules are best made in the order in which the data
        flows: then nothing runs twice in one settle().
        """
        table = self.tables[kind]
        rank = self._rule(Each(table), function, into)
        table.ranks.append(rank)
        for key in table:
            self._mark(rank, key)

    def join(self, left: tuple[type, str], right: tuple[type, str], function: Function, into: Desired | type) -> None:
        """Run `function` on every pair of values that are filed under the same value: (kind, index) of each.

        The left index is the one that files under few values. To be made before there are values.
        """
        one, other = self.tables[left[0]], self.tables[right[0]]
        rank = self._rule(Pairs(one, left[1], other, right[1]), function, into)
        one.partners[left[1]].append(Partner(rank, other, right[1], first=False))
        other.partners[right[1]].append(Partner(rank, one, left[1], first=True))

    def settle(self, limit: int | None = None, until: int | None = None) -> bool:
        """Run what has to be run, at most `limit` functions; whether all is settled now.

        With `until` only the rules of a lower rank are run: those that were made first.
        """
        dirty = self._dirty
        while dirty:
            rank = min(dirty)
            if until is not None and rank >= until:
                break
            if limit is not None:
                if limit == 0:
                    return False
                limit -= 1
            waiting = dirty[rank]
            key, _ = waiting.popitem()
            if not waiting:
                del dirty[rank]
            self._run(self.rules[rank], key)
        return True

    def derived(self, kind: type) -> Desired | None:
        """The values that functions derive into the table of `kind`; None when no function does."""
        return self._derived.get(kind)

    def contradictions(self) -> list[Any]:
        """The contradictions within derived tables; those of a Desired are asked of it."""
        return [found for desired in self._derived.values() for found in desired.contradictions()]

    def _rule(self, source: Each | Pairs, function: Function, into: Desired | type) -> int:
        name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
        if any(rule.name == name for rule in self.rules):
            raise ValueError(f"{name} is wired already")
        derived = None
        if isinstance(into, type):
            derived = self.tables[into]
            into = self._derived.setdefault(into, Desired(into.__name__, lambda value: value.key))
        rank = len(self.rules)
        self.rules.append(Rule(rank, name, source, function, into, derived))
        return rank

    def _mark(self, rank: int, key: Key) -> None:
        waiting = self._dirty.get(rank)
        if waiting is None:
            self._dirty[rank] = {key: None}
        else:
            waiting[key] = None

    def _run(self, rule: Rule, key: Key) -> None:
        derivation = rule.derivations.get(key)
        arguments = rule.source.arguments(key)
        if self.failures:
            self.failures.pop((rule.name, key), None)
        if derivation is None:
            if arguments is None:
                return
            derivation = Derivation(rule, key)
        old, new = derivation.yielded, _NOTHING
        reads: tuple[Place, ...] = ()
        if arguments is not None:
            self.runs[rule.name] += 1
            view = View(self.tables)
            try:
                new = tuple(dict.fromkeys(rule.function(view, *arguments)))
                if self._check and frozenset(rule.function(view, *arguments)) != frozenset(new):
                    raise AssertionError(f"{rule.name} is not a pure function: it yields another result when run again")
            except Exception as error:  # whatever a function of ours raises concerns its own facts only
                table, place = rule.source.places(key)[-1]
                self.failures[rule.name, key] = Failure(rule.name, table.kind, place, error)
                new = old
            reads = view.reads
        if reads != derivation.reads:
            _note_reads(derivation, reads)
        if new != old:
            derivation.yielded = new
            kept = frozenset(old).intersection(new)
            rule.into.update(
                derivation, [one for one in new if one not in kept], [one for one in old if one not in kept]
            )
            if rule.derived is not None:
                _apply(rule.into.take(), rule.derived)
        if reads or new:
            rule.derivations[key] = derivation
        else:
            rule.derivations.pop(key, None)


def _note_reads(derivation: Derivation, reads: tuple[Place, ...]) -> None:
    before, after = frozenset(derivation.reads), frozenset(reads)
    derivation.reads = reads
    for place in after - before:
        place.note(derivation)
    for place in before - after:
        place.forget(derivation)


def _apply(delta: Delta, table: Table[Any]) -> None:
    """Carry a change of derived values into their table; a value that changed is put, not removed first."""
    added: dict[Key, Any] = {value.key: value for value in delta.added}  # type: ignore[attr-defined]  # derive() asks for .key
    for value in delta.removed:
        if value.key not in added:  # type: ignore[attr-defined]  # as above
            table.remove(value.key)  # type: ignore[attr-defined]  # as above
    for key, value in added.items():
        table.put(key, value)
