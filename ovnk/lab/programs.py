"""The lab's Python daemons, as functions that a forked child runs: what was imported before the fork costs it nothing.

The controller and the node agents are the real commands, entered where the `ovnk` program is entered, with the flags
that a cluster's manifests would give them. Only their start is the lab's.
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ovnk import cli
from ovnk.kube import crds
from ovnk.kube.client import ApiError, Client
from ovnk.lab import policy_crds
from ovnk.lab.plan import API_PORT, SOUTHBOUND_PORT, Plan
from ovnk.lab.state import State

# In each node's own /run. A lab never touches the machine's /etc/cni and /opt/cni.
CNI_CONFIGURATION = Path("/run/cni/net.d")
CNI_PROGRAMS = Path("/run/cni/bin")
# Where chained plug-ins of others are looked for: upstream's folder, and Debian's.
CNI_PROGRAMS_OF_OTHERS = ("/opt/cni/bin", "/usr/lib/cni")

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
BOOTSTRAP_AGAIN_S = 0.1


def command(*arguments: str) -> None:
    """Run `ovnk ARGUMENTS…` in this process."""
    sys.argv = ["ovnk", *arguments]
    cli.main()


def controller(plan: Plan, state: State, identity: str, http_port: int) -> Callable[[], None]:
    """`ovnk controller` for this lab."""
    return partial(
        command,
        "controller",
        f"--kubeconfig={state.inner_kubeconfig}",
        f"--northbound=unix:{state.northbound_socket}",
        f"--cluster-cidr={plan.cluster_cidrs}",
        f"--service-cidr={plan.service_cidrs}",
        f"--identity={identity}",
        f"--http-address=127.0.0.1:{http_port}",
        "--log-format=console",
    )


def agent(plan: Plan, state: State, node: str) -> Callable[[], None]:
    """`ovnk node` for a node of this lab; the datapath and the tunnel's address it finds by looking."""
    return partial(
        command,
        "node",
        f"--node-name={node}",
        f"--kubeconfig={state.inner_kubeconfig}",
        f"--southbound={plan.remote(SOUTHBOUND_PORT)}",
        f"--encap-type={plan.encapsulation}",
        f"--cni-bin-dir={CNI_PROGRAMS}",
        f"--cni-conf-dir={CNI_CONFIGURATION}",
        "--log-format=console",
    )


def kubelet(plan: Plan, state: State, node: str) -> Callable[[], None]:
    """The small kubelet of a node."""
    from ovnk.lab.kubelet import run
    from ovnk.lab.kubelet.sandbox import Folders

    plugins = ":".join([str(CNI_PROGRAMS), *CNI_PROGRAMS_OF_OTHERS])
    return partial(
        run.run,
        run.Settings(
            node=node,
            ips=tuple(plan.node(node).values()),
            kubeconfig=state.inner_kubeconfig,
            folders=Folders(CNI_CONFIGURATION, plugins, state.node(node) / "pods"),
            logs=state.folder / "logs" / "pods",
            pod_cidrs=plan.node_cidrs(node),
        ),
    )


def controllers(state: State, names: Sequence[str]) -> Callable[[], None]:
    """The lab's scheduler, Deployment controller and so on; `names` are those that no real program stands in for."""
    from ovnk.lab import controllers as lab

    async def run() -> None:
        client = await Client.connect(state.inner_kubeconfig)
        await lab.run(client, set(names))

    return partial(_run, run)


def _run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(main())


def bootstrap(plan: Plan, state: State, embedded: bool) -> None:
    """Create what every cluster has, and our CustomResourceDefinitions; what is there already stays as it is."""

    async def run() -> None:
        client = await Client.connect(state.inner_kubeconfig)
        for path, value in _first_objects(plan, embedded):
            await _create(client, path, value)
        await client.close()

    asyncio.run(run())


async def _create(client: Client, path: str, value: dict[str, Any]) -> None:
    while True:
        try:
            await client.request("POST", path, body=value)
            return
        except ApiError as error:
            if error.reason == "AlreadyExists":
                return
            if not error.transient:
                raise
        await asyncio.sleep(BOOTSTRAP_AGAIN_S)


def _first_objects(plan: Plan, embedded: bool) -> list[tuple[str, dict[str, Any]]]:
    """What is to be created: (collection, object). kube-apiserver makes the namespaces and its Service by itself."""
    found: list[tuple[str, dict[str, Any]]] = []
    if embedded:
        found += [("/api/v1/namespaces", _namespace(name)) for name in NAMESPACES]
        found += _api_service(plan)
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    found += [(definitions, crds.manifest(definition)) for definition in crds.DEFINITIONS]
    found += [(definitions, definition) for definition in policy_crds.DEFINITIONS]
    return found


def _namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def _api_service(plan: Plan) -> list[tuple[str, dict[str, Any]]]:
    """Service default/kubernetes, which leads to the API server, and its endpoints, which no controller makes."""
    version = plan.versions[0]
    metadata = {"name": "kubernetes", "namespace": "default"}
    labels = {"component": "apiserver", "provider": "kubernetes"}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {**metadata, "labels": labels},
        "spec": {
            "clusterIP": plan.first_service_address,
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": API_PORT}],
        },
    }
    endpoints = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {**metadata, "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": f"IPv{version}",
        "endpoints": [{"addresses": [plan.central()[version]], "conditions": {"ready": True}}],
        "ports": [{"name": "https", "port": API_PORT, "protocol": "TCP"}],
    }
    return [
        ("/api/v1/namespaces/default/services", service),
        ("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", endpoints),
    ]
