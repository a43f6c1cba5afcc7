"""The node's rules for services: what a Service causes, and the law that the way there does not matter."""

import random

import pytest

from cni import service_commands, service_reading
from cni.attachment import Attachment
from cni.service_table import HERE, Chain, Element, Here
from cni.services import wire
from ovnk.incremental.graph import Graph
from ovnk.kube.objects import Node
from ovnk.kube.service_objects import Endpoint, EndpointSlice, Service
from tests.builders import endpoint_slice, node, service
from tests.test_random_walk import any_service, any_slice

HERE_1 = Here("node-1", ("10.244.0.0/16",), ("10.96.0.0/16",))


def compiled(*values, here=HERE_1):
    graph = Graph(check=True)
    wanted = wire(graph).rules
    graph.tables[Here].put(HERE, here)
    for value in (node("node-1"), node("node-2", number=2), *values):
        graph.tables[type(value)].put(value.key, value)
    graph.settle()
    assert not graph.failures
    return wanted


def elements(wanted):
    sets = ("addresses", "address_chains", "node_ports", "node_port_chains")
    return {" . ".join(one.key): one.value for one in wanted if isinstance(one, Element) and one.set[:-1] in sets}


def rules(wanted, name):
    return next((one.rules for one in wanted if isinstance(one, Chain) and one.name == name), None)


NODE_PORT = {"ports": [("", "TCP", 80, 30080)]}


def test_cluster_ip_needs_no_rule():
    assert elements(compiled(service(), endpoint_slice("web-1", "10.244.1.3"))) == {}


def test_node_port_and_external_addresses_lead_to_the_cluster_ip():
    given = service(**NODE_PORT, external_ips=("203.0.113.9",), load_balancer_ips=("203.0.113.8",))
    assert elements(compiled(given, endpoint_slice("web-1", "10.244.1.3"))) == {
        "tcp . 30080": "10.96.0.10 . 80",
        "203.0.113.9 . tcp . 80": "10.96.0.10 . 80",
        "203.0.113.8 . tcp . 80": "10.96.0.10 . 80",
    }


def test_node_port_without_endpoints_is_refused():
    assert elements(compiled(service(**NODE_PORT))) == {"tcp . 30080": "goto refuse"}


def test_local_service_sends_outsiders_to_endpoints_here_alone():
    given = service(**NODE_PORT, external_local=True)
    slices = endpoint_slice("web-1", Endpoint("10.244.1.3", node="node-1"), Endpoint("10.244.2.3", node="node-2"))
    wanted = compiled(given, slices)
    assert elements(wanted) == {"tcp . 30080": "goto local4/shop/web/tcp/80"}
    assert rules(wanted, "local4/shop/web/tcp/80") == (
        "ip saddr @pods4 meta l4proto tcp dnat ip to 10.96.0.10:80",
        "fib saddr type local meta l4proto tcp dnat ip to 10.96.0.10:80",
        "meta l4proto tcp dnat ip to 10.244.1.3:8080",
    )


def test_local_service_without_an_endpoint_here_drops_outsiders():
    given = service(**NODE_PORT, external_local=True)
    wanted = compiled(given, endpoint_slice("web-1", Endpoint("10.244.2.3", node="node-2")))
    assert rules(wanted, "local4/shop/web/tcp/80")[-1] == "drop"


def test_local_service_falls_back_to_endpoints_here_that_are_leaving():
    given = service(**NODE_PORT, external_local=True)
    leaving = Endpoint("10.244.1.3", ready=False, serving=True, terminating=True, node="node-1")
    wanted = compiled(given, endpoint_slice("web-1", leaving, Endpoint("10.244.2.3", node="node-2")))
    assert rules(wanted, "local4/shop/web/tcp/80")[-1] == "meta l4proto tcp dnat ip to 10.244.1.3:8080"


@pytest.mark.parametrize(
    ("address", "by_host"),
    [("192.168.100.1", True), ("192.168.100.2", False), ("198.51.100.7", True), ("10.244.2.3", False)],
)
def test_cluster_ip_is_served_by_the_host_where_ovn_would_send_it_back(address, by_host):
    wanted = compiled(service(), endpoint_slice("web-1", address))
    assert elements(wanted) == ({"10.96.0.10 . tcp . 80": "goto cluster4/shop/web/tcp/80"} if by_host else {})


def test_who_is_in_no_source_range_is_dropped():
    ranges = ("192.0.2.0/24", "192.0.2.0/25")
    given = service(
        "web", "10.96.0.10", "fd00::10", load_balancer_ips=("203.0.113.8", "2001:db8::8"), source_ranges=ranges
    )
    wanted = compiled(given, endpoint_slice("web-1", "10.244.1.3"), endpoint_slice("web-6", "fd00::3"))
    assert rules(wanted, "allowed4/shop/web/tcp/80")[0] == "ip saddr != { 192.0.2.0/24 } drop"
    assert rules(wanted, "allowed6/shop/web/tcp/80")[0] == "drop"


