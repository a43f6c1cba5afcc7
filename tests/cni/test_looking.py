"""What is found by looking at a node: the underlay, the datapath, and what the kernel says of changes."""

import contextlib
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni import conntrack, namespace, underlay, watch
from cni.settings import Chassis
from ovnk.errors import ConfigError
from tests.cni import world


@contextlib.contextmanager
def node(*commands):
    """This thread in a namespace of its own, set up by `ip` commands."""
    name = f"ovnkt-look-{world.os.getpid()}"
    world.run("ip", "netns", "add", name)
    home = namespace.own()
    try:
        for command in commands:
            world.run("ip", "-n", name, *command.split())
        with namespace.opened(f"/run/netns/{name}", home) as there, namespace.inside(there, home):
            yield
    finally:
        world.os.close(home)
        world.run("ip", "netns", "del", name)


def pair(name, *addresses):
    yield f"link add {name} type veth peer name {name}p"
    yield f"link set {name} up"
    yield f"link set {name}p up"
    for address in addresses:
        yield f"address add {address} dev {name}"


TWO = (*pair("eth0", "192.168.1.10/24", "fd01::10/64"), *pair("eth1", "192.168.2.10/24"))


def find(encap_ip="auto", southbound="unix:/sb.sock"):
    found = underlay.find(Chassis("node-1", southbound, encap_ip=encap_ip))
    return found.interface, found.address, found.mtu_bytes


@pytest.mark.system
@pytest.mark.parametrize(
    ("commands", "arguments", "expected"),
    [
        ((*TWO, "route add default via 192.168.2.1"), {}, ("eth1", "192.168.2.10", 1500)),
        ((*TWO, "link set eth0 mtu 9000", "route add default via 192.168.1.1"), {}, ("eth0", "192.168.1.10", 9000)),
        ((*TWO, "-6 route add default via fd01::1"), {}, ("eth0", "192.168.1.10", 1500)),
        (TWO, {"southbound": "tcp:192.168.2.77:6642"}, ("eth1", "192.168.2.10", 1500)),
        (TWO, {"southbound": "unix:/x,ssl:[fd01::77]:6642"}, ("eth0", "192.168.1.10", 1500)),
        (TWO, {"encap_ip": "192.168.2.10"}, ("eth1", "192.168.2.10", 1500)),
        (TWO, {"encap_ip": "FD01::10"}, ("eth0", "fd01::10", 1500)),
        (tuple(pair("eth0", "192.168.1.10/24")), {}, ("eth0", "192.168.1.10", 1500)),
        (
            (*pair("eth0", "192.168.1.10/24", "192.168.1.11/24"), "route add default via 192.168.1.1 src 192.168.1.11"),
            {},
            ("eth0", "192.168.1.11", 1500),
        ),
        (
            (*TWO, "route add default via 192.168.1.1 metric 200", "route add default via 192.168.2.1 metric 100"),
            {},
            ("eth1", "192.168.2.10", 1500),
        ),
        (
            (*TWO, "route add default nexthop via 192.168.2.1 nexthop via 192.168.1.1"),
            {},
            ("eth1", "192.168.2.10", 1500),
        ),
        ((*pair("eth0", "192.168.1.10/24"), *pair("ovnk0", "10.244.1.2/24")), {}, ("eth0", "192.168.1.10", 1500)),
    ],
)
def test_underlay_is_the_way_out_of_the_node(commands, arguments, expected):
    with node(*commands):
        assert find(**arguments) == expected


@pytest.mark.system
@pytest.mark.parametrize("commands", [TWO, ()])
def test_underlay_that_cannot_be_told_names_the_flag(commands):
    with node(*commands), pytest.raises(ConfigError, match="--encap-ip auto"):
        find()


@pytest.mark.system
def test_encapsulation_address_that_no_interface_has_is_an_error():
    with node(*TWO), pytest.raises(ConfigError, match="no interface of this node has that address"):
        find("10.9.9.9")


@pytest.mark.system
def test_kernel_datapath_is_found_out_by_asking_the_kernel():
    """What it says agrees with what the kernel lists; on a machine without the module that is no."""
    assert underlay.kernel_has_datapath() == world.Path("/sys/module/openvswitch").exists()


@pytest.mark.system
@pytest.mark.parametrize(
    ("family", "loopback"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")], ids=["ipv4", "ipv6"]
)
def test_udp_connections_are_listed_and_forgotten(family, loopback):
    with node("link set lo up"), socket.socket(family, socket.SOCK_DGRAM) as server:
        world.run(
            "nft", "table inet t { chain c { type nat hook output priority -100; udp dport 7000 redirect to 7001; }; }"
        )
        server.bind((loopback, 7001))
        with socket.socket(family, socket.SOCK_DGRAM) as client:
            client.sendto(b"", (loopback, 7000))
            server.recvfrom(1)
            found = [one for one in conntrack.listed() if one.to == (loopback, 7000)]
            assert [(one.source[1], one.by) for one in found] == [(client.getsockname()[1], (loopback, 7001))]
        assert conntrack.forget(found * 2) == 1
        assert not [one for one in conntrack.listed() if one in found]


def message(kind, body):
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body + b"\0" * (-len(body) % 4)


def attribute(kind, value):
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def heard(*messages):
    """What a watch of ovnk0 (index 7) tells of messages."""
    told = []
    watched = watch.Watch(lambda: told.append("node"), lambda: told.append("pod"))
    watched._names, watched._indices = frozenset({"ovnk0"}), {7: "ovnk0"}
    for data in messages:
        for kind, body in watch._messages(data):
            watched._take(kind, body)
    return told


def link(name, index=7):
    return struct.pack("=BBHiII", 0, 0, 1, index, 0, 0) + attribute(3, name.encode() + b"\0")


def test_watched_interfaces_are_heard_of_and_others_not():
    assert heard(message(16, link("ovnk0")), message(17, link("ovnk0"))) == ["node", "node"]
    assert heard(message(16, link("eth5", 9)), message(16, link("ovnkp0123456789", 9))) == []
    assert heard(message(17, link("ovnkp0123456789", 9))) == ["pod"]


def test_addresses_are_heard_of_and_routes_by_index():
    assert heard(message(21, struct.pack("=BBBBI", 2, 24, 0, 0, 7))) == ["node"]
    assert heard(message(21, struct.pack("=BBBBI", 2, 24, 0, 0, 8))) == ["node"]
    route = bytes(12)
    assert heard(message(25, route + attribute(1, b"\x0a\0\0\0") + attribute(4, struct.pack("=I", 7)))) == ["node"]
    assert heard(message(25, route + attribute(4, struct.pack("=I", 8)))) == []
    assert heard(message(25, route)) == []


@given(st.lists(st.tuples(st.sampled_from([16, 17, 20, 21, 24, 25]), st.binary(max_size=60))), st.binary())
def test_no_message_breaks_the_watch(messages, tail):
    """Short ones do not come from a kernel, but nothing may stop the agent from listening."""
    heard(b"".join(message(kind, bytes(16) + body) for kind, body in messages) + tail)
