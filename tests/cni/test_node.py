"""The agent's hold on its node: what it sets up, what it puts back, and what survives restarts."""

import json
import signal
import time

import msgspec
import pytest

from cni import protocol
from ovnk.contract import Management, SubnetRange
from tests.cni import world

pytestmark = pytest.mark.system


def routes(node, protocol="111"):
    """destination → (gateway or "", source or "") of the routes through ovnk0 that are ours."""
    found = {}
    for family in ("-4", "-6"):
        for route in json.loads(node.inside("ip", "-j", family, "route", "show", "dev", "ovnk0", "proto", protocol)):
            found[route["dst"]] = (route.get("gateway", ""), route.get("prefsrc", ""))
    return found


GATEWAY_4, GATEWAY_6 = "10.244.1.1", "fd00:10:244:1::1"
NODE_4, NODE_6 = "192.168.100.1", "fd00:192:168:100::1"
ROUTES_4 = {
    "10.244.1.0/24": ("", NODE_4),
    "10.244.0.0/16": (GATEWAY_4, NODE_4),
    "10.96.0.0/16": (GATEWAY_4, ""),
}
ROUTES_6 = {
    "fd00:10:244:1::/64": ("", NODE_6),
    "fd00:10:244::/48": (GATEWAY_6, NODE_6),
    "fd00:10:96::/112": (GATEWAY_6, ""),
}
ROUTES = ROUTES_4 | ROUTES_6


def addresses(node):
    entry = json.loads(node.inside("ip", "-j", "address", "show", "dev", "ovnk0", check=False) or "[{}]")[0]
    return {f"{one['local']}/{one['prefixlen']}" for one in entry.get("addr_info", ()) if one["scope"] == "global"}


ADDRESSES = {"10.244.1.2/24", "fd00:10:244:1::2/64"}


def settled(node):
    """No route of the kernel's own beside ours either: it would bring another source address."""
    of_kernel = {destination for destination in routes(node, "kernel") if not destination.startswith("fe80")}
    return routes(node) == ROUTES and addresses(node) == ADDRESSES and not of_kernel


def test_node_is_set_up_as_its_node_network_says(node):
    node.wait_ready()
    assert settled(node)
    external_ids = json.loads(node.vsctl("--format=json", "--columns=external_ids", "list", "Open_vSwitch"))
    values = dict(external_ids["data"][0][0][1])
    assert values["system-id"] == values["hostname"] == "node-1"
    assert values["ovn-encap-ip"] == "192.168.100.1"
    assert values["ovn-encap-type"] == "geneve"
    assert values["ovn-bridge-datapath-type"] == node.vsctl("get", "Bridge", "br-int", "datapath_type").strip()
    assert node.vsctl("get", "Bridge", "br-int", "fail_mode").strip() == "secure"
    port = json.loads(node.inside("ip", "-j", "link", "show", "dev", "ovnk0"))[0]
    assert (port["mtu"], port["address"]) == (1442, "0a:58:0a:f4:01:02")
    assert node.vsctl("get", "Interface", "ovnk0", "external_ids:iface-id").strip() == '"node:node-1"'
    assert node.inside("sysctl", "-n", "net.ipv4.ip_forward", "net.ipv4.conf.ovnk0.rp_filter") == "1\n2\n"
    assert "tx-checksumming: off" in node.inside("ethtool", "-k", "ovnk0")
    assert "masquerade" in node.inside("nft", "list", "table", "inet", "ovnk")


@pytest.mark.parametrize(
    "damage",
    [
        ("ip", "address", "flush", "dev", "ovnk0"),
        ("ip", "address", "del", "10.244.1.2/24", "dev", "ovnk0"),
        ("ip", "route", "del", "10.96.0.0/16"),
        ("ip", "link", "set", "ovnk0", "down"),
        # As a kernel makes it that is not told otherwise: with a route of its own.
        ("sh", "-c", "ip address del 10.244.1.2/24 dev ovnk0; ip address add 10.244.1.2/24 dev ovnk0"),
        ("ip", "route", "replace", "10.244.0.0/16", "via", GATEWAY_4, "proto", "111"),
    ],
)
def test_what_somebody_takes_off_ovnk0_is_put_back(node, damage):
    node.wait_ready()
    node.inside(*damage)
    world.until(lambda: settled(node), f"{damage} is mended")


