"""The northbound's file is deleted under running pods: it comes back with the same UUIDs and everybody talks again.

Three orders of events, two of them made certain by freezing who shall be later. Packets are lost only where northd sees
the empty database before the controller has filled it again: it then deletes all logical flows. As it comes the
controller is first: it tries again after some 10 ms, northd after a second.
"""

import subprocess
from collections.abc import Callable, Iterator

import pytest

from ovnk.lab import databases
from tests.labs import Lab, running_lab
from tests.system import northbound, pings, probes, workloads

pytestmark = [pytest.mark.system, pytest.mark.alone]

PODS = ["default/a", "default/b", "default/c"]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with running_lab(3) as running:
        running.apply([workloads.server(name[-1], node) for name, node in zip(PODS, running.nodes, strict=True)])
        running.wait_ready(PODS)
        yield running


def lose(lab: Lab) -> None:
    """kill -9 of the server, its file replaced by an empty database, the server started again."""
    lab.kill_for_good("northbound")
    file = lab.state.folder / "databases" / "northbound.db"
    file.unlink()
    databases.create(file, databases.NORTHBOUND_SCHEMA)
    lab.northbound_socket.unlink(missing_ok=True)
    lab.release("northbound")
    lab.wait_until(lambda: answers(lab), "the northbound's server")


def answers(lab: Lab) -> bool:
    command = ["ovsdb-client", "--timeout=2", "list-dbs", f"unix:{lab.northbound_socket}"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def is_up(lab: Lab, pod: str) -> bool:
    """Whether northd has written so, which it does after it has written the southbound."""
    return northbound.row(lab, "Logical_Switch_Port", pod)["up"] is True


def southbound_ports(lab: Lab) -> set[str]:
    """The UUIDs of the southbound's Port_Bindings: new ones where northd has deleted them in between."""
    rows = northbound.select(lab.southbound_socket, "OVN_Southbound", "Port_Binding")["Port_Binding"]
    return {row["_uuid"][1] for row in rows}


def lose_while_northd_is_later(lab: Lab, before: dict[tuple[str, str], str]) -> None:
    with lab.frozen("northd"):
        lose(lab)
        lab.wait_until(lambda: northbound.uuids(lab) == before, "the northbound as it was")


def lose_while_the_controller_is_later(lab: Lab, before: dict[tuple[str, str], str]) -> None:
    with lab.frozen("controller"):
        lose(lab)
        # northd makes the one row of NB_Global when it meets an empty database, and then deletes all logical flows.
        lab.wait_until(
            lambda: not northbound.select(lab.southbound_socket, "OVN_Southbound", "Logical_Flow")["Logical_Flow"],
            "northd to have emptied the southbound",
        )
    lab.wait_until(lambda: northbound.uuids(lab) == before, "the northbound as it was")


def lose_as_it_comes(lab: Lab, before: dict[tuple[str, str], str]) -> None:
    lose(lab)
    lab.wait_until(lambda: northbound.uuids(lab) == before, "the northbound as it was")


@pytest.mark.parametrize(
    ("losing", "loses_packets"),
    [(lose_while_northd_is_later, False), (lose_while_the_controller_is_later, True), (lose_as_it_comes, False)],
    ids=["northd later", "controller later", "as it comes"],
)
def test_a_lost_northbound_comes_back_with_its_uuids(
    lab: Lab,
    record_property: Callable[[str, object], None],
    losing: Callable[[Lab, dict[tuple[str, str], str]], None],
    loses_packets: bool,
) -> None:
    before, bindings = northbound.uuids(lab), southbound_ports(lab)
    address = workloads.addresses(lab.pods()[PODS[2]])[0]

    with pings.pinging(lab, PODS[0], address) as answered:
        losing(lab, before)
        lab.wait_until(lambda: all(is_up(lab, pod) for pod in PODS), "northd to have read it")
        targets = {name: workloads.addresses(pod) for name, pod in lab.pods().items()}
        lab.wait_until(lambda: not probes.failed(probes.ask(lab, PODS, targets)), "everybody to reach everybody")

    record_property("pings lost", answered.lost)
    print(f"{answered.lost} pings lost, {pings.A_SECOND} a second")
    assert northbound.uuids(lab) == before
    assert loses_packets or (answered.lost <= pings.LONE and southbound_ports(lab) == bindings)
    cidrs = ["10.244.0.0/16"], ["10.96.0.0/16"]
    lab.wait_until(lambda: northbound.actual(lab) == northbound.wanted(lab, *cidrs), "the northbound as it should be")
