"""Services while their clients go on asking: endpoints leave, agents and Open vSwitch are restarted (R03, R04, R10)."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.labs import Lab
from tests.system import servers, workloads
from tests.system.services import Asking, Heard, ask, cluster_ip, established, service

pytestmark = pytest.mark.system

SPACE = "load"


@dataclass
class Shop:
    """The Service "web" with an endpoint on n1 and on n2, on node ports too, and a client pod on n1."""

    lab: Lab
    ip: str
    node_port: int
    node_address: str

    @contextlib.contextmanager
    def asked(self, *places: str) -> Iterator[list[Asking]]:
        """Clients that go on asking: pods and nodes the ClusterIP, who is outside n1's node port."""
        with contextlib.ExitStack() as exits:
            clients = []
            for place in places:
                address, port = (self.node_address, self.node_port) if place == "outside" else (self.ip, 80)
                clients.append(exits.enter_context(Asking(self.lab, place, address, port=port)))
            for client in clients:
                client.more(5)
            yield clients


@pytest.fixture(scope="module")
def shop(zoned: Lab) -> Iterator[Shop]:
    lab = zoned
    pods = [workloads.server(f"web-{node}", node, space=SPACE, app="web") for node in ("n1", "n2")]
    client = workloads.server("client", "n1", space=SPACE)
    lab.apply([workloads.namespace(SPACE), *pods, client, service("web", SPACE, {"app": "web"}, type="NodePort")])
    ready = lab.wait_ready([f"{SPACE}/{pod['metadata']['name']}" for pod in (*pods, client)])
    established(
        lab, "web", SPACE, {ip for key, pod in ready.items() if "web" in key for ip in workloads.addresses(pod)}
    )
    found = lab.get("service", "web", f"--namespace={SPACE}")
    addresses = lab.get("node", "n1")["status"]["addresses"]
    node = next(one["address"] for one in addresses if one["type"] == "InternalIP" and "." in one["address"])
    yield Shop(lab, cluster_ip(lab, "web", SPACE, 4), found["spec"]["ports"][0]["nodePort"], node)
    lab.delete("namespace", SPACE)


def test_r10_requests_are_spread_over_the_endpoints(shop: Shop) -> None:
    heard = ask(shop.lab, f"{SPACE}/client", shop.ip, times=300)
    counts = Counter(answer.pod for answer in heard)
    # Each by the hash of its ports: a fair coin thrown 300 times is so far from 150 once in millions.
    assert len(counts) == 2
    assert all(105 < count < 195 for count in counts.values()), counts


@pytest.mark.parametrize("daemon", ["n1/agent", "n1/ovn-controller", "controller"])
def test_a_daemon_restarts_and_no_request_fails(shop: Shop, daemon: str) -> None:
    """What they have set up stays while they are away."""
    with shop.asked(f"{SPACE}/client", "node/n1", "outside") as clients:
        shop.lab.restart(daemon)
        for client in clients:
            client.more(60)
    for client in clients:
        assert not [answer.error for answer in client.heard if answer.error]


def test_open_vswitch_restarts_and_service_comes_back(shop: Shop) -> None:
    """Its userspace datapath forwards nothing while it is away, and every connection is new to it after."""
    with shop.asked(f"{SPACE}/client", "outside") as clients:
        shop.lab.restart("n1/ovs-vswitchd")
        for client in clients:
            in_a_row: list[str] = []

            def steady(answer: Heard, in_a_row: list[str] = in_a_row) -> bool:
                in_a_row.append(answer.pod) if answer.pod else in_a_row.clear()
                return len(in_a_row) == 60

            client.until(steady, "answers without a gap", timeout=60)
            assert set(in_a_row) == {f"{SPACE}/web-n1", f"{SPACE}/web-n2"}


def test_endpoints_that_drain_leave_and_no_request_fails(shop: Shop) -> None:
    """From three to one, and then the last: while it is terminating and serves, it is still asked (KEP-1669)."""
    lab = shop.lab
    probe = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    server = workloads.script("server", servers.DRAINING, readinessProbe=probe, ports=[{"containerPort": 8080}])
    pods = [workloads.pod(f"drain-{node}", [server], node, SPACE, app="drain") for node in lab.nodes]
    for pod in pods:
        pod["spec"]["terminationGracePeriodSeconds"] = 10
    lab.apply([*pods, service("drain", SPACE, {"app": "drain"})])
    ready = lab.wait_ready([f"{SPACE}/{pod['metadata']['name']}" for pod in pods])
    established(lab, "drain", SPACE, {ip for pod in ready.values() for ip in workloads.addresses(pod)})
    with Asking(lab, f"{SPACE}/client", cluster_ip(lab, "drain", SPACE, 4), pause=0.01) as client:
        client.more(10)
        lab.delete("pod", "drain-n1", "drain-n2", f"--namespace={SPACE}", "--wait=false")
        established(lab, "drain", SPACE, set(workloads.addresses(ready[f"{SPACE}/drain-n3"])))
        assert {answer.pod for answer in client.more(20)} == {"drain-n3"}
        lab.delete("pod", "drain-n3", f"--namespace={SPACE}", "--wait=false")

        def terminating() -> bool:
            slices = lab.get("endpointslices", f"--namespace={SPACE}", "-lkubernetes.io/service-name=drain")["items"]
            conditions = [one["conditions"] for each in slices for one in each.get("endpoints") or ()]
            return bool(conditions) and all(one["terminating"] and not one["ready"] for one in conditions)

        lab.wait_until(terminating, "the last endpoint terminating")
        client.more(30)
        assert not [answer.error for answer in client.heard if answer.error]
        client.until(lambda answer: "Refused" in answer.error, "its end")
