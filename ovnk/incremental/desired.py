"""Desired: facts with those that yield them, and what changed since it was last asked.

A fact that several derivations yield is there once, until the last of them withdraws it; this is the only place
where facts are counted. What is done about a Delta is the business of whoever takes it.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass

# Who yields a fact: a derivation of the graph's, but nothing here asks what it is.
Owner = Hashable
Fact = Hashable


@dataclass(frozen=True, slots=True)
class Delta:
    """What came and what went. One that changed is in both: its old value removed, its new one added."""

    added: frozenset[Fact] = frozenset()
    removed: frozenset[Fact] = frozenset()

    def __bool__(self) -> bool:
        """Whether anything changed at all."""
        return bool(self.added or self.removed)


_UNCHANGED = Delta()


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Derivations that yield different facts of one identity, a bug of ours: `kept` stands, `refused` do not."""

    identity: Hashable
    kept: Fact
    refused: frozenset[Fact]
    owners: frozenset[Owner]


def no_identity(_fact: Fact) -> None:
    """For facts that are about nothing but themselves, so that no two can contradict each other."""


class Desired:
    """A set of facts, each with its owners.

    `identity` says what a fact is about (a Row: its table and key), or None where it is only itself. Of several
    facts of one identity the least by repr stands, whatever came first: the set depends on who yields what now,
    never on the way there.
    """

    def __init__(self, name: str, identity: Callable[..., Hashable | None] = no_identity) -> None:
        self.name = name
        self.identity = identity
        self._owners: dict[Fact, Owner | set[Owner]] = {}
        self._about: dict[Hashable, Fact] = {}
        self._contested: dict[Hashable, set[Fact]] = {}
        self._refused: set[Fact] = set()
        # What was touched since the last take(), and whether it stood before.
        self._touched: dict[Fact, bool] = {}

    def __iter__(self) -> Iterator[Fact]:
        """Every fact that stands."""
        refused = self._refused
        return iter(self._owners) if not refused else (fact for fact in self._owners if fact not in refused)

    def __contains__(self, fact: Fact) -> bool:
        """Whether the fact stands."""
        return fact in self._owners and fact not in self._refused

    def __len__(self) -> int:
        """How many facts stand."""
        return len(self._owners) - len(self._refused)

    def about(self, identity: Hashable) -> Fact | None:
        """The fact of that identity which stands, if any."""
        if identity in self._contested:
            return next((fact for fact in self._contested[identity] if fact in self), None)
        return self._about.get(identity)

    def owners(self, fact: Fact) -> frozenset[Owner]:
        """Those that yield the fact; empty when nobody does."""
        owners = self._owners.get(fact)
        if owners is None:
            return frozenset()
        return frozenset(owners) if isinstance(owners, set) else frozenset((owners,))

    def update(self, owner: Owner, added: Iterable[Fact], removed: Iterable[Fact]) -> None:
        """`owner` yields `added` from now on, and `removed` no longer."""
        for fact in removed:
            self._withdraw(fact, owner)
        for fact in added:
            self._yield(fact, owner)

    def take(self) -> Delta:
        """What changed since it was last taken."""
        if not self._touched:
            return _UNCHANGED
        for identity in [one for one, facts in self._contested.items() if not facts.isdisjoint(self._touched)]:
            self._judge(identity)
        touched, self._touched = self._touched, {}
        owners, refused = self._owners, self._refused
        added: list[Fact] = []
        removed: list[Fact] = []
        for fact, stood in touched.items():
            if stood != (fact in owners and fact not in refused):
                (removed if stood else added).append(fact)
        return Delta(frozenset(added), frozenset(removed))

    def contradictions(self) -> list[Contradiction]:
        """The identities of which more than one fact is yielded, as of the last take()."""
        found = []
        for identity, facts in self._contested.items():
            kept = next(fact for fact in facts if fact in self)
            owners = frozenset(owner for fact in facts for owner in self.owners(fact))
            found.append(Contradiction(identity, kept, frozenset(facts - {kept}), owners))
        return found

    def _yield(self, fact: Fact, owner: Owner) -> None:
        owners = self._owners.get(fact)
        if owners is None:
            self._touched.setdefault(fact, False)
            self._owners[fact] = owner
            identity = self.identity(fact)
            if identity is not None:
                rival = self._about.setdefault(identity, fact)
                if rival != fact:
                    self._contested.setdefault(identity, {rival}).add(fact)
        elif isinstance(owners, set):
            owners.add(owner)
        elif owners != owner:
            self._owners[fact] = {owners, owner}

    def _withdraw(self, fact: Fact, owner: Owner) -> None:
        owners = self._owners[fact]
        if isinstance(owners, set):
            owners.discard(owner)
            if owners:
                return
        self._touched.setdefault(fact, fact not in self._refused)
        del self._owners[fact]
        identity = self.identity(fact)
        if identity is not None and identity not in self._contested:
            del self._about[identity]

    def _judge(self, identity: Hashable) -> None:
        """Decide which of the facts of one identity stands."""
        facts = self._contested[identity]
        for fact in facts:
            self._touched.setdefault(fact, fact in self)
        self._refused -= facts
        alive = sorted((fact for fact in facts if fact in self._owners), key=repr)
        if len(alive) > 1:
            self._contested[identity] = set(alive)
            self._refused.update(alive[1:])
        else:
            del self._contested[identity]
        if alive:
            self._about[identity] = alive[0]
        else:
            del self._about[identity]
