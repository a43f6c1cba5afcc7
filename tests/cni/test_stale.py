"""Which UDP connections are forgotten, by what the table of services says of them."""

import pytest

from cni import stale
from cni.conntrack import Connection
from cni.service_table import Chain, Element, Here
from cni.stale import Ways
from ovnk.incremental.desired import Delta

HERE = Here("node-1", ("10.244.0.0/16",), ("10.96.0.0/16",))
NODE, CLIENT, VIP = "192.168.100.1", ("198.51.100.7", 40000), ("10.96.0.10", 53)
POD, OTHER = ("10.244.1.3", 5353), ("10.244.1.4", 5353)

NODE_PORT = Element("node_ports4", ("udp", "30053"), "10.96.0.10 . 53")
LOCAL = Element("node_port_chains4", ("udp", "30053"), "goto local4/shop/dns/udp/53")
HOST_PORT = Element("host_ports4", ("udp", "30053"), "10.244.1.4 . 5353")
EXTERNAL = Element("addresses4", ("203.0.113.9", "udp", "53"), "10.96.0.10 . 53")
CLUSTER = Chain("cluster4/shop/dns/udp/53", (), leads=frozenset({"10.244.1.3 . 5353"}))
REFUSED = Element("node_port_chains4", ("udp", "30053"), "goto refuse")


def chain(*leads):
    return Chain("local4/shop/dns/udp/53", (), leads=frozenset(leads))


def connection(to=(NODE, 30053), by=VIP, back=("10.244.1.2", 1)):
    return Connection(CLIENT, to, by, back, 2, b"")


def forgotten(one, *facts):
    ways = Ways()
    ways.update(Delta(frozenset(facts), frozenset()))
    return bool(stale.stale([one], ways, HERE, frozenset({NODE, "::1"})))


@pytest.mark.parametrize(
    ("one", "facts"),
    [
        (connection(), [NODE_PORT]),
        (connection(by=POD), [LOCAL, chain("10.244.1.3 . 5353", "10.244.1.4 . 5353")]),
        (connection(by=VIP), [LOCAL, chain("10.244.1.3 . 5353", "10.96.0.10 . 53")]),
        (connection(by=POD), [LOCAL, chain("goto cluster4/shop/dns/udp/53"), CLUSTER]),
        (connection(to=("203.0.113.9", 53)), [EXTERNAL]),
        # Another's translation, and ports of other hosts.
        (connection(by=("172.17.0.2", 53)), []),
        (connection(to=("192.0.2.1", 30053), by=("192.0.2.1", 30053), back=CLIENT), [NODE_PORT]),
        # A node port is before a host port.
        (connection(), [NODE_PORT, HOST_PORT]),
    ],
)
def test_connections_that_lead_where_the_table_does_are_kept(one, facts):
    assert not forgotten(one, *facts)


@pytest.mark.parametrize(
    ("one", "facts"),
    [
        # Its endpoint is no longer one, or there is none; the service is another, or gone.
        (connection(by=POD), [LOCAL, chain("10.244.1.4 . 5353")]),
        (connection(by=POD), [LOCAL, chain()]),
        (connection(by=POD), [REFUSED]),
        (connection(by=("10.96.0.11", 53)), [NODE_PORT]),
        (connection(by=POD), []),
        (connection(), []),
        (connection(by=POD), [HOST_PORT]),
        # It began before there was a service.
        (connection(by=(NODE, 30053), back=CLIENT), [NODE_PORT]),
        (connection(to=("203.0.113.9", 53), by=("203.0.113.9", 53), back=CLIENT), [EXTERNAL]),
    ],
)
def test_connections_that_the_table_would_translate_otherwise_are_forgotten(one, facts):
    assert forgotten(one, *facts)


def test_ways_follow_the_changes_of_udp_sockets_alone():
    ways = Ways()
    tcp = Element("node_ports4", ("tcp", "30053"), "10.96.0.10 . 53")
    assert not ways.update(Delta(frozenset({tcp, Chain("services", ("drop",))}), frozenset()))
    assert ways.update(Delta(frozenset({LOCAL, chain("10.244.1.3 . 5353")}), frozenset()))
    assert ways.lead((NODE, 30053), local=True) == {POD}
    assert ways.lead((NODE, 30053), local=False) is None
    assert ways.update(Delta(frozenset({chain("10.244.1.4 . 5353")}), frozenset({chain("10.244.1.3 . 5353")})))
    assert ways.lead((NODE, 30053), local=True) == {OTHER}
    assert ways.update(Delta(frozenset({NODE_PORT}), frozenset({LOCAL, chain("10.244.1.4 . 5353")})))
    assert ways.lead((NODE, 30053), local=True) == {VIP}
    assert ways.update(Delta(frozenset(), frozenset({NODE_PORT})))
    assert ways.lead((NODE, 30053), local=True) is None
