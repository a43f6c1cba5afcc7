"""Explain: why a fact stands, as a tree of derivations and what each of them read.

    Member Logical_Switch node-1 ports → shop/web-0
      pods.port on Pod shop/web-0
        read PodAllocation shop/web-0
        read NodeSubnets node-1

Reads of derived values lead on to the derivations that yield those. Walks what the graph has recorded; runs nothing.
"""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any

from ovnk.incremental.desired import Desired, Fact
from ovnk.incremental.graph import Derivation, Graph
from ovnk.incremental.table import Place


@dataclass(frozen=True, slots=True)
class Cause:
    """One derivation that yields the fact: the function, what it ran on (of a join: a pair), and what it read."""

    rule: str
    sources: tuple["Source", ...]
    reads: tuple["ReadOf", ...]


@dataclass(frozen=True, slots=True)
class Source:
    """A value that a function ran on, with its causes where it is itself derived."""

    kind: str
    key: Hashable
    causes: tuple[Cause, ...] = ()


@dataclass(frozen=True, slots=True)
class ReadOf:
    """One read: of a key, or of all that an index files under a value. `found` is how many values it gave."""

    kind: str
    index: str | None
    value: Hashable
    found: int
    causes: tuple[Cause, ...] = ()


def explain(graph: Graph, desired: Desired, fact: Fact) -> tuple[Cause, ...]:
    """Every derivation that yields the fact, with all that led to it; empty when the fact does not stand."""
    owners = [owner for owner in desired.owners(fact) if isinstance(owner, Derivation)]
    return tuple(_cause(graph, owner) for owner in sorted(owners, key=lambda owner: (owner.rule.name, str(owner.key))))


def text(causes: tuple[Cause, ...], indent: int = 0) -> str:
    """The tree as indented lines."""
    return "\n".join(_lines(causes, indent))


def _cause(graph: Graph, derivation: Derivation) -> Cause:
    sources = tuple(
        Source(table.kind.__name__, key, _causes_of(graph, table.kind, table.get(key)))
        for table, key in derivation.rule.source.places(derivation.key)
    )
    return Cause(derivation.rule.name, sources, tuple(_read(graph, place) for place in derivation.reads))


def _read(graph: Graph, place: Place) -> ReadOf:
    table = place.table
    found = [table.get(place.value)] if place.index is None else list(table.by(place.index, place.value))
    found = [one for one in found if one is not None]
    causes = tuple(cause for one in found for cause in _causes_of(graph, table.kind, one))
    return ReadOf(table.kind.__name__, place.index, place.value, len(found), causes)


def _causes_of(graph: Graph, kind: type, value: Any) -> tuple[Cause, ...]:
    derived = graph.derived(kind)
    return explain(graph, derived, value) if derived is not None and value is not None else ()


def _lines(causes: tuple[Cause, ...], depth: int) -> Iterator[str]:
    pad = "  " * depth
    for cause in causes:
        yield f"{pad}{cause.rule} on {', '.join(f'{source.kind} {source.key}' for source in cause.sources)}"
        for source in cause.sources:
            yield from _lines(source.causes, depth + 1)
        for read in cause.reads:
            place = f"{read.kind} {read.value}" if read.index is None else f"{read.kind} by {read.index} {read.value}"
            absent = "" if read.found else " (absent)"
            yield f"{pad}  read {place}{absent}"
            yield from _lines(read.causes, depth + 2)
