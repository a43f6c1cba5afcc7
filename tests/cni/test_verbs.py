"""The plug-in's commands on a real node: real Open vSwitch, real namespaces, the plug-in as a process.

Requirements R16 to R18 at this level: one pod, one interface, the CNI contract.
"""

import itertools
import json
import signal
import subprocess

import pytest

from cni import attachment, protocol
from tests.cni import world

pytestmark = pytest.mark.system

numbers = itertools.count()


@pytest.fixture
def pod(node):
    """(number, sandbox, namespace) of a pod of its own."""
    number = next(numbers) % 32
    netns = node.pod_namespace()
    sandbox = f"sandbox-{number}-{next(numbers)}"
    yield number, sandbox, netns
    node.call("DEL", sandbox, number)


def links(path):
    """name → `ip -j address` entry, in a pod's namespace."""
    entries = json.loads(world.run("nsenter", f"--net={path}", "ip", "-j", "address"))
    return {entry["ifname"]: entry for entry in entries}


def addresses(entry):
    return [f"{one['local']}/{one['prefixlen']}" for one in entry["addr_info"] if one["scope"] == "global"]


def default_routes(path):
    found = []
    for family in ("-4", "-6"):
        found += json.loads(world.run("nsenter", f"--net={path}", "ip", "-j", family, "route", "show", "default"))
    return [route["gateway"] for route in found]


@pytest.mark.parametrize("version", protocol.VERSIONS)
def test_r18_add_check_and_del_in_every_version(node, pod, version):
    number, sandbox, netns = pod
    code, result = node.call("ADD", sandbox, number, version, netns=netns)
    assert code == 0, result
    assert result["cniVersion"] == version
    if version != "0.3.1":
        assert node.call("CHECK", sandbox, number, version, netns=netns, config={"prevResult": result}) == (0, None)
    assert node.call("DEL", sandbox, number, version, netns=netns, config={"prevResult": result}) == (0, None)
    assert list(links(netns)) == ["lo"]
    assert not [ids for ids in node.interfaces().values() if ids["ovnk-container-id"] == sandbox]


def test_r17_result_namespace_and_port_agree(node, pod):
    """One primary address a family on eth0, the same in the result, in the kernel and on the port."""
    number, sandbox, netns = pod
    allocated = world.allocation(number)
    _, result = node.call("ADD", sandbox, number, netns=netns)
    expected = [f"{allocated.ips[0]}/24", f"{allocated.ips[1]}/64"]
    assert [ip["address"] for ip in result["ips"]] == expected
    inside = links(netns)
    assert addresses(inside["eth0"]) == expected
    assert inside["eth0"]["address"] == result["interfaces"][1]["mac"] == allocated.mac
    assert inside["eth0"]["mtu"] == 1500 - 58
    assert default_routes(netns) == ["10.244.1.1", "fd00:10:244:1::1"]
    port = node.interfaces()[result["interfaces"][0]["name"]]
    assert (port["iface-id"], port["iface-id-ver"]) == (f"shop/web-{number}", f"uid-{number}")
    assert port["attached-mac"] == allocated.mac
    assert port["ovnk-ips"].split() == expected


def test_r16_two_processes_of_a_pod_share_its_address_and_ports(node, pod):
    number, sandbox, netns = pod
    node.call("ADD", sandbox, number, netns=netns)
    address = world.allocation(number).ips[0]
    program = f"import socket; s=socket.socket(); s.bind(('{address}', 8080)); print('bound', flush=True); input()"
    command = ["nsenter", f"--net={netns}", "python3", "-c", program]
    first = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert first.stdout.readline() == b"bound\n"
    second = subprocess.run(command, input=b"\n", capture_output=True, check=False, timeout=30)
    assert b"Address already in use" in second.stderr
    first.communicate(b"\n")


