"""Random cluster-wide policies as manifests, of few names and labels, so that they meet; no two of one priority."""

from typing import Any

from hypothesis import strategies as st

from tests.oracle.policies import Object

GROUP = "policy.networking.k8s.io"
NAMES = ("http", "dns")

_values = st.sampled_from(["a", "b"])
_requirements = st.one_of(
    st.builds(
        lambda key, operator, values: {"key": key, "operator": operator, "values": values},
        st.sampled_from(["app", "team"]),
        st.sampled_from(["In", "NotIn"]),
        st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=2, unique=True),
    ),
    st.builds(
        lambda key, operator: {"key": key, "operator": operator},
        st.sampled_from(["app", "team"]),
        st.sampled_from(["Exists", "DoesNotExist"]),
    ),
)
_selectors = st.one_of(
    st.just({}),
    st.builds(lambda key, value: {"matchLabels": {key: value}}, st.sampled_from(["app", "team"]), _values),
    st.builds(lambda some: {"matchExpressions": some}, st.lists(_requirements, min_size=1, max_size=2)),
)
_pods = st.one_of(
    st.builds(lambda spaces: {"namespaces": spaces}, _selectors),
    st.builds(
        lambda spaces, pods: {"pods": {"namespaceSelector": spaces, "podSelector": pods}}, _selectors, _selectors
    ),
)
_networks = st.lists(
    st.sampled_from(
        [
            "0.0.0.0/0",
            "::/0",
            "10.244.0.0/16",
            "10.244.1.0/24",
            "10.244.1.4/32",
            "192.168.100.2/32",
            "198.51.100.0/25",
            "fd00::/16",
            "fd00:10:244:1::/64",
        ]
    ),
    min_size=1,
    max_size=2,
    unique=True,
)
_nodes = st.one_of(st.just({}), st.sampled_from(["n1", "n2"]).map(lambda name: {"matchLabels": {"name": name}}))
_elsewhere = st.one_of(
    st.builds(lambda networks: {"networks": networks}, _networks), st.builds(lambda nodes: {"nodes": nodes}, _nodes)
)
# (protocol, first, last) as either API writes them.
_numbers = st.sampled_from(
    [("TCP", 80, 80), ("UDP", 80, 80), ("SCTP", 443, 443), ("TCP", 81, 8080), ("TCP", 443, 9000)]
)


def _protocol(number: tuple[str, int, int]) -> Object:
    protocol, first, last = number
    at = {"number": first} if first == last else {"range": {"start": first, "end": last}}
    return {protocol.lower(): {"destinationPort": at}}


def _port(number: tuple[str, int, int]) -> Object:
    protocol, first, last = number
    if first == last:
        return {"portNumber": {"protocol": protocol, "port": first}}
    return {"portRange": {"protocol": protocol, "start": first, "end": last}}


@st.composite
def cluster_policies(draw: Any) -> list[Object]:
    """Some policies of each kind."""
    found = []
    for number, priority in enumerate(draw(st.lists(st.integers(0, 1000), unique=True, max_size=4))):
        old = draw(st.booleans())
        kind, version = ("AdminNetworkPolicy", "v1alpha1") if old else ("ClusterNetworkPolicy", "v1alpha2")
        spec: Object = {"priority": priority}
        if not old:
            spec["tier"] = draw(st.sampled_from(["Admin", "Baseline"]))
        found.append(_policy(draw, kind, version, f"cluster{number}", spec))
    if draw(st.booleans()):
        found.append(_policy(draw, "BaselineAdminNetworkPolicy", "v1alpha1", "default", {}))
    return found


def _policy(draw: Any, kind: str, version: str, name: str, spec: Object) -> Object:
    allow = "Accept" if version == "v1alpha2" else "Allow"
    actions = [allow, "Deny"] + (["Pass"] if kind != "BaselineAdminNetworkPolicy" else [])
    spec = {**spec, "subject": draw(_pods)}
    for direction in ("ingress", "egress"):
        rules = [_rule(draw, direction, version, actions) for _ in range(draw(st.integers(0, 3)))]
        if rules:
            spec[direction] = rules
    return {"apiVersion": f"{GROUP}/{version}", "kind": kind, "metadata": {"name": name}, "spec": spec}


def _rule(draw: Any, direction: str, version: str, actions: list[str]) -> Object:
    action = draw(st.sampled_from(actions))
    kinds = _pods if direction == "ingress" else st.one_of(_pods, _elsewhere)
    peers = draw(st.lists(kinds, min_size=1, max_size=2))
    rule = {"action": action, "from" if direction == "ingress" else "to": peers}
    ports = [(_protocol if version == "v1alpha2" else _port)(one) for one in draw(st.lists(_numbers, max_size=2))]
    all_pods = all("networks" not in peer and "nodes" not in peer for peer in peers)
    if all_pods and draw(st.integers(0, 3)) == 0:
        ports.append({"destinationNamedPort" if version == "v1alpha2" else "namedPort": draw(st.sampled_from(NAMES))})
    if ports:
        rule["protocols" if version == "v1alpha2" else "ports"] = ports
    return rule
