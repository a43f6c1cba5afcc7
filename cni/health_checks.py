"""healthCheckNodePort: an HTTP server for each, which tells a load balancer whether this node has endpoints.

It answers as kube-proxy's does (pkg/proxy/healthcheck/service_health.go): 200 with local endpoints, else 503.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from aiohttp import web

from cni.service_table import HERE, Here, family
from ovnk.incremental.desired import Delta
from ovnk.incremental.graph import View
from ovnk.kube.objects import Notice
from ovnk.kube.service_objects import EndpointSlice, Service


@dataclass(frozen=True, slots=True)
class Check:
    """One health check port, whose it is, and how many ready endpoints its service has on this node, by IP version."""

    port: int
    namespace: str
    name: str
    uid: str
    endpoints: tuple[tuple[int, int], ...]

    def asked_at(self, version: int) -> int:
        """The endpoints as told at an address of that version; at one that the service does not have, of the other.

        A pod with addresses of both is one endpoint in each, and kube-proxy has a server for each.
        """
        counts = dict(self.endpoints)
        return counts.get(version, max(counts.values(), default=0))

    @property
    def identity(self) -> int:
        """The port."""
        return self.port


def check(view: View, service: Service) -> Iterator[Check]:
    """The Service's check; nothing for one without a health check port."""
    here = view.get(Here, HERE)
    if here is None or not service.health_check_node_port or not service.external_local:
        return
    ready = {
        endpoint.address
        for one in view.by(EndpointSlice, "service", service.key)
        for endpoint in one.endpoints
        if endpoint.ready and endpoint.node == here.node
    }
    versions = sorted({family(address) for address in service.cluster_ips})
    endpoints = tuple((version, sum(family(address) == version for address in ready)) for version in versions)
    yield Check(service.health_check_node_port, service.namespace, service.name, service.uid, endpoints)


class HealthChecks:
    """The servers; `healthy` says whether this node's rules are as they should be."""

    def __init__(self, healthy: Callable[[], bool]) -> None:
        self._healthy = healthy
        self._checks: dict[int, Check] = {}
        self._runners: dict[int, web.AppRunner] = {}
        # The ports that could not be served, and why; each apply tries them again.
        self.failed: dict[int, str] = {}

    def notices(self, node: str) -> Iterator[Notice]:
        """What owners of services should be told of ports that cannot be served on this node."""
        for port, why in self.failed.items():
            one = self._checks[port]
            message = (
                f"healthCheckNodePort {port} cannot be served on node {node} ({why}): load balancers take the node for "
                "one without endpoints; end the process that has the port, or make the Service anew with another"
            )
            yield Notice("Service", f"{one.namespace}/{one.name}", "HealthCheckPortInUse", message, one.uid)

    async def apply(self, delta: Delta) -> None:
        """Serves what came, and no longer what went. A port that another process has is left to it."""
        added: dict[int, Check] = {one.port: one for one in delta.added if isinstance(one, Check)}
        gone = {one.port for one in delta.removed if isinstance(one, Check)} - added.keys()
        for port in gone:
            self._checks.pop(port, None)
            self.failed.pop(port, None)
            if runner := self._runners.pop(port, None):
                await runner.cleanup()
        self._checks.update(added)
        for port in sorted(self._checks.keys() - self._runners.keys()):
            await self._serve(port)

    async def close(self) -> None:
        """Serves no more."""
        for runner in self._runners.values():
            await runner.cleanup()

    async def _serve(self, port: int) -> None:
        async def answer(request: web.Request) -> web.Response:
            own = request.transport.get_extra_info("sockname") if request.transport else ("",)
            return self._answer(self._checks[port], family(own[0]))

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, None, port).start()
        except OSError as error:
            await runner.cleanup()
            self.failed[port] = (error.strerror or str(error)).lower()
            return
        self.failed.pop(port, None)
        self._runners[port] = runner

    def _answer(self, one: Check, version: int) -> web.Response:
        healthy, endpoints = self._healthy(), one.asked_at(version)
        return web.json_response(
            {
                "service": {"namespace": one.namespace, "name": one.name},
                "localEndpoints": endpoints,
                "serviceProxyHealthy": healthy,
            },
            status=200 if endpoints and healthy else 503,
            headers={
                "X-Content-Type-Options": "nosniff",
                "X-Load-Balancing-Endpoint-Weight": str(endpoints),
            },
        )
