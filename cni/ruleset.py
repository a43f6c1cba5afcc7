"""The node's nftables rules: pods' traffic to the outside is masqueraded, and the kernel keeps off pods' links.

Two tables of ours, replaced as a whole in one transaction; nobody else's are touched. One rule covers all pods by
the prefix of their interfaces' names, so that a pod costs nothing here and there is no moment without it.
"""

import json
from collections.abc import Callable, Iterable

from cni import nft
from cni.attachment import HOST_PREFIX
from cni.nft import RulesetError
from cni.nft_monitor import Monitor
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
    """Our tables in the kernel: put in place, and put back where somebody else changed them."""

    def __init__(self, tampered: Callable[[], None]) -> None:
        """`tampered` is called when somebody else changed them: it is time for apply() again."""
        self._tampered = tampered
        self._monitor = Monitor(TABLE, self._heard)
        # What is in the kernel; None when that is not known.
        self._there: str | None = None

    def start(self) -> None:
        """Hears of others' changes from now on."""
        self._monitor.start()

    def close(self) -> None:
        """Hears of nothing more."""
        self._monitor.close()

    async def apply(self, wanted: str) -> bool:
        """Makes the tables as `wanted` unless they are; True if they were written. Raises RulesetError."""
        if wanted == self._there:
            return False
        # Before it is written: somebody may change it as soon as it is there.
        self._there = wanted
        try:
            await nft.run("-f", "-", stdin=wanted, started=self._monitor.expect)
        except RulesetError:
            self._there = None
            raise
        finally:
            self._monitor.forget()
        return True

    async def clear(self) -> bool:
        """Takes our tables away; True if they were, or may have been, there. Raises RulesetError."""
        return await self.apply(_NONE)

    def _heard(self) -> None:
        self._there = None
        self._tampered()


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