def test_interface_is_ready_at_once(node, pod):
    """lo is up, no address is tentative, router advertisements are refused, checksums are filled in by the kernel."""
    number, sandbox, netns = pod
    node.call("ADD", sandbox, number, netns=netns)
    inside = links(netns)
    assert "UP" in inside["lo"]["flags"]
    assert "UP" in inside["eth0"]["flags"]
    assert not [one for one in inside["eth0"]["addr_info"] if one["scope"] == "global" and one.get("tentative")]
    assert world.run("nsenter", f"--net={netns}", "cat", "/proc/sys/net/ipv6/conf/eth0/accept_ra") == "0\n"
    features = world.run("nsenter", f"--net={netns}", "ethtool", "-k", "eth0")
    assert "tx-checksumming: off" in features


def test_host_side_takes_no_part_in_the_pods_link(node, pod):
    number, sandbox, netns = pod
    _, result = node.call("ADD", sandbox, number, netns=netns)
    name = result["interfaces"][0]["name"]
    assert "inet" not in node.inside("ip", "address", "show", "dev", name)


def test_add_twice_gives_the_same_result_and_the_same_port(node, pod):
    number, sandbox, netns = pod
    first = node.call("ADD", sandbox, number, netns=netns)
    before = node.vsctl("--columns=_uuid", "find", "Interface", f"external_ids:ovnk-container-id={sandbox}")
    assert node.call("ADD", sandbox, number, netns=netns) == first
    assert node.vsctl("--columns=_uuid", "find", "Interface", f"external_ids:ovnk-container-id={sandbox}") == before


def test_add_twice_mends_what_was_broken_in_between(node, pod):
    number, sandbox, netns = pod
    first = node.call("ADD", sandbox, number, netns=netns)
    world.run("nsenter", f"--net={netns}", "ip", "link", "del", "eth0")
    assert node.call("ADD", sandbox, number, netns=netns) == first
    assert addresses(links(netns)["eth0"]) == [ip["address"] for ip in first[1]["ips"]]


def test_two_interfaces_of_one_sandbox_have_two_ports(node, pod):
    """Not that Kubernetes asks for it; the specification's key is (container, interface)."""
    assert attachment.host_interface("abc", "eth0") != attachment.host_interface("abc", "net1")


def test_leftover_of_an_earlier_try_is_replaced(node, pod):
    """The agent was killed between the veth pair and the port."""
    number, sandbox, netns = pod
    leftover = attachment.host_interface(sandbox, "eth0")
    pair = ["ip", "link", "add", leftover, "type", "veth", "peer", "name", "eth0", "netns", netns.rsplit("/", 1)[1]]
    node.inside(*pair)
    code, result = node.call("ADD", sandbox, number, netns=netns)
    assert code == 0, result
    assert result["interfaces"][0]["name"] == leftover


def test_leftover_of_another_try_under_another_name_is_replaced(node, pod):
    number, sandbox, netns = pod
    name = netns.rsplit("/", 1)[1]
    node.inside("ip", "link", "add", "ovnkpother", "type", "veth", "peer", "name", "eth0", "netns", name)
    assert node.call("ADD", sandbox, number, netns=netns)[0] == 0
    assert "ovnkpother" not in node.inside("ip", "link")


