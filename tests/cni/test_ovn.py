"""A node with real OVN: northbound, northd, southbound and ovn-controller. Two pods, the node, an outside host.

The northbound is written by hand here, as the controller writes it: the agent must fit what OVN does with that.
"""

import json
import signal
import subprocess

import pytest

from tests.cni import world

pytestmark = pytest.mark.system


class Ovn:
    """OVN's central part and the node's ovn-controller, with sockets of their own."""

    def __init__(self, node):
        self.node, self.folder = node, node.folder
        for kind in ("nb", "sb"):
            world.run("ovsdb-tool", "create", str(self.folder / f"{kind}.db"), f"/usr/share/ovn/ovn-{kind}.ovsschema")
            node.start(
                kind,
                "ovsdb-server",
                f"--unixctl={self.folder}/{kind}.ctl",
                f"--remote=punix:{self.folder}/{kind}.sock",
                f"{self.folder}/{kind}.db",
            )
            world.until(lambda kind=kind: world.listens(self.folder / f"{kind}.sock"), f"{kind} listens")
        self.southbound = f"unix:{self.folder}/sb.sock"
        node.start(
            "northd",
            "ovn-northd",
            f"--unixctl={self.folder}/northd.ctl",
            f"--ovnnb-db=unix:{self.folder}/nb.sock",
            f"--ovnsb-db={self.southbound}",
        )
        self.make_topology()

    def nbctl(self, *command):
        return world.run("ovn-nbctl", f"--db=unix:{self.folder}/nb.sock", *command)

    def start_controller(self):
        self.node.start("ovn-controller", "ovn-controller", self.node.database)

    def make_topology(self):
        switch, router = "node-1", "cluster"
        self.nbctl("ls-add", switch)
        self.nbctl("lr-add", router)
        gateway = ["10.244.1.1/24", "fd00:10:244:1::1/64"]
        self.nbctl("lrp-add", router, "to-node-1", "0a:58:0a:f4:01:01", *gateway)
        self.nbctl("lsp-add", switch, "router-port")
        self.nbctl("lsp-set-type", "router-port", "router")
        self.nbctl("lsp-set-options", "router-port", "router-port=to-node-1")
        self.nbctl("lsp-set-addresses", "router-port", "router")
        for network, hop in (("10.244.1.0/24", "10.244.1.2"), ("fd00:10:244:1::/64", "fd00:10:244:1::2")):
            self.nbctl("--policy=src-ip", "lr-route-add", router, network, hop)
        for address in ("192.168.100.1", "fd00:192:168:100::1"):
            hop, family = ("fd00:10:244:1::2", "ip6") if ":" in address else ("10.244.1.2", "ip4")
            self.nbctl("lr-policy-add", router, "1000", f"{family}.dst == {address}", "reroute", hop)
        self.add_port("node:node-1", "0a:58:0a:f4:01:02", ("10.244.1.2", "fd00:10:244:1::2"), "")

    def add_port(self, name, mac, ips, uid):
        self.nbctl("lsp-add", "node-1", name)
        addresses = " ".join([mac, *ips])
        self.nbctl("lsp-set-addresses", name, addresses)
        self.nbctl("lsp-set-options", name, "requested-chassis=node-1", *([f"iface-id-ver={uid}"] if uid else []))
        if uid:
            self.nbctl("lsp-set-port-security", name, addresses)

    def add_pod(self, number):
        pod = world.allocation(number)
        self.add_port(f"{pod.namespace}/{pod.name}", pod.mac, pod.ips, pod.uid)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """(node, OVN, namespaces of pods 0 and 1)."""
    node = world.World(tmp_path_factory.mktemp("ovn"))
    try:
        ovn = Ovn(node)
        ovn.start_controller()
        for number in range(2):
            ovn.add_pod(number)
        node.start_agent(world.spec(*(world.allocation(number) for number in range(8))), southbound=ovn.southbound)
        pods = [node.pod_namespace() for _ in range(2)]
        for number, netns in enumerate(pods):
            code, answer = node.call("ADD", f"pod-{number}", number, netns=netns)
            assert code == 0, answer
        node.wait_ready()
        yield node, ovn, pods
    finally:
        node.close()


def ping(netns, address):
    return "1 received" in world.run("nsenter", f"--net={netns}", "ping", "-c1", "-W2", address, check=False)


@pytest.mark.parametrize("family", [0, 1])
def test_r23_first_packet_after_add_arrives(cluster, family):
    """ADD has answered, so the flows are there: the very first ping from pod to pod is answered."""
    _, _, pods = cluster
    assert ping(pods[0], world.allocation(1).ips[family])


@pytest.mark.parametrize("address", ["10.244.1.2", "fd00:10:244:1::2", "192.168.100.1", "fd00:192:168:100::1"])
def test_pod_reaches_its_node(cluster, address):
    _, _, pods = cluster
    assert ping(pods[0], address)


@pytest.mark.parametrize("family", [0, 1])
def test_node_reaches_its_pod(cluster, family):
    node, _, _ = cluster
    assert ping(node.netns, world.allocation(0).ips[family])


SERVER = """
import socket, sys
listener = socket.create_server((sys.argv[1], 8080), family=socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
print("listens", flush=True)
connection, peer = listener.accept()
size = 0
while data := connection.recv(1 << 20):
    size += len(data)
connection.sendall(f"{size} {peer[0]}".encode())
"""
CLIENT = """
import socket, sys
with socket.create_connection((sys.argv[1], 8080), timeout=20) as connection:
    connection.sendall(bytes(10_000_000))
    connection.shutdown(socket.SHUT_WR)
    print(connection.recv(100).decode())
"""


