"""`ovnk demo`: a cluster in seconds, pods on three nodes, who reaches whom, and down again."""

import contextlib
import json
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ovnk.errors import LabError
from ovnk.lab import enter, fronts, kubectl, matrix, plan, running, state, topology

MANIFEST = Path(__file__).parents[1] / "lab" / "demo.yaml"
SERVICE = MANIFEST.with_name("demo_service.yaml")
POLICY = MANIFEST.with_name("demo_policy.yaml")
READY_S_MAX = 60
ENFORCED_S_MAX = 20
# Where the Service is asked: from a pod, from a node, and twice from outside.
FRONTS_ASKED = 4

# ":100:" in an address is no emoji.
say = Console(emoji=False)


def command(
    nodes: Annotated[int, typer.Option(help="How many nodes.")] = 3,
    name: Annotated[str, typer.Option(help="The lab's name while it is up.")] = "demo",
    ip_family: Annotated[plan.Family, typer.Option(help="Addresses of nodes and pods.")] = plan.Family.IPV4,
    keep: Annotated[bool, typer.Option(help="Leave the lab up.")] = False,
) -> None:
    """Boot a lab, start pods on all its nodes, show topology and connectivity, and take it down.

    The exit code is 0 when all pods and nodes reached all pods without NAT, a Service was reached, a policy enforced.
    """
    wanted = plan.Plan(name, plan.node_names(nodes), plan.Encapsulation.GENEVE, ip_family, plan.datapath(), None, None)
    began = time.monotonic()
    with say.status("starting") as status:
        lab = running.up(wanted, lambda step: status.update(step.text))
    good = False
    try:
        say.print(f"{nodes} nodes Ready after {time.monotonic() - began:.1f} s: real OVS and OVN in network namespaces")
        good = _show(lab)
    finally:
        if keep:
            say.print(f"the lab goes on: export KUBECONFIG={lab.kubeconfig}; end it with ovnk lab down --name {name}")
        else:
            running.down(lab)
            say.print(f"all down again after {time.monotonic() - began:.1f} s")
    if not good:
        raise typer.Exit(1)


def _show(lab: state.State) -> bool:
    """Start the pods and show what there is; whether all is well."""
    began = time.monotonic()
    _kubectl(lab, "apply", f"--filename={MANIFEST}")
    for workload in ("deployment/web --namespace=shop", "statefulset/db --namespace=data"):
        _kubectl(lab, "rollout", "status", *workload.split(), f"--timeout={READY_S_MAX}s")
    pods = sorted(json.loads(_kubectl(lab, "get", "pods", "--all-namespaces", "--output=json"))["items"], key=_name)
    say.print(f"{len(pods)} pods Ready after {time.monotonic() - began:.1f} s\n")
    say.print(topology.tree(topology.read(lab.northbound_socket)))
    targets = [
        matrix.Target(_name(pod), pod["status"]["podIP"], pod["spec"]["containers"][0]["ports"][0]["containerPort"])
        for pod in pods
    ]
    where = {_name(pod): f"({pod['spec']['nodeName']})" for pod in pods}
    places = [*where, *(f"node/{node}" for node in sorted({pod["spec"]["nodeName"] for pod in pods}))]

    def run(place: str, command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        with contextlib.closing(enter.find(lab, place)) as entrance:
            return subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=120, preexec_fn=entrance.enter
            )

    with say.status("every pod asks every pod"):
        answers = matrix.measure(places, targets, run)
    say.print()
    say.print(matrix.table("who reaches whom (HTTP, milliseconds of the second request)", answers, targets, where))
    cells = [answer for row in answers.values() for answer in row]
    good = sum(answer.good for answer in cells)
    say.print(f"\n{good} of {len(cells)} answered, each pod seeing the asker's own address: no NAT\n")
    return good == len(cells) and _show_service(lab, pods, run) and _show_policy(lab, pods, run)