@pytest.mark.parametrize(
    "damage",
    [
        "delete table inet ovnk",
        "delete table arp ovnk",
        "flush chain inet ovnk postrouting",
        "flush ruleset",
    ],
)
def test_rules_that_somebody_deletes_are_put_back(node, damage):
    node.wait_ready()
    before = node.inside("nft", "list", "ruleset")
    # As soon as they are there again, too: nobody waits until the agent has taken breath.
    for _ in range(5):
        node.inside("nft", damage)
        world.until(lambda: node.inside("nft", "list", "ruleset") == before, f"{damage} is mended")


@pytest.mark.parametrize(
    "damage",
    [
        ("set", "Open_vSwitch", ".", "external_ids:system-id=random"),
        ("remove", "Open_vSwitch", ".", "external_ids", "ovn-remote"),
        ("clear", "Bridge", "br-int", "fail_mode"),
        ("del-port", "ovnk0"),
    ],
)
def test_what_somebody_changes_in_ovsdb_is_put_back(node, damage):
    """ovs-ctl, for one, writes a system-id of its own at each start."""
    node.wait_ready()

    def seen():
        external_ids = node.vsctl("get", "Open_vSwitch", ".", "external_ids")
        management = node.vsctl("--if-exists", "get", "Interface", "ovnk0", "external_ids:iface-id")
        return external_ids, node.vsctl("get", "Bridge", "br-int", "fail_mode"), management

    before = seen()
    node.vsctl(*damage)
    world.until(lambda: seen() == before, f"{damage} is mended")
    world.until(lambda: settled(node), "the kernel's side is as before")


def test_routes_have_a_source_as_soon_as_the_node_has_the_address(fresh):
    """The cluster may know the node by an address that it does not have yet, or that is another machine's."""
    fresh.flows()
    fresh.start_agent(world.spec(), addresses=["192.168.100.77"])
    fresh.wait_ready()
    assert {source for _, source in routes(fresh).values()} == {""}
    fresh.inside("ip", "address", "add", "192.168.100.77/32", "dev", "lo")
    world.until(lambda: routes(fresh)["10.244.0.0/16"] == (GATEWAY_4, "192.168.100.77"), "the routes follow")
    fresh.inside("ip", "address", "del", "192.168.100.77/32", "dev", "lo")
    world.until(lambda: routes(fresh).get("10.244.0.0/16") == (GATEWAY_4, ""), "the routes follow")


def test_a_changed_node_network_changes_the_node(fresh):
    fresh.flows()
    fresh.start_agent(world.spec())
    fresh.wait_ready()
    fresh.tell(world.spec(service_cidrs=("10.97.0.0/16",)))
    wanted = {key: route for key, route in ROUTES.items() if "96" not in key} | {"10.97.0.0/16": (GATEWAY_4, "")}
    world.until(lambda: routes(fresh) == wanted, "the routes follow")
    world.until(lambda: "10.97.0.0/16" in fresh.inside("nft", "list", "table", "inet", "ovnk"), "the rules follow")


def test_ipv6_only_node_and_pod(fresh):
    fresh.flows()
    pod = msgspec.structs.replace(world.allocation(0), ips=("fd00:10:244:1::3",))
    fresh.start_agent(
        world.spec(
            pod,
            subnets=(SubnetRange("default", "fd00:10:244:1::/64", "fd00:10:244:1::1"),),
            management=Management(("fd00:10:244:1::2/64",), "0a:58:0a:f4:01:02"),
            cluster_cidrs=("fd00:10:244::/48",),
            service_cidrs=("fd00:10:96::/112",),
        )
    )
    fresh.wait_ready()
    netns = fresh.pod_namespace()
    code, result = fresh.call("ADD", "c0", 0, netns=netns)
    assert code == 0, result
    assert [ip["address"] for ip in result["ips"]] == ["fd00:10:244:1::3/64"]
    assert [route["dst"] for route in result["routes"]] == ["::/0"]
    assert fresh.call("CHECK", "c0", 0, netns=netns, config={"prevResult": result}) == (0, None)
    assert routes(fresh) == ROUTES_6
    assert "ip saddr" not in fresh.inside("nft", "list", "ruleset")


