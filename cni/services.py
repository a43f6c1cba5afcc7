"""The node's part of Services: changes in, the table of service_table.py kept as it follows from them.

    Service, EndpointSlice, Node ─▶ Graph ─┬▶ rules ───────▶ Writer ─▶ one nft transaction ─▶ stale UDP is forgotten
    NodeNetwork, pods' host ports ─▶       ├▶ health checks ▶ HTTP servers
                                           └▶ ports ───────▶ who else listens there? ─▶ Notices, as of what is refused

Changes that come while nft runs are the next transaction. Nothing is done before every input has been read once.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog
from pyroute2.netlink.exceptions import NetlinkError

from cni import (
    balanced,
    conntrack,
    health_checks,
    host,
    host_ports,
    listeners,
    metrics,
    service_rules,
    service_table,
    settings,
    stale,
)
from cni.attachment import Attachment
from cni.health_checks import HealthChecks
from cni.listeners import Claim
from cni.nft import RulesetError
from cni.service_table import HERE, Here
from cni.service_writer import Writer
from cni.stale import Ways
from ovnk.contract import NodeNetworkSpec
from ovnk.incremental.desired import Delta, Desired
from ovnk.incremental.graph import Graph
from ovnk.kube.objects import Change, Node, Notice, Put, Remove
from ovnk.kube.service_objects import EndpointSlice, Service

# So many derivations at once, so that pods' calls are answered meanwhile.
_STEP = 200
_RETRY_S = 5.0
INPUTS = (Service, EndpointSlice, Node)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Outputs:
    """What follows: the facts of the nftables table, health checks, ports of the node, and where OVN leads UDP."""

    rules: Desired
    checks: Desired
    claims: Desired
    led: Desired


def wire(graph: Graph) -> Outputs:
    """Make the tables and rules."""
    graph.table(Service, claim=service_rules.claims)
    graph.table(EndpointSlice, service=lambda one: (one.service,))
    graph.table(Node, address=lambda one: one.addresses)
    graph.table(Here)
    graph.table(Attachment)
    rules = Desired("nftables", lambda fact: fact.identity)
    graph.derive(Here, service_table.networks, rules)
    graph.derive(Here, service_table.chains, rules)
    graph.derive(Node, service_table.node, rules)
    graph.derive(Service, service_rules.service, rules)
    graph.derive(Attachment, host_ports.elements, rules)
    checks = Desired("health checks", lambda one: one.identity)
    graph.derive(Service, health_checks.check, checks)
    claims = Desired("ports of the node")
    graph.derive(Service, listeners.node_ports, claims)
    graph.derive(Attachment, listeners.host_ports, claims)
    led = Desired("where OVN leads UDP")
    graph.derive(Service, balanced.led, led)
    return Outputs(rules, checks, claims, led)


def compile_rules(here: Here, values: Iterable[object]) -> Desired:
    """The facts of the table that follow from these objects; those of other kinds have no part in it.

    The meaning of all of this: after any changes, what is wanted is just that. Raises what a function of ours raises.
    """
    graph = Graph()
    rules = wire(graph).rules
    graph.tables[Here].put(HERE, here)
    for value in values:
        if isinstance(value, INPUTS):
            graph.tables[type(value)].put(value.key, value)
    graph.settle()
    for failure in graph.failures.values():
        raise failure.error
    return rules


def ignore(_what: Notice | Delta) -> None:
    """For who has nobody to tell."""


class Services:
    """All methods belong to the event loop's thread.

    `tell` is what owners of objects should hear, once each; `led` takes the changes of where OVN leads UDP.
    """

    def __init__(
        self,
        node: str,
        node_port_networks: tuple[str, ...] = (),
        tell: Callable[[Notice], None] = ignore,
        led: Callable[[Delta], None] = ignore,
    ) -> None:
        self._node, self._node_port_networks, self._tell, self._led = node, node_port_networks, tell, led
        self._spec: NodeNetworkSpec | None = None
        self._graph = Graph()
        self._outputs = wire(self._graph)
        self._writer = Writer(self._outputs.rules, (Service, Attachment), self._wake)
        self._health = HealthChecks(lambda: not self.trouble)
        self._ways = Ways()
        self._contested: set[Claim] = set()
        self._told: set[Notice] = set()
        self._work = asyncio.Event()
        self._stale = True
        self._ports_known = False
        self._since: float | None = None
        self._applied = asyncio.Condition()
        self._changes = self._done = 0
        self.trouble = ""

    def changed(self, change: Change) -> None:
        """Takes a change of Services, EndpointSlices or Nodes."""
        table = self._graph.tables[type(change.value) if isinstance(change, Put) else change.kind]
        if isinstance(change, Put):
            table.put(change.value.key, change.value)
        elif isinstance(change, Remove):
            table.remove(change.key)
        else:
            table.replace(change.values)
        if table.kind is Node:
            self._settle_here()
        self._wake()

    @property
    def troubles(self) -> list[str]:
        """What keeps the rules from being as they should be, and the objects whose rules are left out."""
        refused = [
            f'nftables refuses the rules of {one.kind.__name__} "{one.key}": {one.why}'
            for one in self._writer.refused.values()
        ]
        return [*filter(None, (self.trouble,)), *refused]

    @property
    def addresses(self) -> tuple[str, ...] | None:
        """The addresses by which the cluster knows this node; None before the Nodes have been read."""
        nodes = self._graph.tables[Node]
        node = nodes.get(self._node)
        return node.addresses if node is not None else () if nodes.synced else None

    def network_changed(self, spec: NodeNetworkSpec | None) -> None:
        """Takes the node's NodeNetwork; while there is none, the last one holds."""
        if spec is not None:
            self._spec = spec
            self._settle_here()
            self._wake()

    def _settle_here(self) -> None:
        """What this node goes by; the networks that serve node ports may be said by way of its own addresses."""
        if self._spec is None:
            return
        networks = settings.served(self._node_port_networks, self.addresses or ())
        here = Here(self._node, self._spec.cluster_cidrs, self._spec.service_cidrs, networks)
        self._graph.tables[Here].put(HERE, here)

    def port_changed(self, name: str, port: Attachment | None) -> None:
        """Takes a pod's port, for its host ports."""
        if port is not None and port.host_ports:
            self._graph.tables[Attachment].put(name, port)
        elif self._graph.tables[Attachment].get(name) is not None:
            self._graph.tables[Attachment].remove(name)
        else:
            return
        self._wake()

    def ports_known(self) -> None:
        """All pods' ports that there are have been told."""
        self._ports_known = True
        self._wake()

    async def applied(self) -> None:
        """Returns once all that was told until now is in the kernel."""
        number = self._changes
        async with self._applied:
            await self._applied.wait_for(lambda: self._done >= number)

    async def run(self) -> None:
        """Keeps the table until cancelled."""
        self._writer.start()
        try:
            while True:
                await self._work.wait()
                self._work.clear()
                if (here := self._ready()) is not None:
                    await self._try(here)
        finally:
            self._writer.close()
            await self._health.close()

    def _ready(self) -> Here | None:
        """What this node goes by, once every input has been read; else None."""
        tables = self._graph.tables
        here: Here | None = tables[Here].get(HERE)
        return here if self._ports_known and all(tables[kind].synced for kind in INPUTS) else None

    async def _try(self, here: Here) -> None:
        number, since = self._changes, self._since
        self._since = None
        try:
            while not self._graph.settle(_STEP):  # noqa: ASYNC110  nothing is waited for; others get their turn
                await asyncio.sleep(0)
            self._led(self._outputs.led.take())
            delta = self._outputs.rules.take()
            if self._ways.update(delta):
                self._stale = True
            await self._writer.apply(delta)
        except RulesetError as error:
            if str(error) != self.trouble:
                log.error("the rules for services could not be applied", error=str(error))
            self.trouble = str(error)
            self._try_again()
            return
        self.trouble = ""
        if since is not None:
            metrics.SERVICE_RULES.observe(time.perf_counter() - since)
        await self._health.apply(self._outputs.checks.take())
        if self._health.failed:
            self._try_again()
        if self._stale:
            self._stale = False
            await self._forget_stale(here)
        await self._look_for_listeners(here)
        self._say()
        async with self._applied:
            self._done = number
            self._applied.notify_all()

    def _try_again(self) -> None:
        asyncio.get_running_loop().call_later(_RETRY_S, self._work.set)

    async def _forget_stale(self, here: Here) -> None:
        """UDP connections that began before the rules were as they are now. Linear in the host's UDP connections."""
        try:
            connections = await asyncio.to_thread(conntrack.listed)
            local = await asyncio.to_thread(host.local_addresses)
            if found := stale.stale(connections, self._ways, here, local):
                count = await asyncio.to_thread(conntrack.forget, found)
                metrics.FORGOTTEN.inc(count)
                log.info("forgot UDP connections that led where services no longer do", connections=count)
        except (OSError, NetlinkError) as error:
            log.warning("stale UDP connections could not be looked for", why=str(error))

    async def _look_for_listeners(self, here: Here) -> None:
        delta = self._outputs.claims.take()
        self._contested -= delta.removed
        if not delta.added:
            return
        try:
            found = await asyncio.to_thread(listeners.listening)
        except OSError as error:
            log.warning("listening sockets could not be looked for", why=str(error))
            return
        self._contested.update(listeners.contested(delta.added, found, here))  # type: ignore[arg-type]  # Claims

    def _say(self) -> None:
        """Tells of what has come since the last time; what goes and comes again is told again."""
        services = self._graph.tables[Service]
        notices = {claim.notice(self._node) for claim in self._contested} | {*self._health.notices(self._node)}
        for one in self._writer.refused.values():
            if one.kind is Service and (service := services.get(one.key)) is not None:
                message = (
                    f"nftables on node {self._node} refuses its rules ({one.why}): its node ports and external "
                    "addresses are not served there until it is changed"
                )
                notices.add(Notice("Service", one.key, "NodeRulesRefused", message, service.uid))
        for notice in sorted(notices - self._told, key=lambda one: (one.kind, one.key, one.message)):
            log.warning("told the owner of an object", kind=notice.kind, object=notice.key, what=notice.message)
            self._tell(notice)
        self._told = notices

    def _wake(self) -> None:
        self._changes += 1
        if self._since is None:
            self._since = time.perf_counter()
        self._work.set()
