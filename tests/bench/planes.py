"""A control plane of the bench's own: an API server (embedded, or real where there is one) and a northbound.

    API server (a process) ◀── requests.py          northbound (ovsdb-server) ◀── observers.Ports
          ▲  └── watch ──▶ observers.Published              ▲
          └───────────── `ovnk controller` (processes) ─────┘

On loopback and unix sockets, in a folder of its own; no northd and no nodes: what is measured is the controller.
"""

import asyncio
import contextlib
import itertools
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import yaml

from ovnk.kube import crds, decode, listing
from ovnk.kube.client import ApiError, Client
from ovnk.kube.credentials import Credentials
from ovnk.lab import kubebin
from tests.bench import objects, processes
from tests.bench.processes import Daemon
from tests.bench.requests import Sender
from tests.bench.running import Settings
from tests.lab.apiserver.running import api_server
from tests.ovsdb import OvsdbServer, ovsdb_server

CLUSTER_CIDR, SERVICE_CIDR = "10.128.0.0/10", "10.96.0.0/16"
PODS = f"/api/v1/namespaces/{objects.NAMESPACE}/pods"
SERVICES = f"/api/v1/namespaces/{objects.NAMESPACE}/services"
SLICES = f"/apis/discovery.k8s.io/v1/namespaces/{objects.NAMESPACE}/endpointslices"
POLICIES = f"/apis/networking.k8s.io/v1/namespaces/{objects.NAMESPACE}/networkpolicies"


class Plane:
    """An API server with the CRD, a namespace and nodes, and an empty northbound."""

    def __init__(self, folder: Path, kubeconfig: Path, client: Client, sender: Sender, northbound: OvsdbServer) -> None:
        self.folder, self.kubeconfig, self.client, self.sender = folder, kubeconfig, client, sender
        self.northbound = northbound
        self._numbers = itertools.count(1)

    async def create_nodes(self, count: int) -> None:
        """Make the nodes."""
        await self.sender.send(self.sender.encode("/api/v1/nodes", objects.node_manifests(count)))

    async def create_policies_and_services(self, policies: int, services: int, node_count: int) -> None:
        """Make so many of each, the Services with ten endpoints."""
        for path, bodies in (
            (POLICIES, objects.policy_manifests(policies)),
            (SERVICES, objects.service_manifests(services)),
            (SLICES, objects.slice_manifests(services, 10, node_count)),
        ):
            await self.sender.send(self.sender.encode(path, bodies))

    def pods(self, count: int, node_count: int, prefix: str = "web") -> list[bytes]:
        """Requests that create pods, for `sender.send`."""
        return self.sender.encode(PODS, objects.pod_manifests(count, node_count, prefix))

    @contextlib.asynccontextmanager
    async def controller(self) -> AsyncIterator[Daemon]:
        """One `ovnk controller` process more."""
        identity = f"controller-{next(self._numbers)}"
        async with processes.daemon(
            self.folder / f"{identity}.log",
            "controller",
            f"--kubeconfig={self.kubeconfig}",
            f"--northbound={self.northbound.remote}",
            f"--cluster-cidr={CLUSTER_CIDR}",
            f"--service-cidr={SERVICE_CIDR}",
            f"--identity={identity}",
            "--http-address=127.0.0.1:0",
        ) as started:
            yield started

    async def node_network_versions(self) -> dict[str, str]:
        """The resourceVersion of each NodeNetwork: equal before and after means that nothing was written."""
        found = await listing.values(self.client, decode.NODE_NETWORKS, decode.node_network)
        return {one.name: one.resource_version for one in found}


@contextlib.asynccontextmanager
async def plane(settings: Settings, node_count: int) -> AsyncIterator[Plane]:
    """A new one with that many nodes, gone at the end."""
    with contextlib.ExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory(dir=settings.folder)))
        kubeconfig = exits.enter_context(_api_server(settings, folder))
        northbound = exits.enter_context(ovsdb_server(folder / "nb"))
        client = await Client.connect(kubeconfig)
        sender = await Sender(Credentials(kubeconfig)).connect()
        try:
            made = Plane(folder, kubeconfig, client, sender, northbound)
            await _prepare(made, node_count)
            yield made
        finally:
            sender.close()
            await client.close()


@contextlib.contextmanager
def _api_server(settings: Settings, folder: Path) -> Iterator[Path]:
    """The kubeconfig of an API server: its own admission alone, nobody schedules or makes accounts."""
    if settings.kube_bin is None:
        with api_server() as running:
            yield running.kubeconfig
        return
    only = folder / "bin"
    only.mkdir()
    for name in ("etcd", "kube-apiserver"):
        (only / name).symlink_to(settings.kube_bin / name)
    with kubebin.running(only, folder / "kube", [SERVICE_CIDR]) as kubeconfig:
        yield kubeconfig


async def _prepare(made: Plane, node_count: int) -> None:
    for file in crds.FOLDER.glob("*.yaml"):
        crd = yaml.safe_load(file.read_text())
        await made.client.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", body=crd)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": objects.NAMESPACE}}
    await made.client.request("POST", "/api/v1/namespaces", body=namespace)
    for path in (decode.NODE_NETWORKS.path, "/api/v1/namespaces/kube-system"):
        await _there(made.client, path)
    await made.create_nodes(node_count)


async def _there(client: Client, path: str) -> None:
    """Returns once the path is served: a CRD's is soon after the CRD, kube-system is made by a real API server."""
    async with asyncio.timeout(30):
        while True:
            try:
                await client.request("GET", path)
                return
            except ApiError as error:
                if error.status != 404 and not error.transient:
                    raise
            await asyncio.sleep(0.05)
