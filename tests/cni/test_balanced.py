"""UDP connections of OVN's to endpoints that are gone: which they are, and how the datapath is told to forget them."""

import asyncio

from cni import balanced
from cni.balanced import Forgetting, Led
from cni.service_table import HERE, Here
from cni.services import wire
from ovnk.incremental.desired import Delta
from ovnk.incremental.graph import Graph
from ovnk.kube.service_objects import Endpoint
from tests.builders import endpoint_slice, node, service

ONE, OTHER = Led("10.96.0.10", 53, "10.244.1.3", 5353), Led("fd00::10", 53, "fd00:1::3", 5353)


def compiled(*values):
    graph = Graph(check=True)
    led = wire(graph).led
    graph.tables[Here].put(HERE, Here("node-1", ("10.244.0.0/16",), ("10.96.0.0/16",)))
    for value in (node("node-1"), *values):
        graph.tables[type(value)].put(value.key, value)
    graph.settle()
    return set(led)


def test_it_is_where_clients_on_this_node_are_led_by_udp():
    ports = [("d", "UDP", 53), ("t", "TCP", 53)]
    endpoints = [Endpoint("10.244.1.3", node="node-1"), Endpoint("10.244.2.3", node="n2")]
    slices = [
        endpoint_slice("v4", *endpoints, ports=[("d", "UDP", 5353)]),
        endpoint_slice("v6", "fd00:1::3", ports=[("d", "UDP", 5353), ("t", "TCP", 5353)]),
    ]
    given = service("web", "10.96.0.10", "fd00::10", ports=ports)
    assert compiled(given, *slices) == {ONE, OTHER, Led("10.96.0.10", 53, "10.244.2.3", 5353)}
    local = service("web", "10.96.0.10", ports=ports, internal_local=True)
    assert compiled(local, *slices) == {ONE}


def test_the_datapath_is_asked_by_what_was_sent_and_who_answered():
    assert balanced.commands([ONE, OTHER]) == [
        ("ct_nw_dst=10.96.0.10,ct_nw_proto=17,ct_tp_dst=53", "ct_nw_src=10.244.1.3,ct_nw_proto=17,ct_tp_src=5353"),
        ("ct_ipv6_dst=fd00::10,ct_nw_proto=17,ct_tp_dst=53", "ct_ipv6_src=fd00:1::3,ct_nw_proto=17,ct_tp_src=5353"),
    ]


def test_of_very_many_it_is_asked_by_what_was_sent_alone():
    many = [Led("10.96.0.10", 53, f"10.244.1.{number}", 5353) for number in range(3, 103)]
    assert balanced.commands(many) == [("ct_nw_dst=10.96.0.10,ct_nw_proto=17,ct_tp_dst=53",)]


class Asked:
    """A bridge that writes down what it is asked, until it has been asked three times."""

    def __init__(self):
        self.commands = []
        self.thrice = asyncio.Event()

    async def command(self, _command, *arguments):
        self.commands.append(arguments)
        if len(self.commands) == 3:
            self.thrice.set()
        return ""


def test_what_has_gone_is_forgotten_again_and_again_and_what_came_back_is_not(monkeypatch):
    monkeypatch.setattr(balanced, "_AGAIN_S", (0.01, 0.02, 0.03))

    async def run():
        bridge = Asked()
        forgetting = Forgetting(bridge)
        task = asyncio.create_task(forgetting.run())
        forgetting.take(Delta(frozenset(), frozenset({ONE, OTHER})))
        forgetting.take(Delta(frozenset({OTHER}), frozenset()))
        await bridge.thrice.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return bridge.commands

    assert asyncio.run(asyncio.wait_for(run(), 10)) == [(ONE.original, ONE.reply)] * 3
