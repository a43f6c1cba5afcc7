"""Cluster states in sequence, turned round by the expanders: the path never matters.

Symmetric sequences do not test "A goes while B still refers to it"; those are written by hand, below.
"""

import functools

import pytest

from ovnk.incremental.graph import Graph
from ovnk.kube.policy_objects import Block, NodePeers, PodPeers, PolicyPort, Rule
from ovnk.kube.service_objects import Endpoint
from ovnk.translate import compile_cluster, wire
from tests.builders import (
    allocation,
    allowing,
    cluster,
    cluster_policy,
    endpoint_slice,
    namespace,
    node,
    pod,
    policy,
    selecting,
    service,
    subnets,
)
from tests.expanders import expansions, place, steps

WEB, DB = pod("web-0"), pod("db-0", node="node-2", uid="uid-db")
WEB_AGAIN = pod("web-0", uid="another")
ONE, TWO = node("node-1"), node("node-2", number=2)
V6 = ("10.244.1.0/24", "fd00:10:244:1::/64")

NOTHING = ()
ROUTER = (cluster(),)
NODES = (*ROUTER, ONE, subnets("node-1"), TWO, subnets("node-2", "10.244.2.0/24"))
PODS = (*NODES, namespace(), WEB, allocation(WEB), DB, allocation(DB, "10.244.2.3"))
UNSCHEDULED = (*NODES, pod("web-0", node=""), DB, allocation(DB, "10.244.2.3"))
HOST_NETWORK = (*NODES, pod("web-0", host_network=True), allocation(WEB))
FINISHED = (*NODES, pod("web-0", finished=True), allocation(WEB), DB, allocation(DB, "10.244.2.3"))
SUCCESSOR = (*NODES, WEB_AGAIN, allocation(WEB_AGAIN, "10.244.1.4"))
STALE_ALLOCATION = (*NODES, WEB_AGAIN, allocation(WEB))
MOVED = (*NODES, pod("web-0", node="node-2", uid="moved"), allocation(pod("web-0", uid="moved"), "10.244.2.9"))
DUAL_STACK = (*ROUTER, ONE, subnets("node-1", *V6), WEB, allocation(WEB, "10.244.1.3", "fd00:10:244:1::3"))
IPV6_ONLY = (*ROUTER, ONE, subnets("node-1", V6[1]), WEB, allocation(WEB, "fd00:10:244:1::3"))
READDRESSED = (*ROUTER, node("node-1", addresses=("192.168.100.77",)), subnets("node-1"), TWO)

HERE, THERE = Endpoint("10.244.1.3", node="node-1"), Endpoint("10.244.2.3", node="node-2")
HINTED = [
    Endpoint("10.244.1.3", node="node-1", zones=("eu-1",), nodes=("node-1",)),
    Endpoint("10.244.2.3", node="node-2", zones=("eu-2",), nodes=("node-2",)),
]
IN_ZONES = (*ROUTER, node("node-1", zone="eu-1"), subnets("node-1"), node("node-2", number=2, zone="eu-2"))
IN_ZONES = (*IN_ZONES, subnets("node-2", "10.244.2.0/24"))
NO_ENDPOINTS = (*NODES, service())
ENDPOINTS = (*NODES, service(), endpoint_slice("web-1", HERE, THERE))
TWO_SLICES = (*NODES, service(), endpoint_slice("web-1", HERE), endpoint_slice("web-2", THERE, ports=[("", "TCP", 90)]))
LOCAL = (*NODES, service(internal_local=True), endpoint_slice("web-1", HERE))
LOCAL_MOVED = (*NODES, service(internal_local=True), endpoint_slice("web-1", THERE))
NEAR = (*IN_ZONES, service(), endpoint_slice("web-1", *[Endpoint(e.address, zones=e.zones) for e in HINTED]))
SAME_NODE = (*IN_ZONES, service(), endpoint_slice("web-1", *HINTED))
TWO_PROTOCOLS = (*NODES, service(ports=[("", "TCP", 80), ("", "UDP", 80)]), endpoint_slice("web-1", HERE))

TEAM = PodPeers((), namespaces=selecting(team="a"))
NAMED = pod("web-0", labels={"app": "web"}, ports=(("http", "TCP", 8080),))
AT_HTTP = policy(ingress=(allowing(TEAM, ports=(PolicyPort("TCP", name="http"),)),), log="both")
GUARDED = (*NODES, namespace(team="a"), NAMED, allocation(NAMED), DB, allocation(DB, "10.244.2.3"), AT_HTTP)
RELABELLED = tuple(namespace(team="b") if one == namespace(team="a") else one for one in GUARDED)
UNDERSTOOD_NO_LONGER = (*GUARDED[:-1], policy(ingress=(), egress=(), invalid="spec is wrong"))

PASSING = Rule((PodPeers(selecting(app="web"), namespaces=()),), (PolicyPort("TCP", 80, 80),), "Pass")
NOBODY = Rule((NodePeers(()), Block("0.0.0.0/0")), None, "Deny")
BY_NAME = Rule((TEAM,), (PolicyPort("TCP", name="http"),), "Accept")
ADMIN = cluster_policy(subject=TEAM, ingress=[BY_NAME], egress=[PASSING, NOBODY])
ADMINISTERED = (*GUARDED, ADMIN)
WITH_TIERS = (cluster(acl_tiers=True), *ADMINISTERED[1:])
# So many turns that no priority is where it was.
TALL = cluster_policy("tall", 3, ingress=[Rule((TEAM,), None, one) for one in ("Accept", "Deny") * 20])
PACKED = (*ADMINISTERED, TALL)
OVERRULED = (*GUARDED, cluster_policy(subject=TEAM, egress=[NOBODY]))

