"""What is in the kernel's table: nft's JSON → facts, so that an agent that starts changes only what differs.

Pure. Rules are not read: a chain is known by its definition and its rules' comments (service_table.Chain.marks). What
the kernel remembers of clients is left out; that is its own.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from cni.service_table import SETS, Chain, Element, Fact, Memory

_PROTOCOLS = {6: "tcp", 17: "udp", 132: "sctp"}


@dataclass(frozen=True, slots=True)
class Seen:
    """A chain in the kernel."""

    name: str
    hook: str
    marks: tuple[str, ...]

    @property
    def identity(self) -> tuple[str, ...]:
        """Its name, as Chain.identity."""
        return ("chain", self.name)


def read(listing: bytes) -> set[Element | Memory | Seen]:
    """What `nft -j -n list table` says is there."""
    items: list[dict[str, Any]] = msgspec.json.decode(listing)["nftables"]
    found: set[Element | Memory | Seen] = set()
    hooks: dict[str, str] = {}
    marks: dict[str, list[str]] = {}
    for item in items:
        if chain := item.get("chain"):
            hooks[chain["name"]] = _hook(chain)
        elif rule := item.get("rule"):
            marks.setdefault(rule["chain"], []).append(rule.get("comment", ""))
        elif one := item.get("map") or item.get("set"):
            if one["name"] in SETS:
                found.update(_element(one["name"], entry) for entry in one.get("elem", ()))
            elif "timeout" in one:
                found.add(Memory(one["name"], 6 if one["type"] == "ipv6_addr" else 4, one["timeout"]))
    found.update(Seen(name, hook, tuple(marks.get(name, ()))) for name, hook in hooks.items())
    return found


def difference(
    wanted: Iterable[Fact], found: set[Element | Memory | Seen]
) -> tuple[list[Fact], list[Element | Memory | Seen]]:
    """(what is to be added, what is to be removed); a chain whose rules differ is in both."""
    seen = {Seen(one.name, one.hook, one.marks) if isinstance(one, Chain) else one: one for one in wanted}
    return [fact for one, fact in seen.items() if one not in found], [one for one in found if one not in seen]


def _hook(chain: dict[str, Any]) -> str:
    if "hook" not in chain:
        return ""
    return f"type {chain['type']} hook {chain['hook']} priority {chain['prio']}; policy {chain['policy']};"


def _element(name: str, entry: Any) -> Element:
    entry = entry.get("elem", {}).get("val", entry) if isinstance(entry, dict) and "elem" in entry else entry
    key, value = entry if isinstance(entry, list) else (entry, None)
    return Element(name, _key(key), _value(value))


def _key(key: Any) -> tuple[str, ...]:
    if isinstance(key, dict) and "prefix" in key:
        return (f"{key['prefix']['addr']}/{key['prefix']['len']}",)
    parts = key["concat"] if isinstance(key, dict) and "concat" in key else [key]
    *before, last = parts
    # In a socket's key the protocol stands before the port.
    return (*(_PROTOCOLS.get(part, str(part)) for part in before), str(last))


def _value(value: Any) -> str:
    if value is None:
        return ""
    if "concat" in value:
        return " . ".join(map(str, value["concat"]))
    if "goto" in value:
        return f"goto {value['goto']['target']}"
    return str(next(iter(value)))