def test_foreign_settings_stay(fresh):
    """Routes on ovnk0, tables, external_ids that are not ours; and a probe interval that the operator has chosen."""
    fresh.vsctl("set", "Open_vSwitch", ".", "external_ids:theirs=1", "external_ids:ovn-remote-probe-interval=7")
    fresh.inside("nft", "add table inet theirs")
    fresh.flows()
    fresh.start_agent(world.spec())
    fresh.wait_ready()
    fresh.inside("ip", "route", "add", "10.50.0.0/16", "via", "10.244.1.1", "dev", "ovnk0")
    fresh.tell(world.spec(service_cidrs=("10.97.0.0/16",)))
    world.until(lambda: "10.97.0.0/16" in routes(fresh), "the routes follow")
    assert "10.50.0.0/16" in fresh.inside("ip", "route", "show", "dev", "ovnk0")
    assert "inet theirs" in fresh.inside("nft", "list", "tables")
    assert fresh.vsctl("get", "Open_vSwitch", ".", "external_ids:theirs").strip() == '"1"'
    assert fresh.vsctl("get", "Open_vSwitch", ".", "external_ids:ovn-remote-probe-interval").strip() == '"7"'


def test_agent_that_comes_back_writes_nothing(node):
    """Neither to OVSDB nor to the kernel, but for the rules: one transaction of nftables replaces them by the same."""
    node.wait_ready()
    # The last that is written when a node is set up: how its flows are kept.
    world.until(lambda: "wait-before-clear" in node.vsctl("get", "Open_vSwitch", ".", "external_ids"), "all is written")
    netns = node.pod_namespace()
    _, result = node.call("ADD", "survivor", 3, netns=netns)
    database = (node.folder / "conf.db").read_bytes()
    log = len(node.agent_log())
    node.kill("agent")
    node.start_agent(world.spec(*(world.allocation(number) for number in range(32))))
    assert node.call("CHECK", "survivor", 3, netns=netns, config={"prevResult": result}) == (0, None)
    world.until(lambda: node.call("STATUS", "", version="1.1.0")[0] == 0, "the node is ready again")
    assert node.call("ADD", "survivor", 3, netns=netns) == (0, result)
    # OVSDB's file is a journal: the columns that ovs-vswitchd refreshes are not in it, what the agent writes is.
    assert (node.folder / "conf.db").read_bytes() == database
    lines = [json.loads(line) for line in node.agent_log()[log:].splitlines()]
    assert [line["change"] for line in lines if "change" in line] == ["rules"]
    assert node.call("DEL", "survivor", 3, netns=netns) == (0, None)


def test_ports_survive_a_restart_of_ovs_vswitchd(fresh):
    """ovnk0 is a new device then, without addresses: the agent gives them back."""
    fresh.flows()
    fresh.start_agent(world.spec(world.allocation(0)))
    fresh.wait_ready()
    netns = fresh.pod_namespace()
    _, result = fresh.call("ADD", "survivor", 0, netns=netns)
    fresh.kill("ovs-vswitchd", signal.SIGTERM)
    fresh.start_vswitchd()
    world.until(lambda: settled(fresh), "ovnk0 has its addresses and routes again")
    assert "tx-checksumming: off" in fresh.inside("ethtool", "-k", "ovnk0")
    assert fresh.call("CHECK", "survivor", 0, netns=netns, config={"prevResult": result}) == (0, None)
    assert fresh.call("DEL", "survivor", 0, netns=netns) == (0, None)


