"""The table for services as text: what a node shall do, for people, golden files and `ovnk compile --rules`.

What is there whatever the services are comes first; then each object with the chains and elements that it causes, so
that what a Service does at a node is read in one place. Everything is sorted: equal facts give equal text. Nothing
parses it.

    Service/shop/web
        node_ports4
            tcp . 30080 : 10.96.0.10 . 80
"""

from collections import defaultdict
from collections.abc import Iterable

from cni.service_table import FAMILY, TABLE, Chain, Element, Fact, Here, Memory
from ovnk.incremental.desired import Desired
from ovnk.incremental.graph import Derivation

_INDENT = "    "


def render(rules: Desired, here: Here) -> str:
    """The text of the table with these facts."""
    by_owner: dict[str, set[Fact]] = defaultdict(set)
    for fact in rules:
        for owner in rules.owners(fact):
            by_owner[_owner(owner)].add(fact)  # type: ignore[arg-type]  # Facts
    blocks = [f'table {FAMILY} "{TABLE}" of node {here.node}\n']
    blocks += [_block(owner or "whatever the Services are", by_owner[owner]) for owner in sorted(by_owner)]
    return "\n".join(blocks)


def _owner(owner: object) -> str:
    """Whose it is; nobody's is the frame, which follows from the node and the Nodes."""
    assert isinstance(owner, Derivation)
    kind = owner.kind.__name__
    return "" if kind in ("Here", "Node") else f"{kind}/{owner.key}"


def _block(title: str, facts: Iterable[Fact]) -> str:
    sections: dict[str, list[str]] = defaultdict(list)
    for fact in facts:
        if isinstance(fact, Element):
            sections[fact.set].append(" . ".join(fact.key) + (f" : {fact.value}" if fact.value else ""))
        elif isinstance(fact, Chain):
            sections[f"chain {fact.name}" + (f" ({fact.hook})" if fact.hook else "")] = list(fact.rules)
        elif isinstance(fact, Memory):
            sections[f"set {fact.name}"] = [f"clients are remembered for {fact.timeout_s} s"]
    lines = [title]
    for name, content in sorted(sections.items()):
        lines.append(f"{_INDENT}{name}")
        lines += [f"{_INDENT * 2}{line}" for line in (content if " " in name else sorted(content))]
    return "".join(f"{line}\n" for line in lines)
