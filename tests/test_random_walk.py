"""The law: after any events, what the graph holds is exactly what a fresh compile of the same inputs gives."""

import random

import pytest
from msgspec.structs import replace

from ovnk.contract import PodAllocation
from ovnk.incremental.desired import Delta
from ovnk.incremental.graph import Graph
from ovnk.kube.objects import Namespace, Node, Pod
from ovnk.kube.policy_objects import (
    AdminNetworkPolicy,
    BaselineAdminNetworkPolicy,
    Block,
    ClusterNetworkPolicy,
    NetworkPolicy,
    NodePeers,
    PodPeers,
    PolicyPort,
    Requirement,
    Rule,
)
from ovnk.kube.service_objects import Endpoint, EndpointSlice, Service
from ovnk.translate import compile_cluster, key_of, wire
from ovnk.translate.values import Cluster, NodeSubnets
from tests.builders import (
    allocation,
    allowing,
    cluster,
    endpoint_slice,
    namespace,
    node,
    pod,
    policy,
    selecting,
    service,
    subnets,
)

LOGS = ["", "deny", "both"]


def any_input(dice):
    """An input of any kind, from so few names that changes meet."""
    number = dice.randrange(4)
    name = f"n{number}"
    v4, v6 = f"10.244.{number}.0/24", f"fd00:{number}::/64"
    some_pod = pod(
        f"p{dice.randrange(4)}",
        namespace=dice.choice(["shop", "shop", "ns1"]),
        node=dice.choice(["", name]),
        uid=dice.choice("12"),
        host_network=dice.random() < 0.1,
        finished=dice.random() < 0.1,
        labels=dice.choice([{}, {"app": "web"}, {"app": "db"}, {"app": "db", "tier": "back"}]),
        ports=dice.choice([(), (("http", "TCP", 80),), (("http", "TCP", 8080), ("dns", "UDP", 53))]),
    )
    ips = [[f"10.244.{number}.{dice.randrange(3, 6)}"], [f"fd00:{number}::5"]]
    addresses = dice.choice([(), (f"192.168.100.{number}",), (f"192.168.100.{number}", f"fc00::{number}")])
    role = dice.choice([(), (("role", "a"),)])
    return dice.choice(
        [
            lambda: cluster(mtu_bytes=dice.choice([None, 1400]), acl_tiers=dice.random() < 0.5),
            lambda: replace(
                namespace(dice.choice(["shop", f"ns{number}"]), team=dice.choice("ab")), log=dice.choice(LOGS)
            ),
            lambda: any_policy(dice),
            lambda: any_policy(dice),
            lambda: any_cluster_policy(dice),
            lambda: any_cluster_policy(dice),
            lambda: node(name, addresses=addresses, zone=dice.choice(["", "eu-1", "eu-2"]), labels=role),
            lambda: subnets(name, *dice.choice([[v4], [v6], [v4, v6]])),
            lambda: some_pod,
            lambda: some_pod,
            lambda: allocation(some_pod, *dice.choice([ips[0], ips[1], ips[0] + ips[1]])),
            lambda: any_service(dice, number),
            lambda: any_slice(dice, number),
            lambda: any_slice(dice, number),
        ]
    )()


def any_policy(dice):
    peers = [
        PodPeers(selecting(app="web"), namespace="shop"),
        PodPeers((), namespaces=selecting(team=dice.choice("ab"))),
        PodPeers(selecting(app="db", tier="back"), namespaces=selecting(team=dice.choice("ab"))),
        PodPeers((Requirement("app", "In", ("db", "web")),), namespaces=(Requirement("team", "NotIn", ("a",)),)),
        PodPeers((Requirement("app", "NotIn", ("db",)),), namespaces=()),
        PodPeers((Requirement("app", "Exists"),), namespaces=()),
        Block("192.168.100.0/24", ("192.168.100.2/32",)),
    ]
    ports = [
        PolicyPort("TCP", 80, 80),
        PolicyPort("TCP", name="http"),
        PolicyPort("UDP", name="dns"),
        PolicyPort("SCTP"),
    ]

    def rules():
        return tuple(
            allowing(
                *dice.sample(peers, dice.randrange(3)),
                ports=dice.choice([None, tuple(dice.sample(ports, dice.randrange(1, 4)))]),
            )
            for _ in range(dice.randrange(3))
        )

    return policy(
        f"policy{dice.randrange(4)}",
        namespace=dice.choice(["shop", "shop", "ns1"]),
        subject=dice.choice([(), selecting(app="web"), selecting(app="db")]),
        ingress=dice.choice([None, rules()]),
        egress=dice.choice([None, rules()]),
        log=dice.choice(LOGS),
    )


