"""`ovnk controller`: the controller as a daemon."""

import asyncio
import contextlib
import os
import socket
from pathlib import Path
from typing import Annotated

import structlog
import typer

from ovnk import __version__, config, http, logs, memory, stopping
from ovnk.controller import Controller
from ovnk.kube.client import Client
from ovnk.northbound.remotes import Tls
from ovnk.northbound.writer import Northbound
from ovnk.settings import ControllerSettings

log = structlog.get_logger()

# The OVSDB lock that fences a stale leader in the database itself.
LOCK = "ovnk_controller"


def command(
    northbound: Annotated[
        str | None, typer.Option(help="unix:PATH, tcp:IP:PORT or ssl:IP:PORT, comma separated.")
    ] = None,
    northbound_private_key: Annotated[str | None, typer.Option(help="A PEM file, for ssl.")] = None,
    northbound_certificate: Annotated[str | None, typer.Option(help="A PEM file, for ssl.")] = None,
    northbound_ca: Annotated[str | None, typer.Option(help="A PEM file, for ssl.")] = None,
    kubeconfig: Annotated[str | None, typer.Option(help="Default: the pod's service account.")] = None,
    cluster_cidr: Annotated[str | None, typer.Option(help="The pods' network, one a family: A[,B].")] = None,
    service_cidr: Annotated[str | None, typer.Option(help="The Services' network, one a family: A[,B].")] = None,
    node_prefix_v4: Annotated[int | None, typer.Option(help="Length of a node's IPv4 subnet.")] = None,
    node_prefix_v6: Annotated[int | None, typer.Option(help="Length of a node's IPv6 subnet.")] = None,
    mtu_bytes: Annotated[int | None, typer.Option(help="The pods' MTU; 0: each node looks at its underlay.")] = None,
    identity: Annotated[str | None, typer.Option(help="This candidate's name in the lease.")] = None,
    lease_namespace: Annotated[str | None, typer.Option(help="Where the lease is.")] = None,
    lease_name: Annotated[str | None, typer.Option(help="What the lease is called.")] = None,
    http_address: Annotated[str | None, typer.Option(help="IP:PORT of /healthz, /readyz and /metrics.")] = None,
    first_delete_share: Annotated[
        float | None, typer.Option(help="Share of our rows that the first comparison may delete.")
    ] = None,
    config_file: Annotated[
        Path | None, typer.Option("--config", help="A TOML file; its table is named controller.")
    ] = None,
    log_format: Annotated[str | None, typer.Option(help="json or console.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
) -> None:
    """Run the controller: the Kubernetes API in, the OVN northbound out."""
    flags = {name: value for name, value in locals().items() if name != "config_file"}
    settings = config.load(ControllerSettings, "controller", flags, config_file, os.environ)
    logs.configure(settings.log_format, settings.log_level)
    memory.begin()
    asyncio.run(run(settings))


async def run(settings: ControllerSettings) -> None:
    """The controller and its HTTP side, until SIGTERM or SIGINT. Raises ConfigError."""
    identity = settings.identity or f"{socket.gethostname()}-{os.getpid()}"
    tls = None
    if settings.northbound_ca:
        tls = Tls(
            Path(settings.northbound_private_key), Path(settings.northbound_certificate), Path(settings.northbound_ca)
        )
    northbound = Northbound(settings.northbound, tls=tls, lock=LOCK)
    client = await Client.connect(Path(settings.kubeconfig) if settings.kubeconfig else None)
    async with contextlib.AsyncExitStack() as exits:
        exits.push_async_callback(client.close)
        controller = Controller(settings, identity, client, northbound)
        health = controller.health
        runner = await http.serve(settings.http_address, health.metrics.registry, health.degraded, health.why_not_ready)
        exits.push_async_callback(runner.cleanup)
        log.info("starting", version=__version__, identity=identity, northbound=settings.northbound, api=client.server)
        for error in await stopping.run_until_stopped(controller.run()):
            raise error
    log.info("stopped", identity=identity)
