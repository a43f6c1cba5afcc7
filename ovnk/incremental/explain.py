"""Explain: why a fact stands, as a tree of derivations and what each of them read.

    Member Logical_Switch node-1 ports → shop/web-0
      pods.port on Pod shop/web-0
        read Node node-1
        read Allocation shop/web-0

Reads of derived values lead on to the derivations that yield those. Walks what the graph has recorded; runs nothing.
"""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any

from ovnk.incremental.desired import Desired, Fact
from ovnk.incremental.graph import Graph, Rule


@dataclass(frozen=True, slots=True)
class Cause:
    """One derivation that yields the fact: the function, the value it ran on, and what it read."""

    rule: str
    kind: str
    key: Hashable
    reads: tuple["ReadOf", ...]
    # The causes of the value it ran on, where that value is itself derived.
    source: tuple["Cause", ...] = ()


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
    rules = {rule.name: rule for rule in graph.rules}
    return tuple(
        _cause(graph, rules[name], key)
        for name, key in sorted(desired.owners(fact), key=lambda owner: (owner[0], str(owner[1])))
    )


def text(causes: tuple[Cause, ...], indent: int = 0) -> str:
    """The tree as indented lines."""
    return "\n".join(_lines(causes, indent))


def _cause(graph: Graph, rule: Rule, key: Hashable) -> Cause:
    source = _derivations_of(graph, rule.source.kind, rule.source.get(key))
    reads = tuple(_read(graph, table, index, value) for table, index, value in rule.reads.get(key, ()))
    return Cause(rule.name, rule.source.kind.__name__, key, reads, source)


def _read(graph: Graph, table: Any, index: str | None, value: Hashable) -> ReadOf:
    found = [table.get(value)] if index is None else list(table.by(index, value))
    found = [one for one in found if one is not None]
    causes = tuple(cause for one in found for cause in _derivations_of(graph, table.kind, one))
    return ReadOf(table.kind.__name__, index, value, len(found), causes)


def _derivations_of(graph: Graph, kind: type, value: Any) -> tuple[Cause, ...]:
    if value is None:
        return ()
    producers = [rule for rule in graph.rules if rule.derived is not None and rule.derived.kind is kind]
    if not producers:
        return ()
    owners = producers[0].into.owners(value)
    by_name = {rule.name: rule for rule in producers}
    return tuple(
        _cause(graph, by_name[name], key) for name, key in sorted(owners, key=lambda owner: (owner[0], str(owner[1])))
    )


def _lines(causes: tuple[Cause, ...], depth: int) -> Iterator[str]:
    pad = "  " * depth
    for cause in causes:
        yield f"{pad}{cause.rule} on {cause.kind} {cause.key}"
        yield from _lines(cause.source, depth + 1)
        for read in cause.reads:
            place = f"{read.kind} {read.value}" if read.index is None else f"{read.kind} by {read.index} {read.value}"
            absent = "" if read.found else " (absent)"
            yield f"{pad}  read {place}{absent}"
            yield from _lines(read.causes, depth + 2)
