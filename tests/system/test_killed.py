"""Daemons killed with -9 under running pods: who leads, what stays connected, and that nothing leaks."""

import random
import signal
import time
from collections.abc import Iterator

import pytest

from ovnk.lab import control
from tests.labs import Lab, running_lab
from tests.system import northbound, probes, workloads

pytestmark = pytest.mark.system

SEED = 20261125
ROUNDS = 12


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with running_lab(3, ["--controllers=2"]) as running:
        yield running


def kill_for_good(lab: Lab, daemon: str) -> None:
    """kill -9, without a restart; a frozen process cannot heed the SIGTERM that comes first."""
    lab.kill(daemon, signal.SIGSTOP)
    control.ask(lab.state.control_socket, do="hold", daemon=daemon)
    lab.kill(daemon, signal.SIGKILL)
    lab.wait_until(lambda: lab.daemons()[daemon]["process"] is None, f"{daemon} gone")


def leader(lab: Lab) -> str:
    lease = lab.get("lease", "ovnk-controller", "--namespace=kube-system")
    return str(lease["spec"]["holderIdentity"])


def metric(lab: Lab, controller: str, name: str) -> float:
    """A counter or gauge of a controller's /metrics, 0 where it is not there."""
    port = 10256 if controller == "controller" else 10257
    text = lab.exec("central", "curl", "-sf", f"http://127.0.0.1:{port}/metrics").stdout
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.split("{")[0].split(" ")[0] == name)


def test_a_standby_writes_nothing_and_takes_over_when_the_leader_is_killed(lab: Lab) -> None:
    lab.apply([workloads.server(f"first-{node}", node) for node in lab.nodes])
    lab.wait_ready([f"default/first-{node}" for node in lab.nodes])
    first = leader(lab)
    (standby,) = {"controller", "controller-2"} - {first}
    before = northbound.uuids(lab)
    assert metric(lab, first, "ovnk_northbound_operations_total") > 0
    assert metric(lab, standby, "ovnk_northbound_operations_total") == 0
    assert metric(lab, standby, "ovnk_nodenetwork_writes_total") == 0

    kill_for_good(lab, first)
    began = time.monotonic()
    lab.apply(workloads.server("after", "n1"))
    pods = lab.wait_ready(["default/after"])
    print(f"a new pod was Ready {time.monotonic() - began:.1f} s after its leader's end")

    assert leader(lab) == standby
    there = northbound.uuids(lab)
    assert {name: there.get(name) for name in before} == before
    answers = probes.ask(lab, ["default/first-n2"], {name: workloads.addresses(pod) for name, pod in pods.items()})
    assert not probes.failed(answers)
    lab.release(first)


@pytest.mark.parametrize("daemon", ["n2/agent", "n2/ovn-controller", "n2/ovsdb-server", "n2/ovs-vswitchd"])
def test_pods_stay_connected_when_a_daemon_of_their_node_is_killed(lab: Lab, daemon: str) -> None:
    """A TCP connection that is open all the while goes on; ovs-vswitchd's end is the only one that packets feel."""
    lab.apply([workloads.server("left", "n1"), workloads.server("right", "n2")])
    pods = lab.wait_ready(["default/left", "default/right"])
    address = workloads.addresses(pods["default/right"])[0]
    client = lab.popen("default/left", workloads.PYTHON, "-uc", _TALK, address, str(workloads.PORT))
    assert client.stdout is not None
    assert client.stdout.readline() == "connected\n"
    try:
        lab.restart(daemon, signal.SIGKILL)
        for _ in range(30):
            assert client.stdout.readline() == "answered\n"
    finally:
        client.kill()
        client.wait()
    own = {name: workloads.addresses(pod) for name, pod in pods.items()}
    lab.wait_until(lambda: not probes.failed(probes.ask(lab, list(own), own)), "both to reach each other")


_TALK = """
import http.client, sys, time
connection = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=60)
connection.connect()
sock = connection.sock
print("connected")
while True:
    connection.request("GET", "/")
    connection.getresponse().read()
    assert connection.sock is sock, "the connection was broken"
    print("answered")
    time.sleep(0.05)
"""


def test_nothing_leaks_when_everything_is_killed_in_a_run_of_churn(lab: Lab) -> None:
    chance = random.Random(SEED)
    victims = ["controller", "controller-2", "northd", "northbound"]
    victims += [f"{node}/{daemon}" for node in lab.nodes for daemon in ("agent", "ovn-controller")]
    names = [f"churn-{number}" for number in range(24)]
    wanted: set[str] = set()
    for _ in range(ROUNDS):
        if gone := chance.sample(sorted(wanted), len(wanted) // 3):
            lab.kubectl("delete", "pods", "--ignore-not-found", "--wait=false", *gone)
        there = {name.partition("/")[2] for name in lab.pods()}
        new = chance.sample([name for name in names if name not in there], 4)
        lab.apply([workloads.server(name, chance.choice(lab.nodes)) for name in new])
        wanted = {name.partition("/")[2] for name in lab.pods() if name.startswith("default/churn")}
        victim = chance.choice(victims)
        if lab.daemons()[victim]["process"]:
            lab.kill(victim)
    for victim in victims:
        lab.wait_until(lambda victim=victim: lab.daemons()[victim]["process"], f"{victim} up")
    pods = lab.wait_ready(lab.pods().keys(), timeout=60)

    addresses = [address for pod in pods.values() for address in workloads.addresses(pod)]
    assert len(set(addresses)) == len(addresses)
    cidrs = ["10.244.0.0/16"], ["10.96.0.0/16"]
    lab.wait_until(lambda: northbound.actual(lab) == northbound.wanted(lab, *cidrs), "the northbound as it should be")
    for node in lab.nodes:
        living = {name for name, pod in pods.items() if pod["spec"]["nodeName"] == node} | {f"node:{node}"}
        lab.wait_until(
            lambda node=node, living=living: northbound.interface_ids(lab, node) == living,
            f"{node}'s ports to be {living}",
        )
    targets = {name: workloads.addresses(pod) for name, pod in pods.items()}
    lab.wait_until(lambda: not probes.failed(probes.ask(lab, targets, targets)), "everybody to reach everybody")
