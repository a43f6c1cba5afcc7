"""ADDs that come all at once, are killed, meet an agent that goes or comes, or wait in vain."""

import json
import signal

import pytest

from cni import protocol
from tests.cni import world

pytestmark = pytest.mark.system


def test_two_hundred_adds_at_once(fresh):
    fresh.flows()
    fresh.start_agent(world.spec(*(world.allocation(number) for number in range(200))))
    fresh.wait_ready()
    namespaces = fresh.pod_namespaces(200)

    def at_once(command):
        calls = [fresh.spawn(command, f"c{number}", number, netns=netns) for number, netns in enumerate(namespaces)]
        outputs = [call.communicate(timeout=60)[0] for call in calls]
        assert [call.returncode for call in calls] == [0] * 200, outputs
        return outputs

    results = [json.loads(output) for output in at_once("ADD")]
    assert len({result["ips"][0]["address"] for result in results}) == 200
    assert {result["interfaces"][0]["name"] for result in results} == set(fresh.interfaces())
    at_once("DEL")
    assert fresh.interfaces() == {}
    assert "ovnkp" not in fresh.inside("ip", "link")


def test_add_killed_while_it_waits_for_flows_leaves_nothing(fresh):
    fresh.start_agent(world.spec(world.allocation(0)))
    netns = fresh.pod_namespace()
    waiting = fresh.spawn("ADD", "killed", 0, netns=netns)
    world.until(fresh.interfaces, "the port is there")
    waiting.kill()
    waiting.communicate()
    world.until(lambda: not fresh.interfaces(), "the port is taken off")
    world.until(lambda: "ovnkp" not in fresh.inside("ip", "link"), "the pair is removed")
    assert fresh.call("DEL", "killed", 0, netns=netns) == (0, None)


def test_agent_killed_while_it_adds_leaves_what_del_removes(fresh):
    fresh.start_agent(world.spec(world.allocation(0)))
    fresh.impatient()
    waiting = fresh.spawn("ADD", "orphan", 0, netns=fresh.pod_namespace())
    world.until(fresh.interfaces, "the port is there")
    fresh.kill("agent")
    output, _ = waiting.communicate(timeout=30)
    assert json.loads(output)["code"] == protocol.TRY_AGAIN_LATER
    assert fresh.call("DEL", "orphan")[1]["code"] == protocol.TRY_AGAIN_LATER
    fresh.start_agent(world.spec(world.allocation(0)))
    world.until(lambda: fresh.call("DEL", "orphan")[0] == 0, "DEL succeeds once the agent is back")
    assert fresh.interfaces() == {}
    assert "ovnkp" not in fresh.inside("ip", "link")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_add_outlives_a_restart_of_the_agent(fresh, number):
    """The plug-in asks the next agent for the same, which finishes what was begun or begins anew."""
    fresh.start_agent(world.spec(world.allocation(0)))
    netns = fresh.pod_namespace()
    waiting = fresh.spawn("ADD", "patient", 0, netns=netns)
    world.until(fresh.interfaces, "the port is there")
    fresh.kill("agent", number)
    fresh.flows()
    fresh.start_agent(world.spec(world.allocation(0)))
    output, _ = waiting.communicate(timeout=30)
    assert waiting.returncode == 0, output
    assert fresh.call("CHECK", "patient", 0, netns=netns, config={"prevResult": json.loads(output)}) == (0, None)


def test_agent_that_is_stopped_undoes_what_waits_and_exits_cleanly(fresh):
    fresh.start_agent(world.spec(world.allocation(0)))
    fresh.impatient()
    waiting = fresh.spawn("ADD", "waiting", 0, netns=fresh.pod_namespace())
    world.until(fresh.interfaces, "the port is there")
    assert fresh.kill("agent", signal.SIGTERM) == 0
    output, _ = waiting.communicate(timeout=30)
    assert json.loads(output)["code"] == protocol.TRY_AGAIN_LATER
    assert fresh.interfaces() == {}


@pytest.mark.parametrize(
    ("pods", "said"),
    [
        ((), ["shop/web-0", "kubectl describe pod -n shop web-0", "kubectl get nodenetwork node-1"]),
        ((world.allocation(0, uid="another"),), ["uid-0", "another", "kubectl get nodenetwork node-1"]),
    ],
)
def test_add_without_an_allocation_ends_with_words_to_act_on(fresh, pods, said):
    fresh.start_agent(world.spec(*pods), add_timeout_s=0.3)
    world.until(lambda: "ovnk0" in fresh.inside("ip", "link"), "the node is set up")
    code, answer = fresh.call("ADD", "late", 0, netns=fresh.pod_namespace())
    assert (code, answer["code"]) == (1, protocol.TRY_AGAIN_LATER)
    told = f"{answer['msg']}; {answer['details']}"
    assert all(word in told for word in said), told


def test_node_without_a_node_network_is_not_ready_and_says_why(fresh):
    fresh.start_agent(None, add_timeout_s=0.3)
    code, answer = fresh.call("STATUS", "", version="1.1.0")
    assert (code, answer["code"]) == (1, protocol.NOT_AVAILABLE)
    world.until(lambda: "NodeNetwork" in fresh.call("STATUS", "", version="1.1.0")[1]["details"], "it says why")
    assert "NodeNetwork" in str(fresh.call("ADD", "early", 0, netns=fresh.pod_namespace())[1])
    assert not (fresh.folder / "net.d").exists()


def test_port_without_flows_ends_with_words_to_act_on(fresh):
    fresh.start_agent(world.spec(world.allocation(0)), add_timeout_s=1)
    world.until(lambda: "ovnk0" in fresh.inside("ip", "link"), "the node is set up")
    code, answer = fresh.call("ADD", "late", 0, netns=fresh.pod_namespace())
    assert (code, answer["code"]) == (1, protocol.TRY_AGAIN_LATER)
    assert "ovn-controller" in answer["msg"]
    assert fresh.interfaces() == {}
    assert not (fresh.folder / "net.d").exists()
