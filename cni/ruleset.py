"""The node's nftables rules: pods' traffic to the outside is masqueraded, and the kernel keeps off pods' links.

Two tables of ours, replaced as a whole in one transaction; nobody else's are touched. One rule covers all pods by
the prefix of their interfaces' names, so that a pod costs nothing here and there is no moment without it.
"""

import json
from collections.abc import Iterable

from cni import nft
from cni.attachment import HOST_PREFIX
from cni.nft import RulesetError
from ovnk.contract import MANAGEMENT_INTERFACE

TABLE = "ovnk"
_FAMILIES = ("inet", "arp")
# Whether they are there or not.
_NONE = "\n".join(f"add table {family} {TABLE}\ndelete table {family} {TABLE}" for family in _FAMILIES)


def text(pods: Iterable[str], inside: Iterable[str]) -> str:
    """What nft(8) shall read. `pods` are the networks that are masqueraded, `inside` those towards which never.

    With the userspace datapath Open vSwitch reads a veth by AF_PACKET and the kernel sees the packets too: it would
    answer a pod's ARP for ovnk0's address, and deliver broadcasts to the node. They are dropped before routing and
    tracking; the socket has its copy by then. With the kernel's datapath they never come this far.
    """
    pods, inside = tuple(pods), tuple(inside)
    masquerade = []
    for family, colon in (("ip", False), ("ip6", True)):
        sources = [cidr for cidr in pods if (":" in cidr) is colon]
        kept = [cidr for cidr in inside if (":" in cidr) is colon]
        if sources:
            masquerade.append(
                f"    {family} saddr {{ {', '.join(sources)} }} {family} daddr != {{ {', '.join(kept)} }} masquerade"
            )
    lines = [
        _NONE,
        f"table inet {TABLE} {{",
        "  chain isolate {",
        "    type filter hook prerouting priority raw; policy accept;",
        f'    iifname "{HOST_PREFIX}*" drop',
        "  }",
        "  chain postrouting {",
        "    type nat hook postrouting priority srcnat; policy accept;",
        f'    oifname "{MANAGEMENT_INTERFACE}" return',
        *masquerade,
        "  }",
        "}",
        f"table arp {TABLE} {{",
        "  chain isolate {",
        "    type filter hook input priority filter; policy accept;",
        f'    iifname "{HOST_PREFIX}*" drop',
        "  }",
        "}",
    ]
    return "\n".join(lines) + "\n"


class Ruleset:
    """Our tables in the kernel: put in place, and put back where somebody changed them."""

    def __init__(self) -> None:
        self._wanted = ""
        self._seen: list[bytes] = []

    async def apply(self, wanted: str) -> bool:
        """Makes the tables as `wanted` unless they are; True if something changed. Raises RulesetError.

        What nft lists right after is remembered: text that is listed never equals text that was read.
        """
        if wanted == self._wanted and self._seen == await _listed():
            return False
        await nft.run("-f", "-", stdin=wanted)
        self._wanted, self._seen = wanted, await _listed()
        return True

    async def clear(self) -> bool:
        """Takes our tables away; True if there were any. Raises RulesetError."""
        if not any(await _listed()):
            return False
        await nft.run("-f", "-", stdin=_NONE)
        self._wanted, self._seen = "", []
        return True


async def strangers_that_drop_forwarding() -> list[str]:
    """Chains of others that drop what is forwarded unless a rule accepts it ("ip filter FORWARD").

    An accept of ours would not help: each table decides for itself. So the operator has to be told.
    """
    document = json.loads(await nft.run("-j", "list", "chains"))
    chains = [item["chain"] for item in document["nftables"] if "chain" in item]
    return [
        f"{chain['family']} {chain['table']} {chain['name']}"
        for chain in chains
        if chain.get("hook") == "forward" and chain.get("policy") == "drop" and chain["table"] != TABLE
    ]


async def _listed() -> list[bytes]:
    """Our tables as nft lists them; b"" for one that is missing."""
    listed = []
    for family in _FAMILIES:
        try:
            listed.append(await nft.run("list", "table", family, TABLE))
        except RulesetError:
            listed.append(b"")
    return listed