def bulk(client, server, address):
    """(bytes that arrived, the client's address as the server saw it) of 10 MB over TCP."""
    command = ["nsenter", f"--net={server}", "python3", "-c", SERVER, address]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"listens\n"
        try:
            size, seen = world.run("nsenter", f"--net={client}", "python3", "-c", CLIENT, address).split()
        finally:
            process.kill()
    return int(size), seen


@pytest.mark.parametrize("family", [0, 1])
def test_megabytes_pass_between_pods_unmasqueraded(cluster, family):
    """TCP hangs where a checksum is left to a device that will not fill it in."""
    _, _, pods = cluster
    assert bulk(pods[0], pods[1], world.allocation(1).ips[family]) == (10_000_000, world.allocation(0).ips[family])


@pytest.mark.parametrize("family", [0, 1])
def test_megabytes_pass_between_node_and_pod(cluster, family):
    node, _, pods = cluster
    own = ("192.168.100.1", "fd00:192:168:100::1")[family]
    assert bulk(node.netns, pods[0], world.allocation(0).ips[family]) == (10_000_000, own)
    assert bulk(pods[0], node.netns, ("10.244.1.2", "fd00:10:244:1::2")[family]) == (
        10_000_000,
        world.allocation(0).ips[family],
    )


@pytest.mark.parametrize(
    ("outside", "seen"), [("192.168.100.254", "192.168.100.1"), ("fd00:192:168:100::fe", "fd00:192:168:100::1")]
)
def test_outside_sees_the_nodes_address(cluster, outside, seen):
    """A pod's way out is the host's routing, masqueraded: the outside host has no route to pods."""
    node, _, pods = cluster
    assert bulk(pods[0], f"/run/netns/{node.outside}", outside) == (10_000_000, seen)


def test_port_carries_what_ovn_matches(cluster):
    node, _, _ = cluster
    row = world.run(
        "ovn-sbctl",
        f"--db=unix:{node.folder}/sb.sock",
        "--bare",
        "--columns=up",
        "find",
        "Port_Binding",
        'logical_port="shop/web-0"',
    )
    assert row.strip() == "true"
    chassis = world.run("ovn-sbctl", f"--db=unix:{node.folder}/sb.sock", "--bare", "--columns=name", "list", "Chassis")
    assert chassis.strip() == "node-1"


def test_add_waits_for_the_logical_port(cluster):
    """The agent is faster than the controller: the ADD is answered once OVN knows the port."""
    node, ovn, _ = cluster
    netns = node.pod_namespace()
    waiting = node.spawn("ADD", "pod-2", 2, netns=netns)
    world.until(lambda: any(ids["iface-id"] == "shop/web-2" for ids in node.interfaces().values()), "the port is there")
    assert waiting.poll() is None
    ovn.add_pod(2)
    output, _ = waiting.communicate(timeout=30)
    assert waiting.returncode == 0, output
    assert ping(netns, world.allocation(0).ips[0])
    assert node.call("DEL", "pod-2", 2, netns=netns) == (0, None)


def test_pods_survive_restarts_of_ovn_controller_and_ovs_vswitchd(cluster):
    """And new ones are added while ovn-controller is away: their ADD waits for it."""
    node, ovn, pods = cluster
    target = world.allocation(1).ips[0]
    node.kill("ovn-controller")
    assert ping(pods[0], target)
    ovn.add_pod(3)
    waiting = node.spawn("ADD", "pod-3", 3, netns=node.pod_namespace())
    world.until(lambda: any(ids["iface-id"] == "shop/web-3" for ids in node.interfaces().values()), "the port is there")
    ovn.start_controller()
    output, _ = waiting.communicate(timeout=30)
    assert json.loads(output)["ips"], output
    assert ping(pods[0], target)
    node.kill("ovs-vswitchd", signal.SIGTERM)
    node.start_vswitchd()
    world.until(lambda: ping(pods[0], target), "pods talk again", timeout_s=30)
    world.until(lambda: ping(pods[0], "192.168.100.254"), "pods get out again", timeout_s=30)
    assert node.call("DEL", "pod-3", 3) == (0, None)


def test_userspace_connections_are_not_translated_to_what_they_are(cluster):
    """Open vSwitch 3.1 aborts when the ports of such a connection are used again soon after its end.

    What it offers is put right at the start and after its restart, which the test before this one made.
    """
    node, _, _ = cluster
    bridge = f"unix:{node.folder}/br-int.mgmt"

    def commits():
        flows = world.run("ovs-ofctl", "dump-flows", bridge).splitlines()
        return [flow for flow in flows if "ct(commit" in flow]

    world.until(lambda: commits() and not any("nat(src)" in flow for flow in commits()), "connections are plain")
    offered = node.vsctl("--bare", "--columns=capabilities", "find", "Datapath", "capabilities:ct_state=true")
    assert "ct_zero_snat=false" in offered.split()


def test_add_after_a_restart_of_the_agent_works_at_once(cluster):
    node, ovn, pods = cluster
    ovn.add_pod(4)
    node.kill("agent")
    assert ping(pods[0], world.allocation(1).ips[0])
    node.start_agent(world.spec(*(world.allocation(number) for number in range(8))), southbound=ovn.southbound)
    netns = node.pod_namespace()
    code, answer = node.call("ADD", "pod-4", 4, netns=netns)
    assert code == 0, answer
    assert ping(netns, world.allocation(0).ips[1])
