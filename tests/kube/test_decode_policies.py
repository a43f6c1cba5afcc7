"""Decoding NetworkPolicies: what is granted by default, and that what cannot be understood denies."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovnk.errors import InvalidObject
from ovnk.kube.decode_policies import network_policy
from ovnk.kube.policy_objects import Block, NetworkPolicy, PodPeers, PolicyPort, Requirement, Rule


def policy(**spec: Any) -> NetworkPolicy:
    metadata = {"name": "web", "namespace": "shop", "uid": "u1"}
    return network_policy(json.dumps({"metadata": metadata, "spec": {"podSelector": {}, **spec}}).encode())


@pytest.mark.parametrize(
    ("spec", "ingress", "egress"),
    [
        ({}, (), None),
        ({"ingress": []}, (), None),
        ({"egress": []}, (), None),
        ({"egress": [{}]}, (), (Rule(None, None),)),
        ({"policyTypes": ["Egress"]}, None, ()),
        ({"policyTypes": ["Egress"], "ingress": [{}]}, None, ()),
        ({"policyTypes": ["Ingress"], "egress": [{}]}, (), None),
        ({"policyTypes": [], "egress": [{}]}, (), (Rule(None, None),)),
        ({"ingress": [{"from": [], "ports": []}]}, (Rule(None, None),), None),
    ],
)
def test_directions_are_defaulted(spec: Any, ingress: Any, egress: Any) -> None:
    found = policy(**spec)
    assert (found.ingress, found.egress, found.invalid) == (ingress, egress, "")


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        ({"podSelector": {}}, PodPeers((), namespace="shop")),
        ({"namespaceSelector": {}}, PodPeers((), namespaces=())),
        (
            {"podSelector": {"matchLabels": {"b": "2", "a": "1"}}, "namespaceSelector": {"matchLabels": {"t": "x"}}},
            PodPeers(
                (Requirement("a", "In", ("1",)), Requirement("b", "In", ("2",))),
                namespaces=(Requirement("t", "In", ("x",)),),
            ),
        ),
        ({"ipBlock": {"cidr": "10.1.2.3/8", "except": ["10.2.0.0/16"]}}, Block("10.0.0.0/8", ("10.2.0.0/16",))),
    ],
)
def test_peers(peer: Any, expected: Any) -> None:
    assert policy(ingress=[{"from": [peer]}]).ingress == (Rule((expected,), None),)


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        ({}, PolicyPort("TCP")),
        ({"port": 80}, PolicyPort("TCP", 80, 80)),
        ({"port": 80, "endPort": 90, "protocol": "UDP"}, PolicyPort("UDP", 80, 90)),
        ({"port": "http", "protocol": "SCTP"}, PolicyPort("SCTP", name="http")),
    ],
)
def test_ports(port: Any, expected: Any) -> None:
    assert policy(ingress=[{"ports": [port]}]).ingress == (Rule(None, (expected,)),)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"policyTypes": ["Sideways"]}, 'spec.policyTypes[0] "Sideways" is neither'),
        ({"podSelector": {"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}}, 'operator "Gt"'),
        ({"podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}, "In without values"),
        ({"podSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}}, "with values"),
        ({"podSelector": {"matchLabels": {"a b": "c"}}}, 'key "a b"'),
        ({"podSelector": 7}, "spec.podSelector"),
        ({"ingress": [{"from": [{}]}]}, "spec.ingress[0].from[0] has none of"),
        ({"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0/8"}}]}]}, '"10.0.0/8" is not a CIDR'),
        ({"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}]}]}, "an entry of its own"),
        ({"egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/9"]}}]}]}, "not a part of"),
        ({"egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}}]}]}, "not a part of"),
        ({"egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["fd00::/9"]}}]}]}, "not a part of"),
        ({"ingress": [{"ports": [{"port": 80, "endPort": 79}]}]}, "79 is not between port 80"),
        ({"ingress": [{"ports": [{"port": "http", "endPort": 90}]}]}, "a range needs a number"),
        ({"ingress": [{"ports": [{"endPort": 90}]}]}, "stands without a port"),
        ({"ingress": [{"ports": [{"port": 0}]}]}, "0 is not between 1"),
        ({"ingress": [{"ports": [{"port": "no--name"}]}]}, '"no--name" is neither'),
        ({"ingress": [{"ports": [{"protocol": "QUIC"}]}]}, '"QUIC" is none of'),
    ],
)
def test_what_cannot_be_understood_denies_and_says_why(spec: Any, says: str) -> None:
    found = policy(**spec)
    assert says in found.invalid
    assert (found.ingress, found.egress) == ((), ())


anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["podSelector", "ingress", "egress", "from", "to", "ports", "port", "ipBlock", "cidr", "matchLabels"]
            ),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=12,
)


@given(anything)
def test_whatever_the_spec_is_a_policy_comes_out_and_a_wrong_one_isolates(spec: Any) -> None:
    raw = json.dumps({"metadata": {"name": "web", "namespace": "shop"}, "spec": spec}).encode()
    found = network_policy(raw)
    if found.invalid:
        assert (found.ingress, found.egress) == ((), ())
    assert found.ingress is not None or found.egress is not None


@given(st.permutations([("a", "1"), ("b", "2"), ("c", "3")]))
def test_equal_selectors_are_equal_values(labels: list[tuple[str, str]]) -> None:
    some = policy(podSelector={"matchLabels": dict(labels)})
    others = policy(
        podSelector={
            "matchExpressions": [{"key": key, "operator": "In", "values": [value, value]} for key, value in labels]
        }
    )
    assert some == others


def test_a_policy_without_a_name_is_no_object() -> None:
    with pytest.raises(InvalidObject, match=r"metadata\.name is missing"):
        network_policy(b'{"metadata": {"namespace": "shop"}}')
