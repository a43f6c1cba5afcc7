"""A daemon's HTTP side: /healthz, /readyz and /metrics."""

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from ovnk.errors import ConfigError


async def serve(
    address: str, registry: CollectorRegistry, degraded: Callable[[], list[str]], why_not_ready: Callable[[], str]
) -> web.AppRunner:
    """Serve on "IP:PORT" until the runner is cleaned up. Raises ConfigError when the address cannot be had.

    /healthz answers 200 while the process works, and says what is degraded: restarting it would mend none of that.
    /readyz answers 503 with `why_not_ready`, until that is "".
    """

    async def healthz(_request: web.Request) -> web.Response:
        problems = degraded()
        return web.Response(text="".join(f"degraded: {problem}\n" for problem in problems) or "ok\n")

    async def readyz(_request: web.Request) -> web.Response:
        why = why_not_ready()
        return web.Response(status=503, text=f"not ready: {why}\n") if why else web.Response(text="ok\n")

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    host, _, port = address.rpartition(":")
    try:
        await web.TCPSite(runner, host.strip("[]"), int(port)).start()
    except (OSError, ValueError) as error:
        await runner.cleanup()
        raise ConfigError(f'http_address "{address}" cannot be listened on: {error}') from error
    return runner
