"""A change of facts → what nft(8) shall read, in one transaction and in an order in which nothing is missing.

Pure. A chain that is there gets all its rules anew, which no packet notices; its name, which elements refer to, stays.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from cni.service_reading import Seen
from cni.service_table import FAMILY, TABLE, Chain, Element, Fact, Memory

_ADDRESSES = {4: "ipv4_addr", 6: "ipv6_addr"}
# One command of so many elements; longer lines would be no faster.
_ELEMENTS_MAX = 500


def commands(added: Iterable[Fact], removed: Iterable[Fact | Seen]) -> str:
    """The commands; what is both removed and added under one identity is a change."""
    added, removed = list(added), list(removed)
    kept = {fact.identity for fact in added}
    gone = {fact.identity for fact in removed} - kept
    lines = [
        f"add set {FAMILY} {TABLE} {one.name} "
        f"{{ type {_ADDRESSES[one.family]}; flags dynamic,timeout; timeout {one.timeout_s}s; }}"
        for one in _sorted(added, Memory)
    ]
    chains = _sorted(added, Chain)
    lines += [f"add chain {FAMILY} {TABLE} {one.name} {{ {one.hook} }}".replace("{  }", "") for one in chains]
    lines += _elements("delete", removed)
    left = [one for one in _sorted(removed, Chain, Seen) if one.identity in gone]
    lines += [f"flush chain {FAMILY} {TABLE} {one.name}" for one in (*chains, *left)]
    lines += [
        f'add rule {FAMILY} {TABLE} {one.name} {rule} comment "{mark}"'
        for one in chains
        for rule, mark in zip(one.rules, one.marks, strict=True)
    ]
    lines += _elements("add", added)
    lines += [f"delete chain {FAMILY} {TABLE} {one.name}" for one in left]
    lines += [f"delete set {FAMILY} {TABLE} {one.name}" for one in _sorted(removed, Memory) if one.identity in gone]
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _elements(verb: str, facts: Iterable[Fact | Seen]) -> Iterator[str]:
    by_set: dict[str, list[str]] = defaultdict(list)
    for one in facts:
        if isinstance(one, Element):
            value = f" : {one.value}" if one.value and verb == "add" else ""
            by_set[one.set].append(" . ".join(one.key) + value)
    for name, elements in sorted(by_set.items()):
        elements.sort()
        for begin in range(0, len(elements), _ELEMENTS_MAX):
            some = ", ".join(elements[begin : begin + _ELEMENTS_MAX])
            yield f"{verb} element {FAMILY} {TABLE} {name} {{ {some} }}"


def _sorted(facts: Iterable[Fact | Seen], *kinds: type) -> list[Any]:
    return sorted((one for one in facts if isinstance(one, kinds)), key=lambda one: one.name)
