"""The node's part of Services: changes in, the table of service_table.py kept as it follows from them.

    Service, EndpointSlice, Node ─▶ Graph ─▶ Desired ─▶ difference ─▶ one nft transaction
    NodeNetwork, pods' host ports ─▶   ▲                    ▲
                                       └── law: as compiled └── at the start, and after a change by somebody else:
                                           anew                 what is in the kernel against all that is wanted

Changes that come while nft runs are the next transaction. Nothing is done before every input has been read once.
"""

import asyncio
import time

import structlog
from pyroute2.netlink.exceptions import NetlinkError

from cni import (
    conntrack,
    health_checks,
    host,
    host_ports,
    metrics,
    nft,
    service_commands,
    service_reading,
    service_rules,
    service_table,
    stale,
)
from cni.attachment import Attachment
from cni.health_checks import HealthChecks
from cni.nft import RulesetError
from cni.nft_monitor import Monitor
from cni.service_table import FAMILY, HERE, TABLE, Fact, Here
from cni.stale import Ways
from ovnk.contract import NodeNetworkSpec
from ovnk.incremental.desired import Desired
from ovnk.incremental.graph import Graph
from ovnk.kube.objects import Change, Node, Put, Remove
from ovnk.kube.service_objects import EndpointSlice, Service

# So many derivations at once, so that pods' calls are answered meanwhile.
_STEP = 200
_RETRY_S = 5.0
INPUTS = (Service, EndpointSlice, Node)

log = structlog.get_logger(__name__)


def wire(graph: Graph) -> tuple[Desired, Desired]:
    """Make the tables and rules; what is returned holds the facts of the nftables table, and the health checks."""
    graph.table(Service, claim=service_rules.claims)
    graph.table(EndpointSlice, service=lambda one: (one.service,))
    graph.table(Node, address=lambda one: one.addresses)
    graph.table(Here)
    graph.table(Attachment)
    wanted = Desired("nftables", lambda fact: fact.identity)
    graph.derive(Here, service_table.networks, wanted)
    graph.derive(Here, service_table.chains, wanted)
    graph.derive(Node, service_table.node, wanted)
    graph.derive(Service, service_rules.service, wanted)
    graph.derive(Attachment, host_ports.elements, wanted)
    checks = Desired("health checks", lambda one: one.identity)
    graph.derive(Service, health_checks.check, checks)
    return wanted, checks


class Services:
    """All methods belong to the event loop's thread."""

    def __init__(self, node: str, node_port_networks: tuple[str, ...] = ()) -> None:
        self._node, self._node_port_networks = node, node_port_networks
        self._graph = Graph()
        self._wanted, self._checks = wire(self._graph)
        self._health = HealthChecks(lambda: not self.trouble)
        self._ways = Ways()
        self._monitor = Monitor(TABLE, self._tampered)
        self._work = asyncio.Event()
        self._verify = self._stale = True
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
        self._wake()

    @property
    def addresses(self) -> tuple[str, ...] | None:
        """The addresses by which the cluster knows this node; None before the Nodes have been read."""
        nodes = self._graph.tables[Node]
        node = nodes.get(self._node)
        return node.addresses if node is not None else () if nodes.synced else None

    def network_changed(self, spec: NodeNetworkSpec | None) -> None:
        """Takes the node's NodeNetwork; while there is none, the last one holds."""
        if spec is not None:
            here = Here(self._node, spec.cluster_cidrs, spec.service_cidrs, self._node_port_networks)
            self._graph.tables[Here].put(HERE, here)
            self._wake()

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
        self._monitor.start()
        try:
            while True:
                await self._work.wait()
                self._work.clear()
                if self._ready():
                    await self._try()
        finally:
            self._monitor.close()
            await self._health.close()

    def _ready(self) -> bool:
        tables = self._graph.tables
        return self._ports_known and tables[Here].get(HERE) is not None and all(tables[kind].synced for kind in INPUTS)

    async def _try(self) -> None:
        number, since = self._changes, self._since
        self._since = None
        try:
            while not self._graph.settle(_STEP):  # noqa: ASYNC110  nothing is waited for; others get their turn
                await asyncio.sleep(0)
            await self._apply()
        except RulesetError as error:
            self._verify = True
            if str(error) != self.trouble:
                log.error("the rules for services could not be applied", error=str(error))
            self.trouble = str(error)
            asyncio.get_running_loop().call_later(_RETRY_S, self._work.set)
            return
        self.trouble = ""
        if self._stale:
            self._stale = False
            await self._forget_stale()
        await self._health.apply(self._checks.take())
        if since is not None:
            metrics.SERVICE_RULES.observe(time.perf_counter() - since)
        async with self._applied:
            self._done = number
            self._applied.notify_all()

    async def _apply(self) -> None:
        delta = self._wanted.take()
        if self._ways.update(delta):
            self._stale = True
        if not self._verify:
            await self._write(service_commands.commands(delta.added, delta.removed))  # type: ignore[arg-type]  # Facts
            return
        self._verify = False
        wanted: list[Fact] = list(self._wanted)  # type: ignore[arg-type]  # Facts
        await self._write(service_table.frame())
        found = service_reading.read(await nft.run("-j", "-n", "list", "table", FAMILY, TABLE))
        added, removed = service_reading.difference(wanted, found)
        try:
            await self._write(service_commands.commands(added, removed))
        except RulesetError as error:
            # Something of another shape is there, an older version's or somebody's: all anew, in one transaction.
            log.warning("made the table for services anew", why=str(error))
            anew = f"delete table {FAMILY} {TABLE}\n" + service_table.frame()
            await self._write(anew + service_commands.commands(wanted, ()))
        if added or removed:
            log.info("made the rules for services as they should be", added=len(added), removed=len(removed))

    async def _forget_stale(self) -> None:
        """UDP connections that began before the rules were as they are now. Linear in the host's UDP connections."""
        here = self._graph.tables[Here].get(HERE)
        try:
            connections = await asyncio.to_thread(conntrack.listed)
            local = await asyncio.to_thread(host.local_addresses)
            if here is not None and (found := stale.stale(connections, self._ways, here, local)):
                count = await asyncio.to_thread(conntrack.forget, found)
                metrics.FORGOTTEN.inc(count)
                log.info("forgot UDP connections that led where services no longer do", connections=count)
        except (OSError, NetlinkError) as error:
            log.warning("stale UDP connections could not be looked for", why=str(error))

    async def _write(self, text: str) -> None:
        if not text:
            return
        try:
            await nft.run("-f", "-", stdin=text, started=self._monitor.expect)
        finally:
            self._monitor.forget()

    def _tampered(self) -> None:
        self._verify = True
        self._wake()

    def _wake(self) -> None:
        self._changes += 1
        if self._since is None:
            self._since = time.perf_counter()
        self._work.set()