def test_no_name_has_what_nft_takes_no_name_with():
    given = service("web", "10.96.0.10", "fd00::10", **NODE_PORT, affinity_s=30)
    wanted = compiled(given, endpoint_slice("web-1", "10.244.1.3"), endpoint_slice("web-6", "fd00::3"))
    assert not [one for one in wanted if not isinstance(one, Element) and ":" in one.name]
    assert "cluster-endpoint6/shop/web/tcp/80/fd00__3/8080" in {getattr(one, "name", "") for one in wanted}


def test_external_address_is_the_older_services():
    slices = [endpoint_slice("a", "10.244.1.3", of="shop/old"), endpoint_slice("b", "10.244.1.3", of="shop/new")]
    old = service("old", "10.96.0.10", external_ips=("203.0.113.9",), created="2026-01-01")
    new = service("new", "10.96.0.11", external_ips=("203.0.113.9",), created="2026-02-01")
    assert elements(compiled(new, old, *slices)) == {"203.0.113.9 . tcp . 80": "10.96.0.10 . 80"}


def test_change_of_a_chain_keeps_it_and_its_element():
    given = service(**NODE_PORT, external_local=True)
    before = set(compiled(given, endpoint_slice("web-1", Endpoint("10.244.1.3", node="node-1"))))
    after = set(compiled(given, endpoint_slice("web-1", Endpoint("10.244.1.4", node="node-1"))))
    text = service_commands.commands(after - before, before - after)
    assert "delete" not in text
    assert "element" not in text
    assert text.count("flush chain inet ovnk-services local4/shop/web/tcp/80") == 1


def any_input(dice):
    number = dice.randrange(4)
    kind = dice.randrange(4)
    if kind == 0:
        return node(f"n{number}", number=number, zone=dice.choice(["", "eu-1"]))
    return any_service(dice, number) if kind == 1 else any_slice(dice, number)


@pytest.mark.parametrize("seed", range(10))
def test_incremental_is_a_fresh_compile(seed):
    dice = random.Random(seed)
    graph, inputs, taken = Graph(check=True), {}, set()
    wanted = wire(graph).rules
    here = Here("n0", ("10.244.0.0/30",), ("10.96.0.0/16",))
    graph.tables[Here].put(HERE, here)
    for _ in range(150):
        value = any_input(dice)
        if dice.random() < 0.3:
            graph.tables[type(value)].remove(value.key)
            inputs.pop((type(value), value.key), None)
        else:
            graph.tables[type(value)].put(value.key, value)
            inputs[type(value), value.key] = value
        if dice.random() < 0.3:
            graph.settle()
            delta = wanted.take()
            taken = (taken - delta.removed) | delta.added
    graph.settle()
    delta = wanted.take()
    taken = (taken - delta.removed) | delta.added
    fresh = Graph()
    again = wire(fresh).rules
    fresh.tables[Here].put(HERE, here)
    for (kind, key), value in inputs.items():
        fresh.tables[kind].put(key, value)
    fresh.settle()
    assert not graph.failures
    assert not wanted.contradictions()
    assert taken == set(wanted) == set(again)


@pytest.mark.parametrize("change", [service("s1", "10.96.0.1", ports=[("", "TCP", 80, 31000)]), service("new")])
def test_one_service_costs_the_same_among_any_number(change):
    def cost(count):
        graph = Graph()
        wanted = wire(graph).rules
        graph.tables[Here].put(HERE, HERE_1)
        for number in range(count):
            one = service(f"s{number}", f"10.96.{number // 250}.{number % 250}", ports=[("", "TCP", 80, number + 1)])
            graph.tables[Service].put(one.key, one)
            part = endpoint_slice(f"e{number}", "10.244.1.3", of=one.key)
            graph.tables[EndpointSlice].put(part.key, part)
        graph.settle()
        wanted.take()
        before = graph.runs.total()
        graph.tables[Service].put(change.key, change)
        graph.settle()
        delta = wanted.take()
        return graph.runs.total() - before, len(delta.added), len(delta.removed)

    assert cost(10) == cost(5000)
    assert cost(10)[0] == 4  # its rules, its health check, its ports of the node, and where OVN leads UDP


def test_every_table_of_the_graph_is_known_to_the_reader():
    assert {Service, EndpointSlice, Node, Here, Attachment} == set(_tables())
    assert service_reading.read(b'{"nftables": []}') == set()


def _tables():
    graph = Graph()
    wire(graph)
    return graph.tables
