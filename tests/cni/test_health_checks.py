"""healthCheckNodePort: what a load balancer is told of this node's endpoints."""

import asyncio
import socket

import aiohttp

from cni.health_checks import Check, HealthChecks
from cni.service_table import HERE, Here
from cni.services import wire
from ovnk.incremental.desired import Delta
from ovnk.incremental.graph import Graph
from ovnk.kube.service_objects import Endpoint
from tests.builders import endpoint_slice, service


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def told(session, port):
    async with session.get(f"http://127.0.0.1:{port}/healthz") as answer:
        return answer.status, answer.headers["X-Load-Balancing-Endpoint-Weight"], await answer.json()


def test_a_pod_with_two_addresses_is_one_endpoint():
    given = service("web", "10.96.0.10", "fd00::10", external_local=True, health_check_node_port=30090)
    slices = [
        endpoint_slice(f"web-{address}", Endpoint(address, node="node-1")) for address in ("10.244.1.3", "fd00::3")
    ]
    (check,) = compiled(given, *slices)
    assert (check.asked_at(4), check.asked_at(6)) == (1, 1)
    (single,) = compiled(service(external_local=True, health_check_node_port=30090), *slices)
    assert (single.asked_at(4), single.asked_at(6)) == (1, 1)


def compiled(*values):
    graph = Graph(check=True)
    checks = wire(graph).checks
    graph.tables[Here].put(HERE, Here("node-1", ("10.244.0.0/16",), ("10.96.0.0/16",)))
    for value in values:
        graph.tables[type(value)].put(value.key, value)
    graph.settle()
    return list(checks)


def test_answers_as_kube_proxy_does():
    async def run():
        port = free_port()
        some, none = (Check(port, "shop", "web", "u", ((4, count), (6, 7))) for count in (2, 0))
        checks = HealthChecks(lambda: True)
        await checks.apply(Delta(frozenset({some})))
        async with aiohttp.ClientSession() as session:
            first = await told(session, port)
            await checks.apply(Delta(frozenset({none}), frozenset({some})))
            second = await told(session, port)
        await checks.apply(Delta(removed=frozenset({none})))
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
        return first, second

    first, second = asyncio.run(run())
    service = {"namespace": "shop", "name": "web"}
    assert first == (200, "2", {"service": service, "localEndpoints": 2, "serviceProxyHealthy": True})
    assert second == (503, "0", {"service": service, "localEndpoints": 0, "serviceProxyHealthy": True})


def test_port_of_another_process_is_left_to_it_told_and_tried_again():
    async def run():
        checks = HealthChecks(lambda: True)
        with socket.create_server(("", 0)) as other:
            port = other.getsockname()[1]
            await checks.apply(Delta(frozenset({Check(port, "shop", "web", "u", ((4, 1),))})))
            (notice,) = checks.notices("n1")
        await checks.apply(Delta())
        async with aiohttp.ClientSession() as session:
            answer = await told(session, port)
        await checks.close()
        return notice, answer, [*checks.notices("n1")]

    notice, answer, left = asyncio.run(run())
    assert (notice.kind, notice.key, notice.reason) == ("Service", "shop/web", "HealthCheckPortInUse")
    assert "in use" in notice.message
    assert (answer[0], left) == (200, [])
