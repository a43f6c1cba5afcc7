"""A node's rules do with every packet what an independent oracle says, however the cluster came to be as it is."""

import random

import pytest

from cni.service_table import HERE, Here, Memory
from cni.services import wire
from ovnk.incremental.graph import Graph
from ovnk.kube.objects import Node
from ovnk.kube.service_objects import Endpoint, EndpointSlice, Service
from tests.builders import endpoint_slice, node, service
from tests.oracle.nft import Machine, Packet
from tests.oracle.node_services import World, fault

PODS, SERVICES = ("10.244.0.0/16", "fd00:10:244::/48"), ("10.96.0.0/16", "fd00:10:96::/112")
NODES = {f"n{number}": (f"192.168.100.{number}", f"fd00:192:168:100::{number}") for number in range(3)}
# The node's own also are loopback and an address that the cluster does not know.
OWN = frozenset({*NODES["n0"], "127.0.0.1", "::1", "192.168.101.1", "fd00:192:168:101::1"})
PORTS = [("a", "TCP", 80), ("b", "TCP", 81), ("a", "UDP", 80)]
EXTERNAL = ("203.0.113.1", "203.0.113.2", "2001:db8::1")
SOURCES = (
    "10.244.0.9",
    "fd00:10:244::9",
    *NODES["n0"],
    *NODES["n1"],
    "198.51.100.7",
    "198.51.100.200",
    "2001:db8:7::1",
)
ADDRESSES = ("10.244.0.3", "10.244.1.3", "fd00:10:244::3", *NODES["n0"], *NODES["n1"], "198.51.100.7", "2001:db8:7::1")


def some(dice, values, most):
    return tuple(dice.sample(list(values), dice.randrange(most + 1)))


def any_service(dice):
    number = dice.randrange(3)
    ips = (f"10.96.0.{number}", f"fd00:10:96::{number:x}")
    ports = [
        (*port, dice.choice([0, 30000 + 10 * number + index]))
        for index, port in enumerate(PORTS)
        if dice.random() < 0.7
    ]
    return service(
        f"s{number}",
        *dice.choice([ips[:1], ips[1:], ips]),
        ports=ports or [(*PORTS[0], 0)],
        affinity_s=dice.choice([0, 0, 30]),
        internal_local=dice.random() < 0.3,
        external_local=dice.random() < 0.4,
        external_ips=some(dice, EXTERNAL, 2),
        load_balancer_ips=some(dice, EXTERNAL, 2),
        source_ranges=dice.choice(
            [(), (), ("198.51.100.0/25", "2001:db8:7::/64"), ("198.51.100.0/24", "198.51.100.0/25")]
        ),
        created=dice.choice(["2026-01-01", "2026-02-01"]),
    )


def any_slice(dice):
    number = dice.randrange(4)
    hints = dice.choice([(), (), ("eu-1",)])
    version = dice.choice([4, 6])
    conditions = [(True, True, False), (True, True, False), (False, True, True), (False, False, False)]
    endpoints = [
        Endpoint(address, *dice.choice(conditions), node=dice.choice(places(address)), zones=hints)
        for address in some(dice, [one for one in ADDRESSES if (":" in one) == (version == 6)], 3)
    ]
    ports = dice.sample([("a", "TCP", 8080), ("b", "TCP", 8081), ("a", "UDP", 53)], dice.randrange(1, 4))
    return endpoint_slice(f"e{number}", *endpoints, of=f"shop/s{dice.randrange(3)}", ports=ports)


def places(address):
    """Where an endpoint of that address may be."""
    if address.startswith(("10.244.", "fd00:10:244:")):
        return ["n0", "n1", ""]
    return [next((name for name, addresses in NODES.items() if address in addresses), "")]


def any_node(dice):
    name = dice.choice(list(NODES))
    return node(name, addresses=NODES[name], zone=dice.choice(["", "eu-1"]))


def packets(world, dice):
    """A packet from everywhere to every socket that a Service has, and to some that none has."""
    sockets = {(address, port) for address in (*OWN, *EXTERNAL) for port in (80, 30000, 30001, 30012, 30021)}
    sockets |= {(ip, port.port) for one in world.services for ip in one.cluster_ips for port in one.ports}
    for source in SOURCES:
        for to, port in dice.sample(sorted(sockets), min(len(sockets), 25)):
            if (":" in source) != (":" in to):
                continue
            # What pods and others send to a ClusterIP meets OVN first, or has no way here.
            if any(to in one.cluster_ips for one in world.services) and source not in OWN:
                continue
            yield Packet(source, to, dice.choice(["tcp", "tcp", "udp"]), port, OWN)


@pytest.mark.parametrize("seed", range(25))
def test_every_packet_is_led_where_kubernetes_says(seed):
    dice = random.Random(seed)
    restricted = dice.choice([(), (), ("192.168.100.0/24",)])
    graph, inputs = Graph(check=seed < 10), {}
    rules = wire(graph).rules
    graph.tables[Here].put(HERE, Here("n0", PODS, SERVICES, restricted))
    for step in range(60):
        value = dice.choice([any_service, any_service, any_slice, any_slice, any_node])(dice)
        table, place = graph.tables[type(value)], (type(value), value.key)
        if dice.random() < 0.25:
            table.remove(value.key)
            inputs.pop(place, None)
        else:
            table.put(value.key, value)
            inputs[place] = value
        if step % 6:
            continue
        graph.settle()
        assert not graph.failures
        rules.take()
        judge(rules, inputs, restricted, dice)


def judge(rules, inputs, restricted, dice):
    kinds = [
        tuple(value for (kind, _), value in inputs.items() if kind is one) for one in (Service, EndpointSlice, Node)
    ]
    world, machine = World(*kinds, "n0", PODS, restricted), Machine(rules)
    for packet in packets(world, dice):
        base = "output" if packet.source in OWN else "prerouting"
        outcomes = machine.outcomes(packet, base)
        why = fault(world, packet, outcomes)
        assert not why, (why, packet, outcomes, world)
        remembering(rules, machine, packet, base, outcomes)


def remembering(rules, machine, packet, base, outcomes):
    """Whoever is remembered goes where one may go who is not, and to one place only."""
    for memory in (fact for fact in rules if isinstance(fact, Memory)):
        again = machine.outcomes(
            Packet(packet.source, packet.to, packet.protocol, packet.port, OWN, frozenset({memory.name})), base
        )
        assert again <= outcomes
        assert len(again) == 1 or again == outcomes
