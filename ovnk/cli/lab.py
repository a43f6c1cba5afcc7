"""`ovnk lab`: a whole cluster on this machine. Talks to people; what it does is in ovnk/lab."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ovnk.errors import ConfigError
from ovnk.lab import control, enter, kubebin, kubectl, plan, running, state

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A whole cluster on this machine: real OVS and OVN, nodes as network namespaces.",
)

Name = Annotated[str, typer.Option("--name", help="Which lab; several can be up at once.")]
Files = Annotated[list[str] | None, typer.Option("-f", "--file", help="A manifest to apply; - is standard input.")]
DEFAULT_NAME = "default"

say = Console(stderr=True)


@app.command("up")
def up(
    nodes: Annotated[int, typer.Option(help="How many nodes.")] = 3,
    file: Files = None,
    name: Name = DEFAULT_NAME,
    encap: Annotated[plan.Encapsulation, typer.Option(help="The tunnels between nodes.")] = plan.Encapsulation.GENEVE,
    ip_family: Annotated[plan.Family, typer.Option(help="Addresses of nodes, pods and services.")] = plan.Family.IPV4,
    controllers: Annotated[int, typer.Option(min=1, help="One leads, the others stand by.")] = 1,
    pod_cidrs: Annotated[bool, typer.Option(help="Nodes register with spec.podCIDRs of their own.")] = False,
    kube_bin: Annotated[
        Path | None, typer.Option(help="A folder with real Kubernetes programs to use; else KUBEBUILDER_ASSETS.")
    ] = None,
    state_file: Annotated[
        Path | None, typer.Option("--state", help="Where the embedded API server keeps its objects; default: nowhere.")
    ] = None,
) -> None:
    """Start a lab and wait until its nodes are Ready; it goes on in the background."""
    wanted = plan.Plan(
        name,
        plan.node_names(nodes),
        encap,
        ip_family,
        plan.datapath(),
        kubebin.found(kube_bin, os.environ),
        state_file.absolute() if state_file else None,
        controllers,
        pod_cidrs,
    )
    begun = time.monotonic()
    with say.status("starting") as status:
        lab = running.up(wanted, lambda step: status.update(step.text))
    count = "1 node" if nodes == 1 else f"{nodes} nodes"
    say.print(f"lab {name} is up: {count} Ready after {time.monotonic() - begun:.1f} s", highlight=False)
    if file:
        _kubectl(lab, "apply", *(f"--filename={one}" for one in file))
    say.print(f"  export KUBECONFIG={lab.kubeconfig}", highlight=False)


@app.command("down")
def down(name: Name = DEFAULT_NAME) -> None:
    """End a lab; nothing of it stays."""
    there = running.down(state.named(name))
    say.print(f"lab {name} is down" if there else f"there was no lab {name}", highlight=False)


@app.command("status")
def status(name: Name = DEFAULT_NAME) -> None:
    """Show the lab's daemons: since when they run, how often they were restarted and why."""
    lab = _living(name)
    table = Table("DAEMON", "STATE", "RESTARTS", "LAST EXIT", box=None)
    for daemon in control.ask(lab.control_socket, do="status")["daemons"]:
        standing = "held" if daemon["held"] else "waiting to restart"
        if daemon["up_s"] is not None:
            standing = f"up {daemon['up_s']:.0f} s"
        table.add_row(daemon["name"], standing, str(daemon["restarts"]), daemon["last_exit"])
    Console().print(table)


@app.command("exec")
def execute(
    target: Annotated[str, typer.Argument(help="NAMESPACE/POD, node/NAME, outside or central.")],
    command: Annotated[list[str], typer.Argument(help="The command and its arguments, after --.")],
    name: Name = DEFAULT_NAME,
) -> None:
    """Run a command in a pod's network, in a node, or on the host outside; its exit code is passed on."""
    enter.run(_living(name), target, command)


@app.command("kubeconfig")
def kubeconfig(
    name: Name = DEFAULT_NAME,
    path: Annotated[bool, typer.Option("--path", help="Print where the file is instead of what is in it.")] = False,
) -> None:
    """Print the kubeconfig of a lab."""
    lab = _living(name)
    print(lab.kubeconfig if path else lab.kubeconfig.read_text(), end="\n" if path else "")


@app.command("apply")
def apply(file: Files, name: Name = DEFAULT_NAME) -> None:
    """Apply manifests with kubectl."""
    _kubectl(_living(name), "apply", *(f"--filename={one}" for one in file or ()))


def _kubectl(lab: state.State, *arguments: str) -> None:
    """Run kubectl on the machine against a lab; its failure is ours."""
    code = subprocess.run([kubectl.program(), f"--kubeconfig={lab.kubeconfig}", *arguments], check=False).returncode
    if code:
        sys.exit(code)


def _living(name: str) -> state.State:
    """The lab of that name; raises ConfigError, with the labs there are, when it does not run."""
    lab = state.named(name)
    if lab.first_process is None:
        others = ", ".join(other.name for other in state.living())
        raise ConfigError(f'no lab "{name}" is up' + (f"; up: {others}" if others else "; start it with `ovnk lab up`"))
    return lab
