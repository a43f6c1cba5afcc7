"""Our flows beside those from which OVN learns a client's endpoint: what they are, and that a bridge keeps them."""

import pytest

from cni.affinity import Flows
from tests.cni import world

MATCH = "ct_state=+new+trk,tcp,reg1=0xa60004d,reg2=0x50/0xffff,reg9=0/0x40,metadata=0x1,nw_dst=10.244.1.3,tp_dst=8080"
LEARNED = (
    "OXM_OF_METADATA[],eth_type=0x800,NXM_OF_IP_SRC[],ip_dst=10.96.0.77,nw_proto=6,tcp_dst=80,"
    "load:0x1->NXM_NX_REG10[14],load:0xaf40103->NXM_NX_REG4[],load:0x1f90->NXM_NX_REG8[0..15]"
)
THEIRS = f"learn(table=78,idle_timeout=5,delete_learned,{LEARNED})"
OURS = (
    "push:NXM_OF_TCP_SRC[],pop:NXM_OF_TCP_SRC[],"
    f"learn(table=78,cookie=0xceeb3985,idle_timeout=5,delete_learned,{LEARNED}),resubmit(,22)"
)


def event(what, cookie="0xceeb3985", match=MATCH, actions=THEIRS):
    """As ovs-ofctl 3.1 prints it, of flows that ovn-controller 23.03 makes."""
    return f" event={what} table=21 cookie={cookie} {match} actions={actions}"


def commands(flows):
    return flows.commands().splitlines()


def test_a_flow_that_ends_by_learning_gets_one_beside_it_that_goes_on():
    flows = Flows()
    flows.take("NXST_FLOW_MONITOR reply (xid=0x6):")
    flows.take(event("ADDED"))
    *unknown, ours = commands(flows)
    assert ours == f"add cookie=0x6f766e6bceeb3985,table=21,priority=200,{MATCH},actions={OURS}"
    assert {line.partition("priority=")[2] for line in unknown} == {
        f"1,{protocol}{version},actions=push:{port}[],pop:{port}[]"
        for protocol, port in (("tcp", "NXM_OF_TCP_SRC"), ("udp", "NXM_OF_UDP_SRC"), ("sctp", "OXM_OF_SCTP_SRC"))
        for version in ("", "6")
    }
    assert all("table=78," in line for line in unknown)


def test_what_is_there_is_left_alone_after_a_restart_too():
    flows = Flows()
    flows.take(event("ADDED"))
    flows.take(event("ADDED", "0x6f766e6bceeb3985", actions=OURS))
    assert commands(flows) == []


def test_our_flow_goes_with_the_one_it_is_beside():
    flows = Flows()
    flows.take(event("ADDED"))
    flows.take(event("ADDED", "0x6f766e6bceeb3985", actions=OURS))
    flows.take(event("DELETED reason=delete"))
    assert commands(flows) == [f"delete_strict cookie=0x6f766e6bceeb3985/-1,table=21,priority=200,{MATCH}"]
    flows.take(event("DELETED reason=delete", "0x6f766e6bceeb3985", actions=OURS))
    assert commands(flows) == []


def test_our_flow_is_put_back_where_ovn_controller_cleared_the_bridge():
    flows = Flows()
    flows.take(event("ADDED"))
    flows.take(event("ADDED", "0x6f766e6bceeb3985", actions=OURS))
    flows.take(event("DELETED reason=delete", "0x6f766e6bceeb3985", actions=OURS))
    assert len(commands(flows)) == 7


def test_a_cookie_that_ovn_gives_what_is_learned_stays():
    flows = Flows()
    flows.take(event("ADDED", actions=f"learn(table=78,delete_learned,cookie=0x3674,{LEARNED})"))
    assert f",learn(table=78,delete_learned,cookie=0x3674,{LEARNED}),resubmit(,22)" in flows.commands()


@pytest.mark.parametrize(
    "actions",
    [
        "drop",
        "resubmit(,22)",
        f"{THEIRS},resubmit(,22)",
        f"load:0x1->NXM_NX_REG10[7],{THEIRS}",
    ],
)
def test_a_flow_that_does_anything_else_is_left_alone(actions):
    flows = Flows()
    flows.take(event("ADDED", actions=actions))
    assert commands(flows) == []


def test_a_flow_that_becomes_another_takes_ours_along():
    flows = Flows()
    flows.take(event("ADDED"))
    flows.take(event("ADDED", "0x6f766e6bceeb3985", actions=OURS))
    flows.take(event("MODIFIED", actions=f"{THEIRS},resubmit(,22)"))
    assert [line.split()[0] for line in commands(flows)] == ["delete_strict"]


@pytest.mark.system
def test_the_agent_keeps_our_flows_beside_theirs(tmp_path):
    """Added, cleared as by a starting ovn-controller, lost with the daemon, and gone with theirs."""
    made = world.World(tmp_path)
    bridge = f"unix:{made.folder}/br-int.mgmt"
    theirs = f"cookie=0xceeb3985,table=21,priority=100,{MATCH},actions={THEIRS}"

    def ofctl(*command):
        return world.run("ovs-ofctl", *command, check=False)

    def until(count, what):
        mine = "cookie=0x6f766e6bceeb3985/-1"
        world.until(lambda: ofctl("--no-stats", "dump-flows", bridge, mine).count("learn(") == count, what)

    try:
        made.start_agent(world.spec())
        world.until(lambda: ofctl("show", bridge), "the bridge is there")
        ofctl("add-flow", bridge, theirs)
        until(1, "our flow is there")
        assert ofctl("dump-flows", bridge, "table=78").count("push") == 6
        ofctl("del-flows", bridge)
        ofctl("add-flow", bridge, theirs)
        until(1, "our flow is there again")
        made.kill("ovs-vswitchd")
        made.start_vswitchd()
        world.until(lambda: ofctl("show", bridge), "the bridge is there again")
        ofctl("add-flow", bridge, theirs)
        until(1, "our flow is on the new bridge")
        ofctl("--strict", "del-flows", bridge, f"table=21,priority=100,{MATCH}")
        until(0, "our flow went with theirs")
    finally:
        made.close()
