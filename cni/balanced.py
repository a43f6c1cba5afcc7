"""UDP connections that OVN leads to endpoints that are gone, and how the datapath is made to forget them.

ovn-controller forgets them as it takes an endpoint off a balancer (options:ct_flush, OVN 23.03). But the datapath goes
on for a moment as it did before, and a client that sends just then is led to the old endpoint anew, for as long as it
goes on sending from its port: of fourteen clients that sent 50 times a second, up to ten were, on a busy machine. So
they are forgotten again, when the change has long arrived. TCP is left alone, as everywhere (cni/stale.py).
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import structlog

from cni.openflow import Bridge
from cni.service_chains import split
from cni.service_table import HERE, Here, family
from ovnk.incremental.desired import Delta
from ovnk.incremental.graph import View
from ovnk.kube.objects import Node
from ovnk.kube.service_objects import EndpointSlice, Service
from ovnk.translate import endpoints

# After so long; what is led there again by then is none of it.
_AGAIN_S = (1.0, 4.0, 15.0)
# So many at once; of more than that all connections of the service are forgotten, which costs one command a service.
_ENDPOINTS_MAX = 32
_UDP = 17

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Led:
    """A ClusterIP's UDP socket and an endpoint that a client on this node may be led to from there."""

    vip: str
    port: int
    endpoint: str
    endpoint_port: int

    @property
    def original(self) -> str:
        """What clients send to, for ovs-ofctl(8) ct-flush."""
        return f"{_prefix(self.vip)}_dst={self.vip},ct_nw_proto={_UDP},ct_tp_dst={self.port}"

    @property
    def reply(self) -> str:
        """Who answers them."""
        return f"{_prefix(self.endpoint)}_src={self.endpoint},ct_nw_proto={_UDP},ct_tp_src={self.endpoint_port}"


def led(view: View, service: Service) -> Iterator[Led]:
    """Where the Service's UDP ports lead clients on this node, by the function that balancers are made with."""
    here = view.get(Here, HERE)
    if here is None:
        return
    slices = tuple(view.by(EndpointSlice, "service", service.key))
    node = view.get(Node, here.node)
    for port in service.ports:
        for vip in service.cluster_ips if port.protocol == "UDP" else ():
            chosen = endpoints.choose(slices, port, family(vip), service.internal_local)
            for target in chosen.at(here.node, node.zone if node else ""):
                yield Led(vip, port.port, *split(target))


class Forgetting:
    """What has gone is forgotten a few times, by and by; all in the event loop's thread."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._gone: dict[Led, list[float]] = {}
        self._work = asyncio.Event()
        self._trouble = ""

    def take(self, delta: Delta) -> None:
        """Takes a change of Leds."""
        now = asyncio.get_running_loop().time()
        for one in delta.removed:
            if isinstance(one, Led):
                self._gone[one] = [now + again for again in _AGAIN_S]
        for one in delta.added:
            self._gone.pop(one, None)  # type: ignore[call-overload]  # Leds
        self._work.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            if not self._gone:
                self._work.clear()
                await self._work.wait()
            await asyncio.sleep(_AGAIN_S[0] / 2)
            now = asyncio.get_running_loop().time()
            due = [one for one, times in self._gone.items() if times[0] <= now]
            for one in due:
                del self._gone[one][0]
                if not self._gone[one]:
                    del self._gone[one]
            for tuples in commands(due):
                await self._forget(tuples)

    async def _forget(self, tuples: tuple[str, ...]) -> None:
        why = await self._bridge.command("ct-flush", *tuples)
        if why and why != self._trouble:
            log.warning("UDP connections to endpoints that are gone could not be forgotten", why=why)
        self._trouble = why


def commands(gone: list[Led]) -> list[tuple[str, ...]]:
    """The arguments of ct-flush for each command."""
    if len(gone) > _ENDPOINTS_MAX:
        return [(original,) for original in sorted({one.original for one in gone})]
    return [(one.original, one.reply) for one in gone]


def _prefix(address: str) -> str:
    return "ct_ipv6" if ":" in address else "ct_nw"
