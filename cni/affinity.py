"""sessionAffinity: lets pass the packet from which OVN learns, and makes what it has learned count at once.

ovn-controller's flows for affinity_timeout end where they have learned (stage ls_in_lb_aff_learn, OVN 23.03), so that a
client's first packet is dropped, and with the userspace datapath every further one of that connection too. What they
have learned stays when the endpoint goes, and keeps its client without affinity for as long as that goes on. Beside
each of these flows goes one of ours, before it, that learns the same, under a cookie by which it is forgotten with the
flow, and passes the packet on:

    100 ct_state=+new+trk,tcp,reg1=… learn(table=78,idle_timeout=60,delete_learned,…)
    200 ct_state=+new+trk,tcp,reg1=… push,pop,learn(table=78,cookie=0xceeb3985,idle_timeout=60,…),resubmit(,22)

The datapath answers for a connection as it did for the one before, as long as nothing that was looked at differs, and
hears of what was learned a moment later. To push the source port and pop it again looks at it and does nothing else: so
each new connection of a client that is not known is a new question. One that is known has its flow already.

Pure: lines of `ovs-ofctl monitor` in, lines for `ovs-ofctl add-flows` out; cni/openflow.py is the way to the bridge. An
OVN that has another way of learning has no such flows, and nothing happens.
"""

import re
from dataclasses import dataclass

# Of all flows only those that are for new connections of clients that are not known yet, ovn-northd(8)'s
# REGBIT_KNOWN_LB_SESSION; so the monitor is quiet where no service has affinity.
WATCH = "watch:ct_state=+new+trk,reg9=0/0x40"
# OVN's have 100 in this stage, and nothing else there has more. What is learned has 32768.
_PRIORITY, _UNKNOWN_PRIORITY = 200, 1
# The upper half of our flows' cookies; the lower one is that of the flow beside it. Flows are known by their cookies:
# ours in another form need another number.
_OURS = 0x6F766E6B
_HALF = 32

_PORTS = {"tcp": "NXM_OF_TCP_SRC", "udp": "NXM_OF_UDP_SRC", "sctp": "OXM_OF_SCTP_SRC"}
_PROTOCOL = re.compile(r"(?:^|,)(tcp|udp|sctp)6?,")
_EVENT = re.compile(
    r" ?event=(ADDED|DELETED|MODIFIED)(?: reason=\w+)? table=(\d+) cookie=(0x[0-9a-f]+|0) (\S+) actions=(\S+)"
)
_LEARNS = re.compile(r"learn\(table=(\d+),([^()]*)\)")


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow as ovs-ofctl writes it; `match` without table and priority."""

    table: int
    match: str
    cookie: int
    actions: str


def beside(flow: Flow) -> Flow | None:
    """Our flow beside one of ovn-controller's; None where that does not end by learning."""
    learns, protocol = _LEARNS.fullmatch(flow.actions), _PROTOCOL.search(flow.match)
    if learns is None or protocol is None:
        return None
    table, rest = learns.groups()
    cookie = "" if "cookie=" in rest else f"cookie={flow.cookie:#x},"
    learn = f"learn(table={table},{cookie}{rest})"
    # Each stage of OVN's is a table, and the next stage is the next one.
    actions = f"{_look(protocol[1])},{learn},resubmit(,{flow.table + 1})"
    return Flow(flow.table, flow.match, _OURS << _HALF | flow.cookie, actions)


def learned(flow: Flow) -> str:
    """The table that a flow of ours learns into."""
    return flow.actions.partition("learn(table=")[2].partition(",")[0]


def unknown(table: str) -> list[str]:
    """Commands for what a client meets of whom nothing is in that table."""
    return [
        f"add cookie={_OURS << _HALF:#x},table={table},priority={_UNKNOWN_PRIORITY},{protocol}{version},"
        f"actions={_look(protocol)}"
        for protocol in _PORTS
        for version in ("", "6")
    ]


def _look(protocol: str) -> str:
    port = f"{_PORTS[protocol]}[]"
    return f"push:{port},pop:{port}"


class Flows:
    """The bridge's flows that are watched, theirs and ours."""

    def __init__(self) -> None:
        self._wanted: dict[tuple[int, str], Flow] = {}
        self._there: dict[tuple[int, str], int] = {}
        self._learned = ""

    def take(self, line: str) -> None:
        """A line of the monitor; what is no event is passed over."""
        event = _EVENT.match(line)
        if event is None:
            return
        what, table, cookie, match, actions = event.groups()
        flow = Flow(int(table), match, int(cookie, 16), actions)
        key = flow.table, flow.match
        ours = flow.cookie >> _HALF == _OURS
        if ours and what == "DELETED":
            self._there.pop(key, None)
        elif ours:
            self._there[key] = flow.cookie
        elif what == "DELETED" or (copy := beside(flow)) is None:
            self._wanted.pop(key, None)
        else:
            self._wanted[key], self._learned = copy, learned(copy)

    def commands(self) -> str:
        """What is missing and what is too much, for `ovs-ofctl --bundle add-flows`; "" if nothing is."""
        lines = [
            f"delete_strict cookie={cookie:#x}/-1,table={table},priority={_PRIORITY},{match}"
            for (table, match), cookie in self._there.items()
            if (table, match) not in self._wanted
        ]
        added = [
            f"add cookie={flow.cookie:#x},table={flow.table},priority={_PRIORITY},{flow.match},actions={flow.actions}"
            for key, flow in self._wanted.items()
            if self._there.get(key) != flow.cookie
        ]
        if added:
            # Nobody tells when these go alone; they go with all others, when ovn-controller clears the bridge.
            lines += [*unknown(self._learned), *added]
        return "".join(f"{line}\n" for line in lines)
