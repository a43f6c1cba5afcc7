"""The node's agent: keeps the node set up as its NodeNetwork says and answers the CNI plug-in.

    NodeNetwork ─▶ network_changed ─┬─▶ Allocations ──────────────┐
                                    └─▶ settle: OVSDB, ovnk0,     ├─▶ Verbs ◀─ Server ◀─ plug-in
    kernel, nftables ─▶ Watch ────────▶ routes, rules, sysctls ───┘
    OVSDB ─▶ VSwitch ─▶ Bridge (pods' ports, ovn-installed)

Everything it does is "make what differs as it should be", so a start is no special case: an agent that comes back
finds nothing to do, and touches no port. It has no state of its own, and it does not know Kubernetes: who runs it
hands it each new NodeNetwork.
"""

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from pyroute2.netlink.exceptions import NetlinkError

from cni import balanced, chassis, host, install, metrics, openflow, ruleset, services, settings, underlay, verbs
from cni.addresses import Allocations
from cni.attach import Attacher
from cni.bridge import Bridge
from cni.nft import RulesetError
from cni.server import Server
from cni.services import Services
from cni.settings import Chassis, Management
from cni.verbs import PodLink, Verbs
from cni.vswitch import Interface, VSwitch
from cni.watch import Watch
from ovnk.contract import MANAGEMENT_INTERFACE, NodeNetworkSpec, management_interface_id
from ovnk.errors import CommitError, ConfigError
from ovnk.kube.objects import Change, Notice

# Changes come in swarms (an address, its routes, the link): look once for all of them.
_SWARM_S = 0.02
# How long after a failure the node is settled again: what failed may be ended by nothing that is watched.
_RETRY_S = 5.0
# A namespace that goes takes its veth with it, which is heard of; this is for what happened while nobody listened.
_SWEEP_S = 60.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Places:
    """Where the agent is reached and what it installs where."""

    ovs: str
    socket: Path
    bin_dir: Path
    conf_dir: Path
    cni_version: str = "1.0.0"


