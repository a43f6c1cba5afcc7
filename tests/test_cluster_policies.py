"""Cluster-wide policies beyond what random clusters reach: where rules stand, ties, limits, and what is told."""

import itertools

import pytest

from ovnk.incremental.graph import Graph
from ovnk.kube.policy_objects import (
    BaselineAdminNetworkPolicy,
    Block,
    ClusterNetworkPolicy,
    NodePeers,
    PodPeers,
    PolicyPort,
    Requirement,
    Rule,
)
from ovnk.translate import cluster_policies, compile_cluster, key_of, names, precedence, residues, wire
from ovnk.translate.cluster_policy_values import Height
from tests.builders import allocation, cluster, cluster_policy, namespace, node, pod, selecting, subnets
from tests.oracle.acls import Acls

WEB, DB = pod("web", labels={"app": "web"}), pod("db", labels={"app": "db"})
CLUSTER = [cluster(), node(), subnets(), namespace(), WEB, allocation(WEB), DB, allocation(DB, "10.244.1.4")]
EVERY_POD = PodPeers((), namespaces=())
WEB_PODS, DB_PODS = (PodPeers(selecting(app=app), namespaces=()) for app in ("web", "db"))


def rule(action, *peers, ports=None):
    return Rule(peers or (EVERY_POD,), ports, action)


def with_tiers(values):
    return [cluster(acl_tiers=True), *values[1:]]


def acls(facts):
    return [dict(fact.columns) for fact in facts if fact.table == "ACL" and getattr(fact, "owner", "").count("Policy")]


def passes(values, port=80):
    """Whether web gets through to db."""
    packet = {"ip": True, "ip4": True, "tcp": True, "tcp.dst": port, "ip4.src": "10.244.1.3", "ip4.dst": "10.244.1.4"}
    return Acls(compile_cluster(values)).passes("shop/web", "shop/db", packet)


def told(values):
    graph = Graph()
    outputs = wire(graph)
    for value in values:
        graph.tables[type(value)].put(key_of(value), value)
    graph.settle()
    (standing,) = outputs.standings
    assert set(standing.faults) == {one.message for one in outputs.notices}
    return list(standing.faults)


def test_rules_stand_one_after_the_other_where_they_do_different_things():
    actions = ["Accept", "Accept", "Deny", "Pass", "Deny", "Deny", "Accept"]
    assert precedence.slots([rule(action) for action in actions]) == [2, 2, 3, 4, 6, 6, 8]


@pytest.mark.parametrize(
    ("tier", "priority", "slot", "expected"),
    [("Admin", 0, 0, 31999), ("Admin", 1000, 20, 10979), ("Baseline", 0, 0, 9999), ("Baseline", 1000, 8, 991)],
)
def test_every_priority_has_its_place_between_node_access_and_network_policies(tier, priority, slot, expected):
    assert precedence.acl_priority(tier, priority, slot, None) == expected
    assert names.POLICY_BANDS["Admin"].first < names.NODE_ACCESS_PRIORITY
    assert names.POLICY_BANDS["Admin"].last > names.NETWORK_POLICY_PRIORITY > names.ISOLATION_PRIORITY
    assert names.POLICY_BANDS["Baseline"].first < names.ISOLATION_PRIORITY


def test_a_policy_of_many_turns_packs_its_line_and_no_other():
    tall, low = Height("Admin", "ingress", 5, 99), Height("Admin", "ingress", 900, 3)
    other = Height("Admin", "egress", 5, 4)
    places = {(one.direction, one.priority): one.place for one in precedence.packed([tall, low, other])}
    assert places == {("ingress", 5): 0, ("ingress", 900): 99}


@pytest.mark.parametrize("tiers", [False, True])
def test_a_hundred_rules_that_turn_each_time_are_enforced_in_their_order(tiers):
    """More than the grid has room for, as an AdminNetworkPolicy may have; the last port has its own rule."""
    turns = [
        rule(action, ports=(PolicyPort("TCP", 1, number),))
        for number, action in zip(range(1, 101), itertools.cycle(["Accept", "Deny"]), strict=False)
    ]
    values = [*CLUSTER, cluster_policy("tall", ingress=turns), cluster_policy("low", 1000, ingress=[rule("Deny")])]
    values = with_tiers(values) if tiers else values
    assert [passes(values, port) for port in (1, 2, 99, 100, 101)] == [True, False, True, False, False]


def test_who_has_no_room_left_denies_last_of_all_or_is_left_out():
    """Hundreds of policies that turn a hundred times each fill the band."""
    turns = [rule(action) for action in ["Accept", "Deny"] * 50]
    many = [cluster_policy(f"p{number}", number, ingress=turns) for number in range(200)]
    last = cluster_policy("last", 1000, ingress=[rule("Deny"), rule("Accept")])
    some = acls(compile_cluster([*CLUSTER, *many, last]))
    of_last = [(one["priority"], one["action"]) for one in some if one["name"].startswith("CNP:last:")]
    assert of_last == [(names.POLICY_BANDS["Admin"].last, "drop")]
    assert min(one["priority"] for one in some) == names.POLICY_BANDS["Admin"].last


