"""Which UDP connections are translated otherwise than the rules for services would do it today.

The kernel translates a connection as its first packet was, and UDP has no end: a client that goes on sending from its
port goes on reaching an endpoint that is gone, or none at all where the service is newer than the client. So each
connection is held against what the table of service_table.py says of its destination now, and not against what has
just changed: what happened while the agent was away is found too. TCP is left alone, as by kube-proxy: its connections
end by themselves, and may finish with an endpoint that is leaving.

Pure. Connections are listed and forgotten by cni/conntrack.py. What OVN's own balancers translate is forgotten by OVN
and by cni/balanced.py.
"""

from collections.abc import Iterable, Iterator

from cni.conntrack import Connection, Socket
from cni.service_table import Chain, Element, Here, family, within
from ovnk.incremental.desired import Delta

_PROTOCOL = "udp"
_GOTO = "goto "


class Ways:
    """Where the table sends UDP sockets, kept by its changes."""

    def __init__(self) -> None:
        self._sockets: dict[tuple[str, ...], str] = {}
        self._chains: dict[str, frozenset[str]] = {}

    def update(self, delta: Delta) -> bool:
        """Takes a change of the table; whether it concerns any UDP socket."""
        concerned = False
        for one in delta.removed:
            if isinstance(one, Element) and _PROTOCOL in one.key:
                concerned = self._sockets.pop(one.identity, None) is not None or concerned
            elif isinstance(one, Chain):
                concerned = self._chains.pop(one.name, None) is not None or concerned
        for one in delta.added:
            if isinstance(one, Element) and _PROTOCOL in one.key:
                concerned, self._sockets[one.identity] = True, one.value
            elif isinstance(one, Chain) and f"/{_PROTOCOL}/" in one.name:
                concerned, self._chains[one.name] = True, one.leads
        return concerned

    def lead(self, to: Socket, local: bool) -> frozenset[Socket] | None:
        """Where a packet to that socket may go, empty if it is refused; None if no rule is about it.

        `local` is whether the address is this host's own. The maps are asked in the order in which a packet meets them.
        """
        address, port = to
        number, key = family(address), (_PROTOCOL, str(port))
        maps = (
            ("addresses", (address, *key)),
            ("node_ports", key),
            ("host_port_addresses", (address, *key)),
            ("host_ports", key),
        )
        for name, socket in maps if local else maps[:1]:
            if (way := self._sockets.get((f"{name}{number}", *socket))) is not None:
                return frozenset(self._ends(way))
        return None

    def _ends(self, way: str) -> Iterator[Socket]:
        if way.startswith(_GOTO):
            for further in self._chains.get(way.removeprefix(_GOTO), ()):
                yield from self._ends(further)
        else:
            address, _, port = way.partition(" . ")
            yield address, int(port)


def stale(connections: Iterable[Connection], ways: Ways, here: Here, local: frozenset[str]) -> list[Connection]:
    """Those of the connections that are to be forgotten; `local` are this host's addresses."""
    served = local - {"::1"}  # as in service_table.chains
    return [one for one in connections if _is_stale(one, ways, here, served)]


def _is_stale(one: Connection, ways: Ways, here: Here, local: frozenset[str]) -> bool:
    wanted = ways.lead(one.to, one.to[0] in local)
    if one.by == one.to:
        # Not translated at all. What is masqueraded too only passes this host, on its way to such a port elsewhere.
        return wanted is not None and one.to not in wanted and one.back == one.source
    if wanted is not None:
        return one.by not in wanted
    # Nobody's any more, if it was ours: only we send to pods and ClusterIPs. Another's translation is made again.
    return within(one.by[0], here.pods) or within(one.by[0], here.services)