class NodeAgent:
    """One node's agent. Make it and run it in the node's own network namespace."""

    def __init__(
        self,
        settled: Chassis,
        places: Places,
        add_timeout_s: float = verbs.ADD_TIMEOUT_S,
        node_port_networks: tuple[str, ...] = (),
        tell: Callable[[Notice], None] = services.ignore,
    ) -> None:
        """Raises ConfigError for settings that cannot be right. `tell` hears what owners of objects should know."""
        settings.check(settled)
        install.check_version(places.cni_version)
        install.check_socket(places.socket)
        self._chassis = settled
        self._places = places
        self._spec: NodeNetworkSpec | None = None
        self._addresses: tuple[str, ...] | None = None
        self._link: PodLink | None = None
        self._link_known = asyncio.Event()
        self._trouble = "the node is being set up"
        self._settle_wanted = asyncio.Event()
        self._sweep_wanted = asyncio.Event()
        self._ruleset = ruleset.Ruleset(self._settle_wanted.set)
        self._vswitch = VSwitch(places.ovs, self._interface_changed, self._settle_wanted.set)
        self._bridge = Bridge(self._vswitch, settled.bridge)
        self._allocations = Allocations(settled.node)
        self._attacher = Attacher()
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="node")
        self._watch = Watch(self._settle_wanted.set, self._sweep_wanted.set)
        bridge = openflow.Bridge(places.ovs, settled.bridge)
        self._flows, self._forgetting = openflow.FlowKeeper(bridge), balanced.Forgetting(bridge)
        self.services = Services(settled.node, node_port_networks, tell, self._forgetting.take)
        self._verbs = Verbs(self, self._allocations, self._attacher, self._bridge, add_timeout_s)
        self._server = Server(places.socket, self._verbs)
        self._announced = False

    def network_changed(self, spec: NodeNetworkSpec | None) -> None:
        """Takes the node's NodeNetwork, each time it changes; None when there is none (any more)."""
        self._spec = spec
        self._allocations.update(spec)
        self.services.network_changed(spec)
        self._settle_wanted.set()
        self._sweep_wanted.set()

    def cluster_changed(self, change: Change) -> None:
        """Takes a change of Services, EndpointSlices or Nodes, this node's own addresses among them."""
        self.services.changed(change)
        addresses = self.services.addresses
        if addresses != self._addresses:
            self._addresses = addresses
            self._settle_wanted.set()

    async def run(self) -> None:
        """Serves until cancelled. Raises OSError where the socket or a folder is of no use."""
        metrics.READY.set_function(lambda: float(not self.why_not_ready()))
        install.install_plugin(self._places.bin_dir, self._places.socket)
        self._watch.start()
        self._ruleset.start()
        await self._server.start()
        log.info("the node agent answers the CNI plug-in", node=self._chassis.node, socket=str(self._places.socket))
        try:
            await self._vswitch.connect()
            self._settle_wanted.set()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._settle_always())
                tasks.create_task(self._sweep_always())
                tasks.create_task(self._serve_services())
                tasks.create_task(self._flows.run())
                tasks.create_task(self._forgetting.run())
        finally:
            await self._server.stop()
            self._watch.close()
            self._ruleset.close()
            self._attacher.close()
            self._threads.shutdown()
            self._vswitch.close()

    def why_not_ready(self) -> str:
        """What keeps the node from serving an ADD, in words; "" when nothing does.

        ovnk0's flows stand for ovn-controller: they are there once it runs, reaches the southbound and has heard of
        this node from the controller.
        """
        if not self._vswitch.connected:
            return f"the Open_vSwitch database at {self._places.ovs} does not answer; is Open vSwitch running?"
        if self._spec is None:
            return (
                f"node {self._chassis.node} has no NodeNetwork; the ovnk controller writes it, "
                f"see: kubectl get nodenetworks; kubectl describe node {self._chassis.node}"
            )
        if self._trouble:
            return self._trouble
        if not self._has_flows:
            return (
                f"ovn-controller has not connected {MANAGEMENT_INTERFACE} yet; is it running, and the southbound too?"
            )
        return ""

    @property
    def _has_flows(self) -> bool:
        """Whether ovn-controller has connected ovnk0."""
        port = self._vswitch.get(MANAGEMENT_INTERFACE)
        return port is not None and port.installed

    async def pod_link(self) -> PodLink:
        """What every pod's link has alike, as soon as the node is set up for pods."""
        while self._link is None:
            await self._link_known.wait()
        return self._link

    async def _serve_services(self) -> None:
        await self._vswitch.known(None)
        self.services.ports_known()
        await self.services.run()

    async def host_ports_served(self) -> None:
        """Returns once the host ports of all ports on the bridge lead there."""
        await self.services.applied()

    def _interface_changed(self, name: str, interface: Interface | None) -> None:
        if name == MANAGEMENT_INTERFACE:
            self._settle_wanted.set()
            return
        self._bridge.changed(name, interface)
        self.services.port_changed(name, self._bridge.attachments.get(name))
        if self._bridge.lost:
            # With the bridge itself, perhaps; ports are put back once that is as it should be.
            self._settle_wanted.set()
        metrics.PORTS.set(len(self._bridge.attachments))

    async def _settle_always(self) -> None:
        """Settles the node whenever something of it may have changed, and again a while after a failure."""
        told = self._trouble
        while True:
            await self._settle_wanted.wait()
            await asyncio.sleep(_SWARM_S)
            self._settle_wanted.clear()
            try:
                trouble = await self._settle()
            except (ConfigError, CommitError, RulesetError, NetlinkError, OSError) as error:
                trouble = str(error)
                if trouble != told:
                    log.warning("the node could not be set up", why=trouble)
                asyncio.get_running_loop().call_later(_RETRY_S, self._settle_wanted.set)
            else:
                if self._bridge.lost:
                    self._sweep_wanted.set()  # which puts them back
            if told and not trouble:
                log.info("the node is set up")
            told = self._trouble = trouble
            self._announce()

    async def _settle(self) -> str:
        """Makes OVSDB, the kernel and nftables as they should be; returns what that waits for, in words, or ""."""
        kernel_datapath = await self._in_thread(underlay.kernel_has_datapath)
        found = await self._in_thread(underlay.find, self._chassis)
        seen = await self._vswitch.read(lambda tables: chassis.seen(tables, self._chassis.bridge, kernel_datapath))
        datapath = settings.datapath_type(self._chassis, seen)
        spec = self._spec
        mtu_bytes = settings.pod_mtu_bytes(self._chassis, found, spec or NodeNetworkSpec())
        self._watch.interfaces(frozenset({MANAGEMENT_INTERFACE, found.interface}))
        management = (
            Management(management_interface_id(self._chassis.node), spec.management.mac, mtu_bytes)
            if spec and spec.management
            else None
        )
        await self._vswitch.commit(
            chassis.Settle(
                self._vswitch.api,
                settings.external_ids(self._chassis, found, datapath),
                settings.external_id_defaults(self._has_flows),
                self._chassis.bridge,
                datapath,
                management,
                self._chassis.tls,
            )
        )
        if spec is None:
            if self._addresses == () and not self._bridge.attachments:
                await self._leave()
            return ""  # why_not_ready says so
        if await self._ruleset.apply(ruleset.text(*settings.inside(spec))):
            self._tell("rules")
            for chain in await ruleset.strangers_that_drop_forwarding():
                log.warning("another program's rules drop what this node forwards; pods may not get out", chain=chain)
        if management is None:
            raise ConfigError(
                f"NodeNetwork {self._chassis.node} has no management address; the ovnk controller sets it"
            )
        if self._addresses is None:
            # Routes without the node's addresses would change those that are there from before a restart.
            return "the Nodes have not been read yet; does the API server answer?"
        wanted = settings.host(spec, found, datapath, self._addresses)
        changes = await self._in_thread(host.apply, wanted)
        if not seen.bridge_datapath:
            # The bridge was just made; its ports are added in a transaction that finds it.
            self._settle_wanted.set()
            return self._trouble
        self._link = PodLink(mtu_bytes, wanted.checksum_offload)
        self._link_known.set()
        if changes is None:
            # It will be heard of when it comes; pods need not wait for it.
            return f"ovs-vswitchd has not made {MANAGEMENT_INTERFACE} yet; is it running?"
        for change in changes:
            self._tell(change)
        return ""

    async def _leave(self) -> None:
        """The node is no longer the cluster's, and no pod is left: its way to the pod network goes.

        The bridge is ovn-controller's too, which makes it again for as long as it runs; it stays, without ports.
        """
        if self._vswitch.get(MANAGEMENT_INTERFACE) is not None:
            await self._bridge.remove([MANAGEMENT_INTERFACE])
            self._tell("port of a node that left")
        if await self._ruleset.clear():
            self._tell("rules of a node that left")

    def _announce(self) -> None:
        """Tells the runtime that the node can serve pods; what somebody removed is put back with the next change."""
        if self.why_not_ready():
            return
        path = install.install_conflist(self._places.conf_dir, self._places.cni_version)
        if not self._announced:
            self._announced = True
            log.info("the node is ready for pods", conflist=str(path))

    async def _sweep_always(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SWEEP_S):
                    await self._sweep_wanted.wait()
            await asyncio.sleep(_SWARM_S)
            self._sweep_wanted.clear()
            try:
                await self._verbs.sweep()
            except (CommitError, NetlinkError, OSError) as error:
                log.warning("ports of pods that are gone could not be removed yet", error=str(error))
            try:
                await self._verbs.restore()
            except (CommitError, NetlinkError, OSError) as error:
                log.warning("ports that were taken off the bridge could not be put back yet", error=str(error))

    def _tell(self, change: str) -> None:
        metrics.APPLIED.labels(change.split()[0].partition("=")[0]).inc()
        log.info("changed the node's networking", change=change)

    async def _in_thread(self, work: Callable[..., Any], *arguments: object) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
