"""healthCheckNodePort: an HTTP server for each, which tells a load balancer whether this node has endpoints.

It answers as kube-proxy's does (pkg/proxy/healthcheck/service_health.go): 200 with local endpoints, else 503.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import structlog
from aiohttp import web

from cni.service_table import HERE, Here
from ovnk.incremental.desired import Delta
from ovnk.incremental.graph import View
from ovnk.kube.service_objects import EndpointSlice, Service

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Check:
    """One health check port, whose it is, and how many ready endpoints its service has on this node."""

    port: int
    namespace: str
    name: str
    endpoints: int

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
    yield Check(service.health_check_node_port, service.namespace, service.name, len(ready))


class HealthChecks:
    """The servers; `healthy` says whether this node's rules are as they should be."""

    def __init__(self, healthy: Callable[[], bool]) -> None:
        self._healthy = healthy
        self._checks: dict[int, Check] = {}
        self._runners: dict[int, web.AppRunner] = {}

    async def apply(self, delta: Delta) -> None:
        """Serves what came, and no longer what went. A port that another process has is left to it, and said so."""
        added: dict[int, Check] = {one.port: one for one in delta.added if isinstance(one, Check)}
        gone = {one.port for one in delta.removed if isinstance(one, Check)} - added.keys()
        for port in gone:
            self._checks.pop(port, None)
            if runner := self._runners.pop(port, None):
                await runner.cleanup()
        self._checks.update(added)
        for port in sorted(added.keys() - self._runners.keys()):
            await self._serve(port)

    async def close(self) -> None:
        """Serves no more."""
        for runner in self._runners.values():
            await runner.cleanup()

    async def _serve(self, port: int) -> None:
        async def answer(_request: web.Request) -> web.Response:
            return self._answer(self._checks[port])

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, None, port).start()
        except OSError as error:
            await runner.cleanup()
            one = self._checks[port]
            service = f"{one.namespace}/{one.name}"
            log.warning("a health check port cannot be served", service=service, port=port, why=str(error))
            return
        self._runners[port] = runner

    def _answer(self, one: Check) -> web.Response:
        healthy = self._healthy()
        return web.json_response(
            {
                "service": {"namespace": one.namespace, "name": one.name},
                "localEndpoints": one.endpoints,
                "serviceProxyHealthy": healthy,
            },
            status=200 if one.endpoints and healthy else 503,
            headers={
                "X-Content-Type-Options": "nosniff",
                "X-Load-Balancing-Endpoint-Weight": str(one.endpoints),
            },
        )
