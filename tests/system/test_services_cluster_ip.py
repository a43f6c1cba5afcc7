"""ClusterIPs with real packets: from every place a client can be, by each family and protocol (R03, R10)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.labs import Lab
from tests.system import workloads
from tests.system.services import Asking, ask, cluster_ip, established, service

pytestmark = pytest.mark.system

SPACE = "svc"


@dataclass
class Shop:
    """A server on each node behind the Service "web", a client pod, and Services of other kinds in front of them."""

    lab: Lab
    servers: dict[str, dict[str, Any]]

    def ip(self, name: str, version: int) -> str:
        return cluster_ip(self.lab, name, SPACE, version)

    def on(self, node: str) -> str:
        """The server on a node."""
        return next(name for name, pod in self.servers.items() if pod["spec"]["nodeName"] == node)

    def addresses(self) -> set[str]:
        return {address for pod in self.servers.values() for address in workloads.addresses(pod)}


@pytest.fixture(scope="module")
def shop(dual_stack: Lab) -> Iterator[Shop]:
    lab = dual_stack
    pods = [workloads.server(f"web-{node}", node, space=SPACE, app="web") for node in lab.nodes]
    client = workloads.server("client", lab.nodes[0], space=SPACE)
    host = workloads.server("host", lab.nodes[1], port=8080, space=SPACE, host_network=True, app="host")
    web = {"app": "web"}
    lab.apply(
        [
            workloads.namespace(SPACE),
            *pods,
            client,
            host,
            service("web", SPACE, web),
            service("empty", SPACE, {"app": "nobody"}),
            service("host", SPACE, {"app": "host"}),
            service("local", SPACE, {"app": "host-or-none", "at": "n1"}, internalTrafficPolicy="Local"),
            service(
                "sticky",
                SPACE,
                web,
                sessionAffinity="ClientIP",
                sessionAffinityConfig={"clientIP": {"timeoutSeconds": 60}},
            ),
        ]
    )
    ready = lab.wait_ready([f"{SPACE}/{pod['metadata']['name']}" for pod in (*pods, client, host)])
    found = Shop(lab, {name: pod for name, pod in ready.items() if "web" in name})
    for name in ("web", "sticky"):
        established(lab, name, SPACE, found.addresses())
    established(lab, "host", SPACE, set(workloads.addresses(ready[f"{SPACE}/host"])))
    yield found
    lab.delete("namespace", SPACE)


@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    "place", [f"{SPACE}/client", f"{SPACE}/web-n2", "node/n1", "node/n3"], ids=["pod", "backend", "node", "other node"]
)
def test_r03_every_client_reaches_every_endpoint(shop: Shop, place: str, version: int, protocol: str) -> None:
    """The backend reaches itself too: it then sees the vip as its client, everybody else their own address."""
    answers = ask(shop.lab, place, shop.ip("web", version), protocol, times=40)
    assert not [answer.error for answer in answers if answer.error]
    assert {answer.pod for answer in answers} == set(shop.servers)
    seen = {answer.seen for answer in answers if answer.pod != place}
    if place.startswith("node/"):
        assert len(seen) == 1
    else:
        asker = shop.lab.pods()[place]
        assert seen == {workloads.of_family(asker, version)}


@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
@pytest.mark.parametrize("version", [4, 6])
def test_r03_an_endpoint_on_a_node_is_reached(shop: Shop, version: int, protocol: str) -> None:
    for place in (f"{SPACE}/client", f"{SPACE}/web-n2", "node/n3"):
        answers = ask(shop.lab, place, shop.ip("host", version), protocol, times=3)
        assert {answer.pod for answer in answers} == {f"{SPACE}/host"}, answers


@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("place", [f"{SPACE}/client", "node/n2"])
def test_r03_without_an_endpoint_clients_are_refused_at_once(
    shop: Shop, place: str, version: int, protocol: str
) -> None:
    answers = ask(shop.lab, place, shop.ip("empty", version), protocol, times=3)
    assert {answer.error.partition(":")[0] for answer in answers} == {"ConnectionRefusedError"}


@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
@pytest.mark.parametrize("version", [4, 6])
def test_r03_affinity_keeps_each_client_with_one_endpoint(shop: Shop, version: int, protocol: str) -> None:
    """From its very first packet on."""
    address = shop.ip("sticky", version)
    for place in (f"{SPACE}/client", f"{SPACE}/web-n2", "node/n3"):
        answers = ask(shop.lab, place, address, protocol, times=30)
        assert not [answer.error for answer in answers if answer.error]
        assert len({answer.pod for answer in answers}) == 1, answers


def test_r03_a_local_service_keeps_to_the_clients_node(shop: Shop) -> None:
    """The node that has the endpoint is served; the others are refused, until the endpoint comes to them."""
    address = shop.ip("local", 4)
    for node in ("n1", "n2"):
        pod = workloads.server("only", node, space=SPACE, app="host-or-none", at="n1")
        shop.lab.apply(pod)
        shop.lab.wait_ready(f"{SPACE}/only")
        with Asking(shop.lab, shop.on(node), address) as near:
            near.until(lambda answer: answer.pod == f"{SPACE}/only", "the endpoint")
            assert {answer.pod for answer in near.more(10)} == {f"{SPACE}/only"}
        for other in set(shop.lab.nodes) - {node}:
            heard = ask(shop.lab, shop.on(other), address, times=3)
            assert all("ConnectionRefused" in answer.error for answer in heard), heard
        shop.lab.delete("pod", "only", f"--namespace={SPACE}")


@pytest.mark.parametrize("version", [4, 6])
def test_r03_a_long_lived_udp_client_moves_to_an_endpoint_that_lives(shop: Shop, version: int) -> None:
    """It never changes its port, so conntrack alone would lead it to the endpoint that is gone, for ever."""
    name = f"udp-{version}"
    pods = [workloads.server(f"{name}-{node}", node, space=SPACE, app=name) for node in ("n2", "n3")]
    shop.lab.apply([service(name, SPACE, {"app": name}), *pods])
    ready = shop.lab.wait_ready([f"{SPACE}/{pod['metadata']['name']}" for pod in pods])
    established(shop.lab, name, SPACE, {ip for pod in ready.values() for ip in workloads.addresses(pod)}, "udp")
    with Asking(shop.lab, f"{SPACE}/client", shop.ip(name, version), "UDP", one_port=True) as client:
        first = client.until(lambda answer: answer.pod, "an answer").pod
        assert {answer.pod for answer in client.more(20)} == {first}
        shop.lab.delete("pod", first.partition("/")[2], f"--namespace={SPACE}")
        second = client.until(lambda answer: answer.pod not in ("", first), "another endpoint").pod
    assert second in ready
    shop.lab.delete("service", name, f"--namespace={SPACE}")
