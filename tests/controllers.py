"""A controller between a real northbound and the embedded API server, in the test's own loop.

    with_world(tmp_path, case):  case(world) with   world.api, .northbound, .client, .controller(…)

The API server's requests pass through `world.api.fault`, which may answer in its place.
"""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import structlog
from aiohttp import web

from ovnk.controller import Controller
from ovnk.kube import crds
from ovnk.kube.client import MERGE_PATCH, ApiError, Client
from ovnk.lab.apiserver import Store, create_app, kubeconfig
from ovnk.northbound.writer import Northbound
from ovnk.settings import ControllerSettings
from tests.ovsdb import OvsdbServer

Object = dict[str, Any]
Fault = Callable[[web.Request], Awaitable[web.StreamResponse | None]]

DEADLINE_S = 20
NODE_NETWORKS = "/apis/ovnk.io/v1/nodenetworks"


class Api:
    """The API server; its objects outlive `stop`."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(None)
        self.fault: Fault | None = None
        self.written: list[str] = []
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.kubeconfig = folder / "kubeconfig"
        self.kubeconfig.write_text(json.dumps(kubeconfig(f"http://127.0.0.1:{self.port}", "token", None)))
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        inner = create_app(self.store, token="token")
        inner.middlewares.append(self._intercept)
        self._runner = web.AppRunner(inner, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @web.middleware
    async def _intercept(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.method != "GET" and "ovnk.io/v1" in request.path:
            self.written.append(f"{request.method} {request.path}")
        answer = await self.fault(request) if self.fault is not None else None
        response: web.StreamResponse = answer or await handler(request)
        return response


class World:
    """What a test acts upon."""

    def __init__(self, folder: Path, api: Api, client: Client, logs: list[Any]) -> None:
        self.folder, self.api, self.client, self.logs = folder, api, client, logs
        self.northbound = OvsdbServer(folder / "northbound")

    @contextlib.asynccontextmanager
    async def controller(self, identity: str = "one", **given: Any) -> AsyncIterator[Controller]:
        """A controller that runs meanwhile, and is stopped as SIGTERM stops it."""
        settings = ControllerSettings(northbound=given.pop("northbound", self.northbound.remote), **given)
        northbound = Northbound(settings.northbound, lock="ovnk_controller")
        client = await Client.connect(self.api.kubeconfig)
        running = Controller(settings, identity, client, northbound)
        task = asyncio.create_task(running.run())
        try:
            yield running
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await client.close()

    async def create(self, path: str, value: Object) -> None:
        await self.client.request("POST", path, body=value)

    async def get(self, path: str) -> Object:
        value: Object = json.loads(await self.client.request("GET", path))
        return value

    async def node(self, name: str = "node-1", number: int = 1, **spec: Any) -> None:
        status = {"addresses": [{"type": "InternalIP", "address": f"192.168.100.{number}"}]}
        await self.create("/api/v1/nodes", {"metadata": {"name": name}, "spec": spec, "status": status})

    async def patch(self, path: str, value: Object) -> None:
        await self.client.request("PATCH", path, body=value, content_type=MERGE_PATCH)

    async def delete(self, path: str) -> None:
        await self.client.request("DELETE", path, query={"gracePeriodSeconds": "0"})

    async def pod(self, name: str = "web-0", node: str = "node-1", namespace: str = "shop", **spec: Any) -> None:
        containers = [{"name": "main", "image": "none"}]
        body = {"metadata": {"name": name}, "spec": {"nodeName": node, "containers": containers, **spec}}
        await self.create(f"/api/v1/namespaces/{namespace}/pods", body)

    async def node_network(self, node: str = "node-1") -> Object:
        """Its spec; {} while there is none."""
        with contextlib.suppress(ApiError):
            found: Object = (await self.get(f"{NODE_NETWORKS}/{node}"))["spec"]
            return found
        return {}

    async def pods_on_record(self, *names: str, node: str = "node-1") -> bool:
        """Whether these pods, and no others, have addresses in the node's NodeNetwork."""
        return sorted(names) == sorted(pod["name"] for pod in (await self.node_network(node)).get("pods", ()))

    async def subnets(self, node: str, *cidrs: str) -> bool:
        """Whether these are the node's."""
        return list(cidrs) == [one["cidr"] for one in (await self.node_network(node)).get("subnets", ())]

    async def told(self, thing: str, reason: str) -> str:
        """The message of the Event with that reason about "Kind/name"; "" while there is none."""
        for one in (await self.get("/api/v1/events"))["items"]:
            about = f"{one['involvedObject']['kind']}/{one['involvedObject']['name']}"
            if (about, one["reason"]) == (thing, reason):
                return str(one["message"])
        return ""

    def row(self, table: str, name: str) -> Object | None:
        """The row of that name in the northbound, if it is there."""
        return next((row for row in self.northbound.select().get(table, ()) if row["name"] == name), None)

    def logged(self, event: str) -> list[Any]:
        return [entry for entry in self.logs if entry["event"] == event]

    async def port(self, name: str = "shop/web-0") -> Object:
        """The pod's port, once it is there."""
        await self.until(lambda: self.row("Logical_Switch_Port", name), f"port {name}")
        found = self.row("Logical_Switch_Port", name)
        assert found is not None
        return found

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait until it holds; if it is a coroutine function, until what it gives does."""
        end = asyncio.get_running_loop().time() + DEADLINE_S
        while True:
            holds = condition()
            if asyncio.iscoroutine(holds):
                holds = await holds
            if holds:
                return
            assert asyncio.get_running_loop().time() < end, f"{what} did not come; logged: {self.logs}"
            await asyncio.sleep(0.01)


def with_world(folder: Path, case: Callable[[World], Awaitable[None]], *, northbound: bool = True) -> None:
    """Runs the case; what it started is stopped at its end."""

    async def run() -> None:
        api = Api(folder)
        await api.start()
        client = await Client.connect(api.kubeconfig)
        with structlog.testing.capture_logs() as logs:
            world = World(folder, api, client, logs)
            try:
                if northbound:
                    world.northbound.start()
                await world.create("/api/v1/namespaces", {"metadata": {"name": "shop"}})
                for definition in crds.DEFINITIONS:
                    await world.create(
                        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crds.manifest(definition)
                    )
                await case(world)
            finally:
                await client.close()
                await api.stop()
                world.northbound.kill()

    asyncio.run(asyncio.wait_for(run(), 60))
