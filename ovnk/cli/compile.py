"""`ovnk compile`: manifests → stable northbound text, or what a node does for Services."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from cni import service_text
from cni.service_table import Here
from cni.services import compile_rules
from cni.settings import node_port_networks, served
from ovnk import config, manifests
from ovnk.compiler import Compiler
from ovnk.errors import ConfigError
from ovnk.kube.objects import KubeObject, Node, NodeNetwork, Put
from ovnk.northbound import render
from ovnk.settings import ClusterSettings


def command(
    files: Annotated[list[str], typer.Argument(help="Manifest files, or - for standard input.", metavar="FILE")],
    cluster_cidr: Annotated[str | None, typer.Option(help="The pods' network, one a family: A[,B].")] = None,
    service_cidr: Annotated[str | None, typer.Option(help="The Services' network, one a family: A[,B].")] = None,
    node_prefix_v4: Annotated[int | None, typer.Option(help="Length of a node's IPv4 subnet.")] = None,
    node_prefix_v6: Annotated[int | None, typer.Option(help="Length of a node's IPv6 subnet.")] = None,
    rules: Annotated[
        str | None, typer.Option(help="In place of the northbound, the nftables rules of this node for Services.")
    ] = None,
    nodeport_addresses: Annotated[
        str, typer.Option(help="With --rules: what serves node ports, as with ovnk node.")
    ] = "",
    config_file: Annotated[
        Path | None, typer.Option("--config", help="A TOML file; its table is named controller.")
    ] = None,
) -> None:
    """Turn manifests into northbound text, or into a node's rules; no cluster and no server needed.

    Objects that cannot be used are named on standard error and left out; the exit code is then 1.
    """
    flags = {
        "cluster_cidr": cluster_cidr,
        "service_cidr": service_cidr,
        "node_prefix_v4": node_prefix_v4,
        "node_prefix_v6": node_prefix_v6,
    }
    settings = config.load(ClusterSettings, "controller", flags, config_file, os.environ)
    values, invalid = [], []
    for name in files:
        some, refused = manifests.load(_read(name), name)
        values += some
        invalid += refused
    text, notices = compile_text(values, settings)
    if rules is not None:
        own = [address for one in values if isinstance(one, Node) and one.name == rules for address in one.addresses]
        networks = served(node_port_networks(nodeport_addresses), own)
        here = Here(rules, settings.cluster_cidr, settings.service_cidr, networks)
        text = service_text.render(compile_rules(here, values), here)
    sys.stdout.write(text)
    for problem in [*invalid, *notices]:
        print(problem, file=sys.stderr)
    if invalid or notices:
        raise typer.Exit(1)


def compile_text(values: Sequence[KubeObject], settings: ClusterSettings) -> tuple[str, list[str]]:
    """The northbound that these objects mean, and what should be told about them. Raises what a function raised."""
    compiler = Compiler(settings.cluster, settings.networks)
    for value in values:
        if not isinstance(value, NodeNetwork):
            compiler.apply(Put(value))
    notices = compiler.lead(value for value in values if isinstance(value, NodeNetwork))
    _, more = compiler.settle()
    for failure in compiler.graph.failures.values():
        raise failure.error
    text = render.render(compiler.outputs.northbound)  # type: ignore[arg-type]  # the northbound holds Facts alone
    return text, [f"{notice.kind} {notice.key}: {notice.message}" for notice in [*notices, *more]]


def _read(name: str) -> str:
    if name == "-":
        return sys.stdin.read()
    try:
        return Path(name).read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f'manifest "{name}" cannot be read: {why}') from error