def test_foreign_interface_of_the_name_is_left_alone(node, pod):
    number, sandbox, netns = pod
    world.run("nsenter", f"--net={netns}", "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "other")
    code, answer = node.call("ADD", sandbox, number, netns=netns)
    assert code == 1
    assert 'interface "eth0" exists already' in answer["msg"]
    assert "other" in links(netns)
    assert not [ids for ids in node.interfaces().values() if ids["ovnk-container-id"] == sandbox]


def test_del_twice_and_del_of_nothing_succeed(node, pod):
    number, sandbox, netns = pod
    node.call("ADD", sandbox, number, netns=netns)
    assert node.call("DEL", sandbox, number, netns=netns) == (0, None)
    assert node.call("DEL", sandbox, number, netns=netns) == (0, None)
    assert node.call("DEL", "never-added", 0) == (0, None)


def test_del_without_netns_and_without_prev_result_removes_all(node, pod):
    number, sandbox, netns = pod
    _, result = node.call("ADD", sandbox, number, netns=netns)
    assert node.call("DEL", sandbox, number, netns="") == (0, None)
    assert list(links(netns)) == ["lo"]
    assert result["interfaces"][0]["name"] not in node.inside("ip", "link")
    assert result["interfaces"][0]["name"] not in node.interfaces()


def test_del_after_the_namespace_is_gone_removes_the_port(node, pod):
    """containerd: first with prevResult and an empty CNI_NETNS, later without either."""
    number, sandbox, netns = pod
    _, result = node.call("ADD", sandbox, number, netns=netns)
    node.remove_namespace(netns)
    assert node.call("DEL", sandbox, number, netns="", config={"prevResult": result}) == (0, None)
    assert node.call("DEL", sandbox, number, netns=netns) == (0, None)
    assert result["interfaces"][0]["name"] not in node.interfaces()


def test_del_does_not_need_the_allocation(node):
    netns = node.pod_namespace()
    everybody = world.spec(*(world.allocation(number) for number in range(32)))
    node.tell(world.spec(*everybody.pods, world.allocation(40)))
    _, result = node.call("ADD", "unlisted", 40, netns=netns)
    node.tell(everybody)
    assert node.call("DEL", "unlisted", 40, netns=netns) == (0, None)
    assert result["interfaces"][0]["name"] not in node.interfaces()


def test_new_sandbox_of_a_pod_replaces_the_old_ones_port(node, pod):
    """kubelet's next try has a new container id; the late DEL of the old one must not touch it."""
    number, sandbox, netns = pod
    _, old = node.call("ADD", f"{sandbox}-old", number, netns=node.pod_namespace())
    code, new = node.call("ADD", sandbox, number, netns=netns)
    assert code == 0, new
    assert old["interfaces"][0]["name"] not in node.interfaces()
    assert old["interfaces"][0]["name"] not in node.inside("ip", "link")
    assert node.call("DEL", f"{sandbox}-old", number) == (0, None)
    assert new["interfaces"][0]["name"] in node.interfaces()


def test_add_waits_for_a_late_allocation(node):
    netns = node.pod_namespace()
    everybody = world.spec(*(world.allocation(number) for number in range(32)))
    waiting = node.spawn("ADD", "late", 41, netns=netns)
    world.until(lambda: metric(node, 'ovnk_cni_calls_in_progress{command="ADD"}') == 1, "the ADD waits")
    assert waiting.poll() is None
    node.tell(world.spec(*everybody.pods, world.allocation(41)))
    output, _ = waiting.communicate(timeout=30)
    assert json.loads(output)["ips"][0]["address"] == "10.244.1.44/24"
    assert node.call("DEL", "late", 41) == (0, None)
    node.tell(everybody)


def test_add_of_a_pods_successor_waits_for_its_own_uid(node, pod):
    """The NodeNetwork still has the namesake that was deleted: its address is not the new pod's."""
    number, sandbox, netns = pod
    waiting = node.spawn("ADD", sandbox, number, netns=netns, uid="uid-new")
    world.until(lambda: metric(node, 'ovnk_cni_calls_in_progress{command="ADD"}') == 1, "the ADD waits")
    everybody = [world.allocation(one) for one in range(32)]
    changed = [one for one in everybody if one.name != f"web-{number}"]
    node.tell(world.spec(*changed, world.allocation(50, name=f"web-{number}", uid="uid-new")))
    output, _ = waiting.communicate(timeout=30)
    assert json.loads(output)["ips"][0]["address"] == "10.244.1.53/24"
    node.tell(world.spec(*everybody))


def test_killed_plugin_undoes_its_add(node):
    """A waiting ADD whose plug-in is killed leaves nothing: no link, no port, no call in progress."""
    netns = node.pod_namespace()
    waiting = node.spawn("ADD", "killed", 60, netns=netns)
    world.until(lambda: metric(node, 'ovnk_cni_calls_in_progress{command="ADD"}') == 1, "the ADD waits")
    waiting.send_signal(signal.SIGKILL)
    waiting.communicate()
    world.until(lambda: metric(node, 'ovnk_cni_calls_in_progress{command="ADD"}') == 0, "the ADD is undone")
    assert list(links(netns)) == ["lo"]
    assert not [ids for ids in node.interfaces().values() if ids["ovnk-container-id"] == "killed"]


@pytest.mark.parametrize("what", ["address", "route", "link", "mac"])
def test_check_says_what_is_missing(node, pod, what):
    """A port that somebody deletes is put back, sooner than CHECK is sure to see it (test_restored.py)."""
    number, sandbox, netns = pod
    _, result = node.call("ADD", sandbox, number, netns=netns)
    inside = ["nsenter", f"--net={netns}", "ip"]
    breakages = {
        "address": lambda: world.run(*inside, "address", "del", f"{world.allocation(number).ips[0]}/24", "dev", "eth0"),
        "route": lambda: world.run(*inside, "-6", "route", "del", "default"),
        "link": lambda: world.run(*inside, "link", "del", "eth0"),
        "mac": lambda: world.run(*inside, "link", "set", "eth0", "address", "0a:58:00:00:00:01"),
    }
    breakages[what]()
    said = {"link": "missing", "address": "address", "route": "route via", "mac": "MAC"}[what]
    config = {"prevResult": result}
    world.until(lambda: node.call("CHECK", sandbox, number, netns=netns, config=config)[0] == 1, "it is noticed")
    _, answer = node.call("CHECK", sandbox, number, netns=netns, config=config)
    assert answer["code"] == protocol.NOT_AS_EXPECTED
    assert said in answer["msg"] + answer["details"]


def test_check_compares_prev_result_with_the_port(node, pod):
    number, sandbox, netns = pod
    _, result = node.call("ADD", sandbox, number, netns=netns)
    result["ips"][0]["address"] = "10.244.1.200/24"
    code, answer = node.call("CHECK", sandbox, number, netns=netns, config={"prevResult": result})
    assert (code, answer["code"]) == (1, protocol.NOT_AS_EXPECTED)
    assert "10.244.1.200/24" in answer["details"]


def test_check_allows_for_what_a_later_plugin_added(node, pod):
    number, sandbox, netns = pod
    _, result = node.call("ADD", sandbox, number, netns=netns)
    world.run("nsenter", f"--net={netns}", "ip", "address", "add", "10.9.9.9/32", "dev", "eth0")
    result["interfaces"].append({"name": "tuned0", "sandbox": netns})
    result["ips"].append({"address": "10.9.9.9/32", "interface": 2})
    assert node.call("CHECK", sandbox, number, netns=netns, config={"prevResult": result}) == (0, None)


@pytest.mark.parametrize("netns", ["/nonexistent", "/etc/passwd", "/proc/self/ns/mnt"])
def test_add_into_what_is_no_network_namespace_names_the_variable(node, netns):
    code, answer = node.call("ADD", "nowhere", 0, netns=netns)
    assert (code, answer["code"]) == (1, protocol.INVALID_ENVIRONMENT)
    assert "CNI_NETNS" in answer["msg"]


def test_add_into_the_nodes_own_namespace_is_refused(node):
    code, answer = node.call("ADD", "nowhere", 0, netns=node.netns)
    assert (code, answer["code"]) == (1, protocol.INVALID_ENVIRONMENT)


def test_status_is_fine_on_a_node_that_is_ready(node):
    node.wait_ready()
    assert node.call("STATUS", "", version="1.1.0") == (0, None)


def test_gc_removes_what_the_runtime_does_not_list(node, pod):
    number, sandbox, netns = pod
    other = node.pod_namespace()
    node.call("ADD", sandbox, number, netns=netns)
    _, stale = node.call("ADD", f"{sandbox}-stale", (number + 16) % 32, netns=other)
    listed = [
        {"containerID": ids["ovnk-container-id"], "ifname": ids["ovnk-ifname"]}
        for name, ids in node.interfaces().items()
        if name != stale["interfaces"][0]["name"]
    ]
    config = {"cni.dev/valid-attachments": listed}
    assert node.call("GC", "", version="1.1.0", config=config) == (0, None)
    ports = node.interfaces()
    assert stale["interfaces"][0]["name"] not in ports
    assert len(ports) == len(listed)
    assert list(links(other)) == ["lo"]


def metric(node, name):
    """A figure of the agent's /metrics."""
    for line in node.metrics().splitlines():
        if line.startswith(name + " "):
            return float(line.split()[1])
    return 0.0