def any_cluster_policy(dice):
    pods = [
        PodPeers((), namespaces=selecting(team=dice.choice("ab"))),
        PodPeers(selecting(app=dice.choice(["db", "web"])), namespaces=()),
        PodPeers((), namespaces=()),
    ]
    others = [Block("0.0.0.0/0"), Block("10.244.1.0/24"), NodePeers(()), NodePeers(selecting(role="a"))]
    ports = [
        (PolicyPort("TCP", 80, 80),),
        (PolicyPort("TCP", 1, 8080), PolicyPort("UDP")),
        (PolicyPort("TCP", name="http"),),
    ]

    def rules(peers):
        return tuple(
            Rule(
                tuple(dice.sample(peers, dice.randrange(1, 3))),
                dice.choice([None, *ports]),
                dice.choice(["Accept", "Deny", "Pass", "Pass"]),
                dice.choice(["", "some rule"]),
            )
            for _ in range(dice.choice([0, 1, 3, 12]))
        )

    kind = dice.choice([ClusterNetworkPolicy, AdminNetworkPolicy, BaselineAdminNetworkPolicy])
    return kind(
        f"policy{dice.randrange(3)}",
        "u",
        dice.choice(["Admin", "Baseline"]),
        dice.choice([0, 7, 1000]),
        dice.choice(pods),
        rules(pods),
        rules([*pods, *others]),
        log=dice.choice(["", "allow", "both", "no"]),
    )


def any_service(dice, number):
    ips = [f"10.96.0.{number}", f"fd00:96::{number}"]
    return service(
        f"s{number % 2}",
        *dice.choice([ips[:1], ips[1:], ips]),
        ports=dice.sample([("a", "TCP", 80), ("b", "TCP", 81), ("a", "UDP", 80)], dice.randrange(1, 4)),
        affinity_s=dice.choice([0, 30, 86400]),
        internal_local=dice.random() < 0.3,
        external_ips=dice.choice([(), ("203.0.113.1",)]),
    )


def any_slice(dice, number):
    family = dice.choice(["10.244.0.", "fd00::"])
    hints = [(), (), ("eu-1",), ("eu-1", "eu-2")]
    zones, nodes = dice.choice(hints), dice.choice([(), (), ("n0",), ("n1",)])
    endpoints = [
        Endpoint(
            f"{family}{dice.randrange(3, 7)}",
            *dice.choice([(True, True, False), (False, True, True), (False, False, True), (False, False, False)]),
            node=f"n{dice.randrange(4)}",
            zones=zones if dice.random() < 0.9 else (),
            nodes=nodes if dice.random() < 0.9 else (),
        )
        for _ in range(dice.randrange(4))
    ]
    ports = dice.sample([("a", "TCP", 8080), ("b", "TCP", 8081), ("a", "UDP", 53)], dice.randrange(1, 4))
    return endpoint_slice(f"e{dice.randrange(4)}", *endpoints, of=f"shop/s{number % 2}", ports=ports)


@pytest.mark.parametrize("seed", range(25))
def test_incremental_is_a_fresh_compile(seed):
    dice = random.Random(seed)
    graph = Graph(check=True)
    outputs, inputs, taken = wire(graph), {}, set()
    for _ in range(250):
        value = any_input(dice)
        place = type(value), key_of(value)
        if dice.random() < 0.3:
            graph.tables[place[0]].remove(place[1])
            inputs.pop(place, None)
        else:
            graph.tables[place[0]].put(place[1], value)
            inputs[place] = value
        if dice.random() < 0.3:
            graph.settle(limit=dice.randrange(5))
        if dice.random() < 0.3:
            graph.settle()
            taken = applied(taken, outputs.northbound.take())
    graph.settle()
    taken = applied(taken, outputs.northbound.take())
    assert not graph.failures
    assert not outputs.northbound.contradictions()
    assert taken == set(outputs.northbound) == compile_cluster(inputs.values())


def applied(facts, delta: Delta):
    """The deltas, added up as a sink would: nothing is removed that was not there, nothing added that was."""
    assert delta.removed <= facts
    left = facts - delta.removed
    assert not delta.added & left
    return left | delta.added


def test_every_kind_of_input_is_walked_over():
    dice = random.Random(0)
    kinds = {type(any_input(dice)) for _ in range(300)}
    policies = {NetworkPolicy, ClusterNetworkPolicy, AdminNetworkPolicy, BaselineAdminNetworkPolicy}
    assert kinds == {Cluster, Namespace, Node, Pod, NodeSubnets, PodAllocation, Service, EndpointSlice, *policies}
