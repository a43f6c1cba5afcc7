"""Probes: asking a container, from the node's network as kubelet does, whether it is ready or alive."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

# core/v1 Probe's defaults.
PERIOD_S = 10
TIMEOUT_S = 1
SUCCESS_THRESHOLD = 1
FAILURE_THRESHOLD = 3


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to ask: the pod's address, the container's ports by name, and how a command is run in it (its exit code)."""

    address: str
    ports: Mapping[str, int]
    execute: Callable[[list[str]], Awaitable[int]]


async def watch(probe: Mapping[str, Any], target: Target, changed: Callable[[bool], None]) -> None:
    """Probe until cancelled; tell `changed` whenever the verdict is new, the thresholds taken into account.

    There is no verdict before the first one is reached.
    """
    await asyncio.sleep(probe.get("initialDelaySeconds") or 0)
    verdict: bool | None = None
    last, row = None, 0
    while True:
        good = await once(probe, target)
        row = row + 1 if good is last else 1
        last = good
        needed = probe.get("successThreshold") or SUCCESS_THRESHOLD
        if not good:
            needed = probe.get("failureThreshold") or FAILURE_THRESHOLD
        if row >= needed and verdict is not good:
            verdict = good
            changed(good)
        await asyncio.sleep(probe.get("periodSeconds") or PERIOD_S)


async def first_success(probe: Mapping[str, Any], target: Target, failed: Callable[[], None]) -> None:
    """Probe until the container answers well; `failed` is called when it has failed too often."""
    reached = asyncio.Event()
    watching = asyncio.create_task(watch(probe, target, lambda good: reached.set() if good else failed()))
    try:
        await reached.wait()
    finally:
        watching.cancel()


async def once(probe: Mapping[str, Any], target: Target) -> bool:
    """Whether the container answers as the probe wants it. A probe of a kind not known here succeeds."""
    try:
        async with asyncio.timeout(probe.get("timeoutSeconds") or TIMEOUT_S):
            if "httpGet" in probe:
                return await _http(probe["httpGet"], target)
            if "tcpSocket" in probe or "grpc" in probe:
                endpoint = probe.get("tcpSocket") or probe["grpc"]
                _, writer = await asyncio.open_connection(
                    endpoint.get("host") or target.address, _port(endpoint, target)
                )
                writer.close()
                return True
            if "exec" in probe:
                return await target.execute(probe["exec"].get("command") or []) == 0
            return True
    except (OSError, TimeoutError, aiohttp.ClientError):
        return False


async def _http(get: Mapping[str, Any], target: Target) -> bool:
    host = get.get("host") or target.address
    host = f"[{host}]" if ":" in host else host
    url = f"{get.get('scheme', 'HTTP').lower()}://{host}:{_port(get, target)}{get.get('path') or '/'}"
    headers = {header["name"]: header["value"] for header in get.get("httpHeaders") or ()}
    async with (
        aiohttp.ClientSession(headers={"User-Agent": "kube-probe/1.36", **headers}) as session,
        session.get(url, ssl=False, allow_redirects=False) as response,
    ):
        return 200 <= response.status < 400


def _port(endpoint: Mapping[str, Any], target: Target) -> int:
    """The port by number or by the container's name for it; raises OSError for a name nobody has."""
    port = endpoint["port"]
    if isinstance(port, int):
        return port
    if port in target.ports:
        return target.ports[port]
    raise OSError(f'no port is named "{port}"')
