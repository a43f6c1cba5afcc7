"""Session affinity through its time, with real packets: by ClusterIP, which OVN balances, and by node ports.

One endpoint from the very first packet on, for as long as the client comes again within the Service's own time; after
that it may be another, and so it is now and then.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from tests.labs import Lab
from tests.system import workloads
from tests.system.services import PORT, Heard, ask, cluster_ip, established, node_address, node_port, service

pytestmark = pytest.mark.system

REPLICAS = 6
# The shorter time, and how long after it OVS and the kernel have forgotten at the latest.
TIME_S, FORGOTTEN_S = 4, 2
# With six endpoints a client that chooses anew gets the same so often once in 1,600,000 runs.
ROUNDS = 9


@dataclass(frozen=True, slots=True)
class Client:
    """Where it is, and what it asks: the ClusterIP, or a node's address at the node port."""

    place: str
    to: str
    version: int
    protocol: str


CLIENTS = [
    *(
        Client(place, "cluster", version, protocol)
        for place in ("client", "node/n1")
        for version in (4, 6)
        for protocol in ("TCP", "UDP")
    ),
    *(Client("outside", "n1", version, protocol) for version in (4, 6) for protocol in ("TCP", "UDP")),
    Client("node/n2", "n2", 4, "TCP"),
    Client("client", "n3", 6, "UDP"),
]


@dataclass(frozen=True, slots=True)
class Shop:
    """The lab and the namespace in it, with Services "short" and "long" over the same endpoints."""

    lab: Lab
    space: str

    def ask(self, client: Client, name: str, times: int = 1, pause: float = 0.0) -> list[Heard]:
        place = f"{self.space}/client" if client.place == "client" else client.place
        address, port = cluster_ip(self.lab, name, self.space, client.version), PORT
        if client.to != "cluster":
            port = node_port(self.lab, name, self.space, client.protocol)
            address = node_address(self.lab, client.to, client.version)
        return ask(self.lab, place, address, client.protocol, times, pause, port)


@pytest.fixture
def shop(dual_stack: Lab, space: str) -> Shop:
    lab = dual_stack
    times = {"short": TIME_S, "long": 3600}
    lab.apply(
        [
            workloads.deployment("web", REPLICAS, space),
            workloads.server("client", "n2", space=space),
            *(
                service(
                    name,
                    space,
                    {"app": "web"},
                    type="NodePort",
                    sessionAffinity="ClientIP",
                    sessionAffinityConfig={"clientIP": {"timeoutSeconds": seconds}},
                )
                for name, seconds in times.items()
            ),
        ]
    )
    lab.wait_ready([f"{space}/client"])
    ready = lab.wait_ready("app=web", count=REPLICAS)
    addresses = {ip for pod in ready.values() for ip in workloads.addresses(pod)}
    for name in times:
        for protocol in ("tcp", "udp"):
            established(lab, name, space, addresses, protocol)
    return Shop(lab, space)


def each(do: Callable[[Client], Any]) -> dict[Client, Any]:
    """What comes of all clients, several at a time."""
    with ThreadPoolExecutor(len(CLIENTS)) as several:
        return dict(zip(CLIENTS, several.map(do, CLIENTS), strict=True))


def test_affinity_lasts_its_time_and_no_longer(shop: Shop) -> None:
    def kept(client: Client) -> tuple[str, str]:
        """The endpoints it has in both services: asked at once, and for longer than the time with pauses within it."""
        long, short = shop.ask(client, "long", times=8), shop.ask(client, "short", times=7, pause=TIME_S / 4)
        found = [[answer.pod or answer.error for answer in answers] for answers in (short, long)]
        assert all(len(set(pods)) == 1 for pods in found), (client, found)
        return found[0][0], found[1][0]

    def left(client: Client) -> str:
        """The endpoint that it has at last, after its time."""
        first = kept_by[client][0]
        for _ in range(ROUNDS):
            # The client waits after it has asked.
            (heard,) = shop.ask(client, "short", pause=TIME_S + FORGOTTEN_S)
            if heard.pod != first:
                return heard.pod
        return first

    kept_by = each(kept)
    left_for = each(left)
    assert not [client for client, other in left_for.items() if other == kept_by[client][0]]
    assert {other.partition("/")[0] for other in left_for.values()} == {shop.space}
    again = each(lambda client: {answer.pod for answer in shop.ask(client, "long", times=3)})
    assert again == {client: {long} for client, (_, long) in kept_by.items()}


def test_an_endpoint_that_goes_leaves_its_clients_to_another(shop: Shop) -> None:
    def kept(client: Client) -> set[str]:
        return {answer.pod or answer.error for answer in shop.ask(client, "long", times=4)}

    before = each(kept)
    gone = min(before[CLIENTS[0]])
    shop.lab.delete("pod", gone.partition("/")[2], f"--namespace={shop.space}")
    ready = shop.lab.wait_ready("app=web", count=REPLICAS)
    addresses = {ip for pod in ready.values() for ip in workloads.addresses(pod)}
    for protocol in ("tcp", "udp"):
        established(shop.lab, "long", shop.space, addresses, protocol)
    after = each(kept)
    assert all(len(pods) == 1 for pods in (*before.values(), *after.values())), (before, after)
    for client in CLIENTS:
        assert gone not in after[client]
        assert after[client] == before[client] or before[client] == {gone}, client