def test_agent_survives_a_restart_of_ovsdb_server(fresh):
    fresh.start_agent(world.spec(world.allocation(0), world.allocation(1)))
    with world.Flows(fresh.folder / "db.sock"):
        fresh.wait_ready()
        _, result = fresh.call("ADD", "before", 0, netns=fresh.pod_namespace())
    fresh.kill("ovsdb-server")
    (fresh.folder / "db.sock").unlink()
    assert fresh.call("STATUS", "", version="1.1.0")[1]["code"] == protocol.NOT_AVAILABLE
    fresh.start_ovsdb()
    with world.Flows(fresh.folder / "db.sock"):
        code, answer = fresh.call("ADD", "after", 1, netns=fresh.pod_namespace())
        assert code == 0, answer
        assert result["interfaces"][0]["name"] in fresh.interfaces()
        assert fresh.call("DEL", "before") == (0, None)
        assert fresh.call("DEL", "after") == (0, None)
    assert fresh.interfaces() == {}


def test_port_whose_pod_and_namespace_are_gone_is_swept(fresh):
    """Neither alone is enough: a live pod's port is never removed."""
    fresh.flows()
    both = (world.allocation(0), world.allocation(1), world.allocation(2))
    fresh.start_agent(world.spec(*both))
    fresh.wait_ready()
    names = {}
    spaces = {}
    for number in range(3):
        spaces[number] = fresh.pod_namespace()
        _, result = fresh.call("ADD", f"c{number}", number, netns=spaces[number])
        names[number] = result["interfaces"][0]["name"]
    fresh.remove_namespace(spaces[0])
    fresh.remove_namespace(spaces[1])
    fresh.tell(world.spec(world.allocation(1)))
    world.until(lambda: names[0] not in fresh.interfaces(), "the port of pod 0 is swept")
    assert set(fresh.interfaces()) == {names[1], names[2]}


def test_pod_neither_reaches_the_host_past_the_bridge_nor_is_answered_by_it(fresh):
    """Userspace datapath: the kernel sees what comes off a veth too, and must not take part."""
    fresh.flows()
    fresh.start_agent(world.spec(world.allocation(0)))
    fresh.wait_ready()
    netns = fresh.pod_namespace()
    _, result = fresh.call("ADD", "c0", 0, netns=netns)
    host = json.loads(fresh.inside("ip", "-j", "link", "show", "dev", result["interfaces"][0]["name"]))[0]["address"]
    inside = ["nsenter", f"--net={netns}"]
    asked = world.run(*inside, "ping", "-c1", "-W1", "10.244.1.2", check=False)
    assert "1 received" not in asked
    neighbours = world.run(*inside, "ip", "neighbour", "show", "10.244.1.2")
    assert host not in neighbours
    world.run(*inside, "ip", "neighbour", "replace", "10.244.1.2", "lladdr", host, "dev", "eth0")
    assert "1 received" not in world.run(*inside, "ping", "-c1", "-W1", "10.244.1.2", check=False)


def test_another_agents_socket_is_taken_over_without_a_gap(fresh):
    """The socket's file is replaced by rename, for root alone."""
    fresh.start_agent(world.spec())
    assert fresh.socket.stat().st_mode & 0o777 == 0o600
    fresh.kill("agent")
    fresh.start_agent(world.spec())
    assert fresh.socket.stat().st_mode & 0o777 == 0o600


def test_nothing_polls_an_idle_node(fresh):
    """Once it has nothing to do, no thread of the agent is woken for a whole second."""
    fresh.flows()
    fresh.start_agent(world.spec(world.allocation(0)))
    fresh.wait_ready()
    tasks = world.Path(f"/proc/{fresh.processes['agent'].pid}/task")

    def switches():
        texts = [(task / "status").read_text() for task in tasks.iterdir()]
        return sum(int(text.split("\nvoluntary_ctxt_switches:")[1].split()[0]) for text in texts)

    def idle():
        before = switches()
        time.sleep(1)
        return switches() == before

    world.until(idle, "the agent is idle")
