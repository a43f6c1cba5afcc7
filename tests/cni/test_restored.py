"""Ports that somebody takes off the bridge, alone, with the bridge or with the whole database, while their pods run."""

import json

import pytest

from tests.cni import world

pytestmark = pytest.mark.system

PODS = 3


@pytest.fixture
def pods(fresh):
    """A node with an agent and three pods: ADD's result by sandbox, and their namespaces."""
    fresh.flows()
    fresh.start_agent(world.spec(*(world.allocation(number) for number in range(PODS))))
    fresh.wait_ready()
    made = {}
    for number in range(PODS):
        netns = fresh.pod_namespace()
        code, result = fresh.call("ADD", f"c{number}", number, netns=netns)
        assert code == 0, result
        made[f"c{number}"] = (number, netns, result)
    return made


def connected(node):
    """The records of the ports that are on the bridge and have flows."""
    if "br-int" not in node.vsctl("list-br").split():
        return {}
    there = set(node.vsctl("list-ports", "br-int").split())
    found = {name: ids for name, ids in node.interfaces().items() if name in there and "ovn-installed" in ids}
    return found if "ovnk0" in there else {}


def port(node):
    """What the first pod's port is called."""
    return next(name for name, ids in node.interfaces().items() if ids["ovnk-container-id"] == "c0")


def lose_a_port(node):
    node.vsctl("del-port", port(node))


def lose_the_bridge(node):
    node.vsctl("del-br", "br-int")


def lose_the_database(node):
    node.kill("ovsdb-server")
    (node.folder / "db.sock").unlink()
    (node.folder / "conf.db").unlink()
    world.run("ovsdb-tool", "create", str(node.folder / "conf.db"), world.SCHEMA)
    node.start_ovsdb()
    node.vsctl("--no-wait", "init")
    node.flows()


@pytest.mark.parametrize("lose", [lose_a_port, lose_the_bridge, lose_the_database], ids=lambda one: one.__name__)
def test_ports_that_are_lost_are_put_back_while_their_pods_run(fresh, pods, lose):
    before = connected(fresh)
    assert len(before) == PODS

    lose(fresh)

    world.until(lambda: connected(fresh) == before, "all ports are on the bridge as they were")
    world.until(lambda: fresh.call("STATUS", "", version="1.1.0")[0] == 0, "the node is ready again")
    for sandbox, (number, netns, result) in pods.items():
        assert fresh.call("CHECK", sandbox, number, netns=netns, config={"prevResult": result}) == (0, None)
        assert fresh.call("DEL", sandbox, number, netns=netns) == (0, None)
    assert fresh.interfaces() == {}
    assert "ovnkp" not in fresh.inside("ip", "link")


def test_a_lost_port_whose_pod_has_gone_meanwhile_is_not_put_back(fresh, pods):
    lost = port(fresh)
    _, netns, _ = pods["c0"]
    fresh.remove_namespace(netns)
    world.until(lambda: lost not in fresh.inside("ip", "link"), "its link went with its namespace")

    fresh.vsctl("del-br", "br-int")

    world.until(lambda: len(connected(fresh)) == PODS - 1, "the ports of the others are on the bridge")
    assert lost not in fresh.interfaces()
    assert fresh.call("DEL", "c0") == (0, None)


def test_a_port_that_is_deleted_in_due_course_does_not_come_back(fresh, pods):
    assert fresh.call("DEL", "c0") == (0, None)
    fresh.vsctl("del-br", "br-int")
    world.until(lambda: len(connected(fresh)) == PODS - 1, "the ports of the others are on the bridge")
    said = [json.loads(line) for line in fresh.agent_log().splitlines()]
    assert len([line for line in said if line["event"].startswith("put back a pod's port")]) == PODS - 1
