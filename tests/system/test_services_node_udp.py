"""UDP clients that never change their port, and what they are told when the endpoint they have goes or one comes.

Connection tracking alone would lead them to where it led their first packet, for ever: the host's for what the node
translates, OVN's for what OVN does.
"""

from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.labs import Lab
from tests.system import workloads
from tests.system.services import Asking, cluster_ip, established, node_address, node_port, service

pytestmark = pytest.mark.system


@dataclass(frozen=True, slots=True)
class Way:
    """From where, to which Service and by which of its addresses: its ClusterIP, or a node's with the node port."""

    place: str
    service: str
    to: str


WAYS = [
    Way("client", "any", "cluster"),
    Way("client", "any", "n3"),
    Way("node/n1", "any", "cluster"),
    Way("node/n2", "any", "n2"),
    Way("outside", "any", "n1"),
    Way("outside", "near", "n1"),
    Way("node/n3", "near", "n1"),
    Way("outside", "affine", "n1"),
]


@pytest.fixture
def made(dual_stack: Lab, space: str) -> list[str]:
    """The Services, two endpoints on n1 and a client; the endpoints' names."""
    lab = dual_stack
    servers = [workloads.server(f"web-{number}", "n1", space=space, app="web") for number in (1, 2)]
    kinds = {"any": {}, "near": {"externalTrafficPolicy": "Local"}, "affine": {"sessionAffinity": "ClientIP"}}
    lab.apply(
        [
            *(service(name, space, {"app": "web"}, type="NodePort", **more) for name, more in kinds.items()),
            workloads.server("client", "n2", space=space),
            *servers,
        ]
    )
    ready = lab.wait_ready([f"{space}/{name}" for name in ("client", "web-1", "web-2")])
    names = [f"{space}/web-{number}" for number in (1, 2)]
    addresses = {ip for name in names for ip in workloads.addresses(ready[name])}
    for kind in kinds:
        established(lab, kind, space, addresses, "udp")
    return names


def asking(lab: Lab, space: str, way: Way, version: int) -> Asking:
    place = f"{space}/{way.place}" if way.place == "client" else way.place
    if way.to == "cluster":
        return Asking(lab, place, cluster_ip(lab, way.service, space, version), "UDP", one_port=True)
    number = node_port(lab, way.service, space, "UDP")
    address = node_address(lab, way.to, version)
    return Asking(lab, place, address, "UDP", port=number, one_port=True)


@pytest.mark.parametrize("version", [4, 6])
def test_long_lived_udp_clients_move_to_an_endpoint_that_lives(
    dual_stack: Lab, space: str, made: list[str], version: int
) -> None:
    """Both endpoints go and come one after the other, so that whichever a client has goes once."""
    lab = dual_stack
    with ExitStack() as several:
        clients = {way: several.enter_context(asking(lab, space, way, version)) for way in WAYS}
        for way, client in clients.items():
            client.until(lambda answer: answer.pod in made, f"an answer to {way}")
        for gone, left in (made, reversed(made)):
            lab.delete("pod", gone.partition("/")[2], f"--namespace={space}")
            for way, client in clients.items():
                client.until(lambda answer, left=left: answer.pod == left, f"{left} to {way}")
            lab.apply(workloads.server(gone.partition("/")[2], "n1", space=space, app="web"))
            lab.wait_ready([gone])


@pytest.mark.parametrize("version", [4, 6])
def test_udp_clients_that_came_before_the_service_are_served(dual_stack: Lab, space: str, version: int) -> None:
    """They were refused, or answered by nobody; what was tracked of it is no reason to go on so."""
    lab = dual_stack
    lab.apply([service("late", space, {"app": "late"}, type="NodePort"), workloads.server("client", "n2", space=space)])
    lab.wait_ready([f"{space}/client"])
    ways = [Way("outside", "late", "n1"), Way("node/n1", "late", "n1"), Way("client", "late", "n1")]
    with ExitStack() as several:
        clients = {way: several.enter_context(asking(lab, space, way, version)) for way in ways}
        for client in clients.values():
            assert all(answer.error for answer in client.more(3))
        lab.apply(workloads.server("late", "n1", space=space, app="late"))
        for way, client in clients.items():
            client.until(lambda answer: answer.pod == f"{space}/late", f"an answer to {way}")