def _show_service(lab: state.State, pods: Sequence[dict[str, Any]], run: matrix.Run) -> bool:
    """Apply a Service and show who answers from a pod, a node and outside; whether all its pods did everywhere."""
    _kubectl(lab, "apply", f"--filename={SERVICE}")
    deadline = time.monotonic() + ENFORCED_S_MAX
    with say.status("a Service arrives"):
        while True:
            asked = _fronts(lab, pods, run)
            answers = fronts.measure(asked, run)
            good = len(answers) == FRONTS_ASKED and all(len(heard.pods) == 3 for heard in answers.values())
            if good or time.monotonic() > deadline:
                break
    say.print(fronts.table("Service shop/web, three pods behind it", answers))
    say.print()
    return good


def _fronts(lab: state.State, pods: Sequence[dict[str, Any]], run: matrix.Run) -> list[fronts.Front]:
    """Where the Service is asked: who is outside has a way to the pool's address by the first node."""
    found = json.loads(_kubectl(lab, "get", "service", "web", "--namespace=shop", "--output=json"))
    node = json.loads(_kubectl(lab, "get", "nodes", "--output=json"))["items"][0]
    own = next(one["address"] for one in node["status"]["addresses"] if one["type"] == "InternalIP")
    pod = next(_name(pod) for pod in pods if pod["metadata"]["namespace"] == "data")
    ip, port = found["spec"]["clusterIP"], found["spec"]["ports"][0]
    asked = [
        fronts.Front(pod, "ClusterIP", ip, port["port"]),
        fronts.Front(f"node/{node['metadata']['name']}", "ClusterIP", ip, port["port"]),
        fronts.Front("outside", "node port", own, port["nodePort"]),
    ]
    for one in found["status"].get("loadBalancer", {}).get("ingress", ()):
        run("outside", ["ip", "route", "replace", one["ip"], "via", own])
        asked.append(fronts.Front("outside", "external IP", one["ip"], port["port"]))
    return asked


def _show_policy(lab: state.State, pods: Sequence[dict[str, Any]], run: matrix.Run) -> bool:
    """Apply a NetworkPolicy and show a connection that it lets through and one that it does not; whether that is so."""
    _kubectl(lab, "apply", f"--filename={POLICY}")
    web = next(_name(pod) for pod in pods if pod["metadata"]["namespace"] == "shop")
    db, neighbour = [pod for pod in pods if pod["metadata"]["namespace"] == "data"][:2]
    target = matrix.Target(_name(db), db["status"]["podIP"], 5432)
    deadline = time.monotonic() + ENFORCED_S_MAX
    with say.status("a NetworkPolicy arrives"):
        while True:
            places = matrix.measure([web, _name(neighbour)], [target], run)
            allowed, denied = (row[0] for row in places.values())
            if (allowed.good and denied.error) or time.monotonic() > deadline:
                break
    names = _acl_names(lab)
    for place, (answer,), action in zip(places, places.values(), ("allow-related", "drop"), strict=True):
        outcome = f"[red]{answer.error}[/]" if answer.error else f"[green]{answer.ms:.1f} ms[/]"
        say.print(f"{place} → {target.name}: {outcome}  {action} by {names.get(action, 'no policy')}", soft_wrap=True)
    say.print()
    return allowed.good and bool(denied.error)


def _acl_names(lab: state.State) -> dict[str, str]:
    """The names of the policies' ACLs as logs and traces show them, one an action."""
    command = [
        "ovn-nbctl",
        f"--db=unix:{lab.northbound_socket}",
        "--format=csv",
        "--no-headings",
        "--columns=action,name",
    ]
    run = subprocess.run([*command, "list", "ACL"], capture_output=True, text=True, check=False)
    found = [line.split(",", 1) for line in run.stdout.splitlines()]
    return {action: name.strip('"') for action, name in found if name.strip('"').startswith("NP:")}


def _name(pod: dict[str, Any]) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def _kubectl(lab: state.State, *arguments: str) -> str:
    command = [kubectl.program(), f"--kubeconfig={lab.kubeconfig}", *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        raise LabError(f"kubectl {arguments[0]}: {run.stderr.strip()}")
    return run.stdout
