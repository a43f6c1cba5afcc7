"""`ovnk node`: the node's agent as a daemon.

It watches the NodeNetwork of its node, and of the cluster Services, EndpointSlices and Nodes (not Pods), and hands
them on; what is done with them is cni/node.py's business. What is wrong with an object the controller tells.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import structlog
import typer
from msgspec import Struct
from prometheus_client import REGISTRY

from cni import install, settings
from cni.node import NodeAgent, Places
from cni.settings import Chassis, Tls
from ovnk import config, http, logs, remotes, stopping
from ovnk.contract import NodeNetworkSpec
from ovnk.errors import ConfigError, InvalidObject
from ovnk.kube import decode, decode_services
from ovnk.kube.client import Client
from ovnk.kube.events import EventRecorder, Subject
from ovnk.kube.objects import Change, NodeNetwork, Notice, Put, Replace
from ovnk.kube.watch import Informer

log = structlog.get_logger()


class NodeSettings(Struct, frozen=True, kw_only=True):
    """All of `ovnk node`."""

    node_name: str
    # ovn-controller's ovn-remote: the southbound, as this node reaches it.
    southbound: str
    southbound_private_key: str = ""
    southbound_certificate: str = ""
    southbound_ca: str = ""
    # Empty: the service account of the pod it runs in.
    kubeconfig: str = ""
    ovs: str = "unix:/run/openvswitch/db.sock"
    bridge: str = "br-int"
    datapath: str = settings.AUTO
    encap_type: str = "geneve"
    encap_ip: str = settings.AUTO
    cni_socket: str = "/run/ovnk/cni.sock"
    cni_bin_dir: str = "/opt/cni/bin"
    cni_conf_dir: str = "/etc/cni/net.d"
    # The newest that containerd 1.6, still on many nodes, takes a result of.
    cni_version: str = "1.0.0"
    # CIDRs; empty: node ports are served on every address of this node.
    nodeport_addresses: str = ""
    # Ports 10248 to 10260 are those of Kubernetes' own components, 10257 kube-controller-manager's.
    http_address: str = "127.0.0.1:10267"
    log_format: str = "json"
    log_level: str = "info"

    def __post_init__(self) -> None:
        tls = (self.southbound_private_key, self.southbound_certificate, self.southbound_ca)
        remotes.check("southbound", self.southbound, tls)
        remotes.parse("ovs", self.ovs)
        settings.check(self.chassis)
        install.check_version(self.cni_version)
        install.check_socket(Path(self.cni_socket))

    @property
    def chassis(self) -> Chassis:
        """What the agent sets up."""
        tls = (
            Tls(self.southbound_private_key, self.southbound_certificate, self.southbound_ca)
            if self.southbound_ca
            else None
        )
        return Chassis(self.node_name, self.southbound, self.encap_type, self.encap_ip, self.bridge, self.datapath, tls)

    @property
    def places(self) -> Places:
        """Where the agent is reached and what it installs where."""
        return Places(
            self.ovs, Path(self.cni_socket), Path(self.cni_bin_dir), Path(self.cni_conf_dir), self.cni_version
        )


def command(
    node_name: Annotated[str | None, typer.Option(help="This node's name in Kubernetes.")] = None,
    kubeconfig: Annotated[str | None, typer.Option(help="Default: the pod's service account.")] = None,
    ovs: Annotated[str | None, typer.Option(help="The local Open_vSwitch database, e.g. unix:/run/…/db.sock.")] = None,
    southbound: Annotated[str | None, typer.Option(help="The southbound database: tcp:IP:PORT,… or ssl:…")] = None,
    southbound_private_key: Annotated[str | None, typer.Option(help="A PEM file, for ssl.")] = None,
    southbound_certificate: Annotated[str | None, typer.Option(help="A PEM file, for ssl.")] = None,
    southbound_ca: Annotated[str | None, typer.Option(help="A PEM file, for ssl.")] = None,
    encap_type: Annotated[str | None, typer.Option(help="geneve or vxlan.")] = None,
    encap_ip: Annotated[
        str | None, typer.Option(help="This node's address in tunnels; auto: found by looking.")
    ] = None,
    cni_socket: Annotated[str | None, typer.Option(help="Where the agent answers the CNI plug-in.")] = None,
    cni_bin_dir: Annotated[str | None, typer.Option(help="Where the plug-in is installed.")] = None,
    cni_conf_dir: Annotated[str | None, typer.Option(help="Where the runtime reads CNI configurations.")] = None,
    cni_version: Annotated[str | None, typer.Option(help="cniVersion of the installed configuration.")] = None,
    bridge: Annotated[str | None, typer.Option(help="The integration bridge.")] = None,
    datapath: Annotated[str | None, typer.Option(help="system, netdev, or auto: by looking at the kernel.")] = None,
    nodeport_addresses: Annotated[
        str | None,
        typer.Option(help="What serves node ports: CIDRs A,B, or primary, the Node's addresses. Default: all."),
    ] = None,
    http_address: Annotated[str | None, typer.Option(help="IP:PORT of /healthz, /readyz and /metrics.")] = None,
    config_file: Annotated[Path | None, typer.Option("--config", help="A TOML file; its table is named node.")] = None,
    log_format: Annotated[str | None, typer.Option(help="json or console.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
) -> None:
    """Run the node agent: answers the CNI plug-in and sets the node up."""
    flags = {name: value for name, value in locals().items() if name != "config_file"}
    loaded = config.load(NodeSettings, "node", flags, config_file, os.environ)
    logs.configure(loaded.log_format, loaded.log_level)
    asyncio.run(run(loaded))


async def run(loaded: NodeSettings) -> None:
    """The agent, its watch and its HTTP side, until SIGTERM or SIGINT. Raises ConfigError."""

    def tell(notice: Notice) -> None:
        events.record(Subject(notice.kind, notice.key, notice.uid), notice.reason, notice.message)

    # Before the client: what is wrong with the settings is to be said first.
    agent = NodeAgent(
        loaded.chassis,
        loaded.places,
        node_port_networks=settings.node_port_networks(loaded.nodeport_addresses),
        tell=tell,
    )
    client = await Client.connect(Path(loaded.kubeconfig) if loaded.kubeconfig else None)
    events = EventRecorder(client, "ovnk-node", loaded.node_name)
    informer = Informer(
        client,
        decode.NODE_NETWORKS,
        decode.node_network,
        hand_on(loaded.node_name, agent.network_changed),
        invalid=_complain,
        field_selector=f"metadata.name={loaded.node_name}",
    )
    cluster = [
        Informer(client, resource, decoder, agent.cluster_changed)
        for resource, decoder in (
            (decode_services.SERVICES, decode_services.service),
            (decode_services.ENDPOINT_SLICES, decode_services.endpoint_slice),
            (decode.NODES, decode.node),
        )
    ]
    look_for_loopback(loaded.places.bin_dir)
    async with contextlib.AsyncExitStack() as exits:
        exits.push_async_callback(client.close)
        runner = await http.serve(
            loaded.http_address,
            REGISTRY,
            lambda: [*filter(None, (agent.why_not_ready(),)), *agent.services.troubles],
            agent.why_not_ready,
        )
        exits.push_async_callback(runner.cleanup)
        failures = await stopping.run_until_stopped(
            agent.run(), informer.run(), events.run(), *(one.run() for one in cluster)
        )
    for failure in failures:
        if isinstance(failure, OSError):
            raise ConfigError(f"the node agent cannot run: {failure}") from failure
        raise failure
    log.info("stopped", node=loaded.node_name)


def look_for_loopback(folder: Path) -> None:
    """Warns where the folder of plug-ins has not what containerd needs beside ours."""
    if not (folder / "loopback").exists():
        log.warning(
            'there is no plug-in "loopback" beside ours; containerd 1.x starts no pod without it: '
            "install containernetworking-plugins there",
            folder=str(folder),
        )


def hand_on(node: str, network_changed: Callable[[NodeNetworkSpec | None], None]) -> Callable[[Change], None]:
    """What the informer shall call: it tells `network_changed` of this node's NodeNetwork and of no other's.

    The API server selects by name already; one that ignores the selector must not mix up two nodes.
    """

    def emit(change: Change) -> None:
        if isinstance(change, Replace):
            value = change.values.get(node)
        elif isinstance(change, Put):
            value = change.value
        else:
            value = None
        if isinstance(change, Replace) or node == (change.value.key if isinstance(change, Put) else change.key):
            network_changed(value.spec if isinstance(value, NodeNetwork) else None)

    return emit


def _complain(error: InvalidObject) -> None:
    log.warning("the NodeNetwork cannot be used", object=error.key, field=error.field, why=error.why)