@pytest.mark.parametrize("tiers", [False, True])
@pytest.mark.parametrize(
    ("actions", "expected"),
    [(("Accept", "Deny"), False), (("Accept", "Pass"), False), (("Deny", "Pass"), False), (("Accept", "Accept"), True)],
)
def test_of_two_policies_of_one_priority_what_denies_and_what_passes_come_first(tiers, actions, expected):
    """The API leaves it open; here it is the same whatever they are called. The Baseline tier denies the rest."""
    for order in (actions, actions[::-1]):
        values = [
            *CLUSTER,
            *(cluster_policy(f"p{number}", 5, ingress=[rule(action)]) for number, action in enumerate(order)),
            cluster_policy("rest", 5, tier="Baseline", ingress=[rule("Deny")]),
        ]
        assert passes(with_tiers(values) if tiers else values) is expected


def test_with_tiers_every_rule_is_an_acl_of_its_tier():
    values = with_tiers([*CLUSTER, cluster_policy(ingress=[rule("Pass"), rule("Deny")])])
    found = {(one["action"], one["tier"]) for one in acls(compile_cluster(values))}
    assert found == {("pass", 0), ("drop", 0)}


def test_without_tiers_what_passes_all_leaves_nothing_behind():
    assert acls(compile_cluster([*CLUSTER, cluster_policy(ingress=[rule("Pass"), rule("Deny")])])) == []


def test_a_pass_by_name_denies_without_tiers_and_says_so():
    policy = cluster_policy(ingress=[rule("Pass", ports=(PolicyPort("TCP", name="http"), PolicyPort("UDP", 53, 53)))])
    assert told([*CLUSTER, policy]) == [
        "spec.ingress[0] passes by the name of a port, which OVN before 23.06 cannot do; it denies there instead"
    ]
    assert told(with_tiers([*CLUSTER, policy])) == []


def test_a_hundred_ports_passed_to_as_many_peers_are_taken_out_one_by_one():
    some = [PodPeers((Requirement("app", "In", (f"a{number}",)),), namespaces=()) for number in range(99)]
    passing = [rule("Pass", one, ports=(PolicyPort("TCP", n, n),)) for n, one in enumerate([*some, WEB_PODS], 1)]
    values = [*CLUSTER, cluster_policy(ingress=[*passing, rule("Deny")])]
    assert told(values) == []
    assert [passes(values, port) for port in (1, 99, 100, 101)] == [False, False, True, False]


def test_what_passes_before_is_not_denied_by_a_pass_by_name():
    named = rule("Pass", ports=(PolicyPort("TCP", name="http"),))
    served = pod("db", labels={"app": "db"}, ports=(("http", "TCP", 80),))
    values = [*[one for one in CLUSTER if one != DB], served]
    assert not passes([*values, cluster_policy(ingress=[named])])
    assert passes([*values, cluster_policy(ingress=[rule("Pass"), named])])
    assert passes([*values, cluster_policy("a", 1, ingress=[rule("Pass")]), cluster_policy("b", 2, ingress=[named])])


def test_what_cannot_be_said_without_tiers_fails_closed_and_says_so():
    """Each Pass leaves a choice of four, and the choices multiply."""
    passing = [
        rule("Pass", PodPeers(tuple(Requirement(f"k{number}{key}", "Exists") for key in "abcd"), namespaces=()))
        for number in range(5)
    ]
    policy = cluster_policy(ingress=[*passing, rule("Accept", ports=(PolicyPort("TCP", 80, 80),)), rule("Deny")])
    accepting, denying = told([*CLUSTER, policy])
    assert accepting == f"spec.ingress[5] {cluster_policies.INTRICATE}; it accepts nothing"
    assert denying == f"spec.ingress[6] {cluster_policies.INTRICATE}; it denies all the same what they pass"
    assert not passes([*CLUSTER, policy])
    assert passes(with_tiers([*CLUSTER, policy]))


def test_the_baseline_policy_of_the_older_api_comes_after_the_newer_ones():
    baseline = BaselineAdminNetworkPolicy("default", "u", "Baseline", 1000, EVERY_POD, (rule("Deny"),))
    assert not passes([*CLUSTER, baseline])
    assert passes([*CLUSTER, baseline, cluster_policy(tier="Baseline", ingress=[rule("Accept")])])


def test_pods_without_some_are_pods_of_the_opposite_selectors():
    both = PodPeers(selecting(app="web", team="a"), namespaces=())
    not_web, not_a = Requirement("app", "NotIn", ("web",)), Requirement("team", "NotIn", ("a",))
    assert residues.minus(EVERY_POD, both) == (PodPeers((not_web,), namespaces=()), PodPeers((not_a,), namespaces=()))
    assert residues.minus(DB_PODS, WEB_PODS) == (DB_PODS,)
    assert residues.minus(WEB_PODS, WEB_PODS) == residues.minus(WEB_PODS, EVERY_POD) == ()


def test_a_network_behind_passed_nodes_follows_the_nodes():
    policy = cluster_policy(egress=[rule("Pass", NodePeers(())), rule("Deny", Block("192.168.100.0/30"))])

    def networks(*addresses):
        nodes = [node(f"n{address}", number=address) for address in addresses]
        facts = compile_cluster([*CLUSTER, policy, *nodes])
        (found,) = [
            dict(fact.columns)["addresses"] for fact in facts if fact.table == "Address_Set" and "networks" in str(fact)
        ]
        return found

    assert networks() == ("192.168.100.0/32", "192.168.100.2/31")
    assert networks(2) == ("192.168.100.0/32", "192.168.100.3/32")


def test_a_policy_about_no_rule_makes_nothing():
    assert compile_cluster([*CLUSTER, cluster_policy()]) == compile_cluster(CLUSTER)
    assert isinstance(cluster_policy(), ClusterNetworkPolicy)