# A goes while B still refers to it.
POLICY_LEFT_ALONE = (*ROUTER, AT_HTTP)
ADMIN_LEFT_ALONE = (*ROUTER, ADMIN)
NAMESPACE_GONE_POLICY_LEFT = tuple(one for one in GUARDED if one != namespace(team="a"))
POLICY_GONE_PODS_LEFT = GUARDED[:-1]
SERVICE_GONE_SLICE_LEFT = (*NODES, endpoint_slice("web-1", HERE, THERE))
NODE_GONE_ENDPOINTS_LEFT = (*ROUTER, service(internal_local=True), endpoint_slice("web-1", HERE), TWO)
ZONE_GONE_HINTS_LEFT = (*NODES, *NEAR[5:])
NODE_GONE_PODS_LEFT = (*ROUTER, WEB, allocation(WEB), TWO, subnets("node-2", "10.244.2.0/24"))
SUBNETS_GONE_PODS_LEFT = (*ROUTER, ONE, WEB, allocation(WEB))
ALLOCATION_GONE_POD_LEFT = (*NODES, WEB)
POD_GONE_ALLOCATION_LEFT = (*NODES, allocation(WEB))
NODE_GONE_SUBNETS_LEFT = (*ROUTER, subnets("node-1"), WEB, allocation(WEB))
ROUTER_GONE_NODES_LEFT = NODES[1:]

SEQUENCES = {
    "a cluster grows and goes": [NOTHING, ROUTER, NODES, PODS, NODES, NOTHING],
    "a pod is scheduled, runs and finishes": [UNSCHEDULED, PODS, FINISHED],
    "a pod is replaced by one of its name": [PODS, SUCCESSOR, STALE_ALLOCATION, MOVED],
    "host network comes and goes": [PODS, HOST_NETWORK, PODS],
    "families come and go": [DUAL_STACK, IPV6_ONLY, DUAL_STACK, PODS],
    "a node is readdressed": [NODES, READDRESSED, NODES],
    "the node goes before its pods": [PODS, NODE_GONE_PODS_LEFT, PODS, NODE_GONE_SUBNETS_LEFT],
    "subnets go before the pods": [PODS, SUBNETS_GONE_PODS_LEFT, PODS],
    "allocation and pod go in either order": [PODS, ALLOCATION_GONE_POD_LEFT, POD_GONE_ALLOCATION_LEFT],
    "the cluster's settings go first": [PODS, ROUTER_GONE_NODES_LEFT],
    "a Service gets endpoints and loses them": [NODES, NO_ENDPOINTS, ENDPOINTS, TWO_SLICES, NO_ENDPOINTS],
    "a Service is for nodes, then for all": [ENDPOINTS, LOCAL, LOCAL_MOVED, ENDPOINTS],
    "hints come and go": [ENDPOINTS, NEAR, SAME_NODE, NEAR, ENDPOINTS],
    "a protocol comes and goes": [ENDPOINTS, TWO_PROTOCOLS, ENDPOINTS],
    "the Service goes before its slices": [ENDPOINTS, SERVICE_GONE_SLICE_LEFT, NODES],
    "the node goes before its endpoints": [LOCAL, NODE_GONE_ENDPOINTS_LEFT, LOCAL],
    "zones go before the hints": [NEAR, ZONE_GONE_HINTS_LEFT, NEAR],
    "a policy comes and goes": [NODES, GUARDED, POLICY_GONE_PODS_LEFT, NODES],
    "a namespace is relabelled": [GUARDED, RELABELLED, GUARDED],
    "an admin comes, changes his mind and goes": [GUARDED, ADMINISTERED, OVERRULED, ADMINISTERED, NODES],
    "the northbound gets tiers and loses them": [ADMINISTERED, WITH_TIERS, ADMINISTERED],
    "a policy of many turns comes and goes": [ADMINISTERED, PACKED, ADMINISTERED],
    "the nodes go before the policy that names them": [ADMINISTERED, ADMIN_LEFT_ALONE, NOTHING],
    "a policy is broken and mended": [GUARDED, UNDERSTOOD_NO_LONGER, GUARDED],
    "the namespace goes before its policy": [GUARDED, NAMESPACE_GONE_POLICY_LEFT, POLICY_LEFT_ALONE, NOTHING],
}

CASES = [
    pytest.param(expanded, id=f"{name}, {how}")
    for name, sequence in SEQUENCES.items()
    for how, expanded in expansions(sequence)
]


@functools.cache
def compiled(state):
    """What a fresh compile gives: the same state is reached on many paths."""
    return compile_cluster(state)


@pytest.mark.parametrize("flush", ["after every value", "every value twice", "after every state", "at the end"])
@pytest.mark.parametrize("sequence", CASES)
def test_every_path_to_a_state_gives_the_same(sequence, flush):
    graph = Graph(check=True)
    outputs = wire(graph)
    for changes, state in steps(sequence):
        for (kind, key), value in changes:
            for _ in range(2 if flush == "every value twice" else 1):
                graph.tables[kind].remove(key) if value is None else graph.tables[kind].put(key, value)
            if flush in ("after every value", "every value twice"):
                graph.settle()
        if flush != "at the end":
            graph.settle()
            assert set(outputs.northbound) == compiled(state)
    graph.settle()
    outputs.northbound.take()
    assert set(outputs.northbound) == compiled(sequence[-1])
    assert not graph.failures
    assert not outputs.northbound.contradictions()


def test_a_state_names_each_input_once():
    for sequence in SEQUENCES.values():
        for state in sequence:
            assert len({place(value) for value in state}) == len(state)
