"""Desired: facts with the derivations that yield them, and what changed since it was last asked.

A fact that several derivations yield is there once, until the last of them withdraws it. This is the only place
where facts are counted. What is done about a Delta is the sinks' business.
"""

from collections.abc import Callable, Hashable, Iterable, Set
from dataclasses import dataclass

# (name of the function, key of the value it was run on): who yields a fact.
Derivation = tuple[str, Hashable]


@dataclass(frozen=True, slots=True)
class Delta:
    """What came and what went. One that changed is in both: its old value removed, its new one added."""

    added: frozenset[Hashable] = frozenset()
    removed: frozenset[Hashable] = frozenset()

    def __bool__(self) -> bool:
        """Whether anything changed at all."""
        return bool(self.added or self.removed)


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Derivations that yielded different facts of one identity: a bug of ours. `kept` is the one that stands."""

    identity: Hashable
    kept: Hashable
    refused: frozenset[Hashable]
    derivations: frozenset[Derivation]


class Desired:
    """A set of facts, each with its owners. Given an `identity`, no two facts of one identity stand at a time.

    `identity` maps a fact to what it is about, or to None where a fact is only itself; a Row, say, is about its
    table and key.
    """

    def __init__(self, name: str, identity: Callable[[Hashable], Hashable | None] | None = None) -> None:
        self.name = name
        self._identity = identity
        self._owners: dict[Hashable, Derivation | set[Derivation]] = {}
        self._rivals: dict[Hashable, set[Hashable]] = {}
        self._by_identity: dict[Hashable, Hashable] = {}
        self._touched: dict[Hashable, bool] = {}

    def update(self, derivation: Derivation, added: Iterable[Hashable], removed: Iterable[Hashable]) -> None:
        """`derivation` yields `added` from now on, and `removed` no longer."""
        for fact in removed:
            self._withdraw(fact, derivation)
        for fact in added:
            self._yield(fact, derivation)
