"""Pods come and go while daemons and plug-ins are killed with -9 at random moments: in the end nothing has leaked."""

import random
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.labs import Lab, running_lab
from tests.system import northbound, probes, workloads

pytestmark = pytest.mark.system

SEED = 20261125
ROUNDS = 12
# Rounds in which plug-ins are killed for certain while they work: they wait for an agent that is frozen.
AMONG_PLUG_INS = (3, 6, 9)
NAMES = [f"churn-{number}" for number in range(24)]
CIDRS = ["10.244.0.0/16"], ["10.96.0.0/16"]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with running_lab(3, ["--controllers=2"]) as running:
        yield running


class Churn:
    """Pods of a lab that are deleted and made in turns; `chance` chooses which and where."""

    def __init__(self, lab: Lab, chance: random.Random) -> None:
        self._lab, self._chance = lab, chance
        self._wanted: list[str] = []

    def turn(self) -> None:
        """Delete a third of the pods, and make four of names that are free."""
        if gone := self._chance.sample(self._wanted, len(self._wanted) // 3):
            self._lab.kubectl("delete", "pods", "--ignore-not-found", "--wait=false", *gone)
        there = {name.partition("/")[2] for name in self._lab.pods()}
        new = self._chance.sample([name for name in NAMES if name not in there], 4)
        self._lab.apply([workloads.server(name, self._chance.choice(self._lab.nodes)) for name in new])
        self._wanted = sorted({*self._wanted, *new} - {*gone})


# Prints the CNI command of each plug-in that runs in the lab; with an argument it kills it before.
_PLUG_INS = """
import os, pathlib, signal, sys
for folder in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        if b"/run/cni/bin/ovnk" not in (folder / "cmdline").read_bytes().split(b"\\0"):
            continue
        variables = dict(one.split(b"=", 1) for one in (folder / "environ").read_bytes().split(b"\\0") if one)
        if sys.argv[1:]:
            os.kill(int(folder.name), signal.SIGKILL)
        print(variables[b"CNI_COMMAND"].decode())
    except (FileNotFoundError, ProcessLookupError):
        pass  # it has just ended
"""


def plug_ins(lab: Lab, *kill: str) -> Counter[str]:
    """How many plug-ins run, by CNI command; killed, if anything is given for `kill`."""
    return Counter(lab.exec("central", workloads.PYTHON, "-c", _PLUG_INS, *kill).stdout.split())


def kill_plug_ins(lab: Lab, churn: Churn) -> Counter[str]:
    """kill -9 of every plug-in in the middle of its ADD or DEL, some of either; how many of each."""
    with lab.frozen(*(f"{node}/agent" for node in lab.nodes)):
        churn.turn()
        lab.wait_until(lambda: {"ADD", "DEL"} <= plug_ins(lab).keys(), "plug-ins to wait for the agents")
        return plug_ins(lab, "kill")


def test_nothing_leaks_when_everything_is_killed_in_a_run_of_churn(lab: Lab) -> None:
    chance = random.Random(SEED)
    victims = ["controller", "controller-2", "northd", "northbound"]
    of_nodes = ("agent", "ovn-controller", "ovs-vswitchd", "ovsdb-server")
    victims += [f"{node}/{daemon}" for node in lab.nodes for daemon in of_nodes]
    churn, killed = Churn(lab, chance), Counter[str]()
    for number in range(ROUNDS):
        if number in AMONG_PLUG_INS:
            killed += kill_plug_ins(lab, churn)
            continue
        churn.turn()
        victim = chance.choice(victims)
        if lab.daemons()[victim]["process"]:
            lab.kill(victim)
    for victim in victims:
        lab.wait_until(lambda victim=victim: lab.daemons()[victim]["process"], f"{victim} up")
    pods = lab.wait_ready(lab.pods().keys(), timeout=90)

    print(f"plug-ins killed: {dict(killed)}")
    assert killed["ADD"] >= len(AMONG_PLUG_INS)
    assert killed["DEL"] >= len(AMONG_PLUG_INS)
    addresses = [address for pod in pods.values() for address in workloads.addresses(pod)]
    assert len(set(addresses)) == len(addresses)
    lab.wait_until(lambda: northbound.actual(lab) == northbound.wanted(lab, *CIDRS), "the northbound as compiled")
    for node in lab.nodes:
        living = {name for name, pod in pods.items() if pod["spec"]["nodeName"] == node} | {f"node:{node}"}
        lab.wait_until(
            lambda node=node, living=living: northbound.interface_ids(lab, node) == living,
            f"{node}'s ports to be {living}",
        )
        links = lab.exec(f"node/{node}", "ip", "-oneline", "link").stdout
        assert links.count("ovnkp") == len(living) - 1, links
    targets = {name: workloads.addresses(pod) for name, pod in pods.items()}
    lab.wait_until(lambda: not probes.failed(probes.ask(lab, targets, targets)), "everybody to reach everybody")
