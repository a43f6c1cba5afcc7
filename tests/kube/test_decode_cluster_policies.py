"""Decoding cluster-wide policies: both versions say the same, and what cannot be understood fails closed."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovnk.errors import InvalidObject
from ovnk.kube.decode_cluster_policies import (
    admin_network_policy,
    baseline_admin_network_policy,
    cluster_network_policy,
)
from ovnk.kube.policy_objects import (
    AdminNetworkPolicy,
    BaselineAdminNetworkPolicy,
    Block,
    ClusterNetworkPolicy,
    NodePeers,
    PodPeers,
    PolicyPort,
    Rule,
)
from tests.builders import selecting

TEAM = {"namespaces": {"matchLabels": {"team": "a"}}}
WEB = {"pods": {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "web"}}}}
TEAMS_PODS = PodPeers((), namespaces=selecting(team="a"))
WEB_PODS = PodPeers(selecting(app="web"), namespaces=())
EVERY_POD = PodPeers((), namespaces=())

NOTHING_ACCEPTED = Rule((), None, "Accept")
ALL_DENIED = Rule(None, None, "Deny")


FIELDS = ["tier", "priority", "subject", "ingress", "egress", "action", "from", "to", "protocols", "ports", "tcp"]
FIELDS += [
    "namespaces",
    "pods",
    "podSelector",
    "nodes",
    "networks",
    "domainNames",
    "matchExpressions",
    "key",
    "operator",
]
FIELDS += ["values", "destinationPort", "number", "range"]


def manifest(**spec: Any) -> bytes:
    return json.dumps({"metadata": {"name": "p", "uid": "u1", "generation": 3}, "spec": spec}).encode()


def cluster(**spec: Any) -> ClusterNetworkPolicy:
    return cluster_network_policy(manifest(**{"tier": "Admin", "priority": 7, "subject": TEAM, **spec}))


def admin(**spec: Any) -> AdminNetworkPolicy:
    return admin_network_policy(manifest(**{"priority": 7, "subject": TEAM, **spec}))


def baseline(**spec: Any) -> BaselineAdminNetworkPolicy:
    return baseline_admin_network_policy(manifest(**{"subject": TEAM, **spec}))


def egress(action: str, *peers: Any, **more: Any) -> dict[str, Any]:
    return {"egress": [{"action": action, "to": list(peers), **more}]}


def test_where_each_kind_stands() -> None:
    places = [(one.tier, one.priority) for one in (cluster(tier="Baseline"), cluster(), admin(), baseline())]
    assert places == [("Baseline", 7), ("Admin", 7), ("Admin", 7), ("Baseline", 1000)]
    assert (cluster().uid, cluster().generation, cluster().subject) == ("u1", 3, TEAMS_PODS)


def test_peers() -> None:
    found = cluster(**egress("Deny", TEAM, WEB, {"nodes": {}}, {"networks": ["10.1.2.3/8", "::/0"]}))
    peers = (TEAMS_PODS, WEB_PODS, NodePeers(()), Block("10.0.0.0/8"), Block("::/0"))
    assert (found.egress, found.invalid) == ((Rule(peers, None, "Deny"),), ())


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        (
            {"tcp": {"destinationPort": {"number": 80}}},
            {"portNumber": {"port": 80}},
            [PolicyPort("TCP", 80, 80)],
        ),
        (
            {"udp": {"destinationPort": {"range": {"start": 80, "end": 90}}}},
            {"portRange": {"protocol": "UDP", "start": 80, "end": 90}},
            [PolicyPort("UDP", 80, 90)],
        ),
        (
            {"destinationNamedPort": "http"},
            {"namedPort": "http"},
            [PolicyPort(protocol, name="http") for protocol in ("TCP", "UDP", "SCTP")],
        ),
    ],
)
def test_ports_are_the_same_in_both_versions(new: Any, old: Any, expected: Any) -> None:
    rule = Rule((TEAMS_PODS,), tuple(expected), "Accept", "some")
    assert cluster(**egress("Accept", TEAM, protocols=[new], name="some")).egress == (rule,)
    assert admin(**egress("Allow", TEAM, ports=[old], name="some")).egress == (rule,)


@pytest.mark.parametrize(
    ("peers", "more", "says"),
    [
        ([{}], {}, "spec.egress[0].to[0] must have one of namespaces, pods, nodes and networks"),
        ([{"serviceAccounts": {}}], {}, "spec.egress[0].to[0] must have one of"),
        ([TEAM | WEB], {}, "spec.egress[0].to[0] must have one of"),
        ([{"domainNames": ["example.org"]}], {}, "spec.egress[0].to[0] has domainNames, which are not supported"),
        ([], {}, "spec.egress[0].to is empty"),
        ([{"networks": ["10.0.0/8"]}], {}, 'spec.egress[0].to[0].networks[0] "10.0.0/8" is not a CIDR'),
        ([{"pods": {"podSelector": {}}}], {}, "spec.egress[0].to[0].pods must have both"),
        (
            [{"namespaces": {"matchExpressions": [{"key": "a", "operator": "Near"}]}}],
            {},
            'has the operator "Near"',
        ),
        ([TEAM], {"protocols": []}, "spec.egress[0].protocols is empty"),
        ([TEAM], {"protocols": [{"icmp": {}}]}, "spec.egress[0].protocols[0] must have one of tcp, udp, sctp"),
        ([TEAM], {"protocols": [{"tcp": {"sourcePort": 1}}]}, "tcp.destinationPort must have either number or range"),
        ([TEAM], {"protocols": [{"tcp": {"destinationPort": {"number": 0}}}]}, "0 is not between 1 and 65535"),
        (
            [TEAM],
            {"protocols": [{"tcp": {"destinationPort": {"range": {"start": 9, "end": 8}}}}]},
            "9 to 8 is not between 1 and 65535",
        ),
        (
            [{"nodes": {}}],
            {"protocols": [{"destinationNamedPort": "http"}]},
            "has nodes or networks, which have no named ports",
        ),
    ],
)
def test_a_rule_that_cannot_be_understood_fails_closed(peers: Any, more: Any, says: str) -> None:
    accepting, denying, passing = (cluster(**egress(action, *peers, **more)) for action in ("Accept", "Deny", "Pass"))
    assert accepting.egress == (NOTHING_ACCEPTED,)
    assert denying.egress == passing.egress == (ALL_DENIED,)
    assert says in accepting.invalid[0]
    assert accepting.invalid[0].endswith("; the rule accepts nothing")
    assert denying.invalid[0].endswith("; the rule denies everything")


def test_an_unknown_action_denies() -> None:
    found = cluster(**egress("Log", TEAM))
    assert found.egress == (ALL_DENIED,)
    assert found.invalid == ('spec.egress[0].action "Log" is none of Accept, Deny, Pass; the rule denies everything',)
    assert admin(**egress("Accept", TEAM)).invalid
    assert baseline(**egress("Pass", TEAM)).egress == (ALL_DENIED,)


def test_nodes_and_networks_are_no_sources() -> None:
    found = cluster(ingress=[{"action": "Deny", "from": [{"networks": ["10.0.0.0/8"]}]}])
    assert found.ingress == (ALL_DENIED,)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"tier": "Middle"}, 'spec.tier "Middle" is neither Admin nor Baseline'),
        ({"priority": 1001}, "spec.priority 1001 is not between 0 and 1000"),
        ({"priority": None}, "spec.priority None is not between"),
        ({"subject": {}}, "spec.subject has none of namespaces and pods"),
        ({"subject": TEAM | WEB}, "spec.subject has both namespaces and pods"),
    ],
)
def test_what_is_about_nobody_knows_whom_denies_everybody_first_and_accepts_nothing(wrong: Any, says: str) -> None:
    rules = [{"action": action, "to": [WEB]} for action in ("Accept", "Deny", "Pass")]
    found = cluster(**{"egress": rules, **wrong})
    assert (found.tier, found.priority) == ("Admin", 0)
    assert found.egress == (NOTHING_ACCEPTED, Rule((WEB_PODS,), None, "Deny"), Rule((WEB_PODS,), None, "Pass"))
    assert says in found.invalid[0]


def test_another_api_of_the_same_name_denies_everything() -> None:
    found = cluster(priority="high")
    assert (found.subject, found.ingress, found.egress) == (EVERY_POD, (ALL_DENIED,), (ALL_DENIED,))
    assert "spec.priority cannot be used" in found.invalid[0]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(FIELDS),
                inner,
                max_size=4,
            )
        ),
        max_leaves=20,
    ),
    st.sampled_from([cluster_network_policy, admin_network_policy, baseline_admin_network_policy]),
)
def test_whatever_stands_in_the_spec_a_policy_comes_out(spec: Any, decoded: Any) -> None:
    found = decoded(json.dumps({"metadata": {"name": "p"}, "spec": spec}).encode())
    assert all(rule.action in ("Accept", "Deny", "Pass") for rule in (*found.ingress, *found.egress))


def test_one_without_a_name_is_none() -> None:
    with pytest.raises(InvalidObject):
        cluster_network_policy(b'{"spec": {}}')
