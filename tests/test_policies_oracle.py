"""The proof: in random clusters the compiled ACLs let through exactly what the policies' documentation says."""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ovnk.kube import decode, decode_policies
from ovnk.translate import compile_cluster
from tests.builders import allocation, cluster, node, subnets
from tests.oracle.acls import Acls
from tests.oracle.policies import End, Packet, verdict

SPACES = ("shop", "data", "lost")
OUTSIDE = (End(None, "198.51.100.7"), End(None, "198.51.100.200"), End(None, "fd99::7"))
PORTS = (80, 443, 8080, 8085)

labels = st.dictionaries(st.sampled_from(["app", "team"]), st.sampled_from(["a", "b"]), max_size=2)
expressions = st.one_of(
    st.builds(
        lambda key, operator, values: {"key": key, "operator": operator, "values": values},
        st.sampled_from(["app", "team"]),
        st.sampled_from(["In", "NotIn"]),
        st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=2),
    ),
    st.builds(
        lambda key, operator: {"key": key, "operator": operator},
        st.sampled_from(["app", "team"]),
        st.sampled_from(["Exists", "DoesNotExist"]),
    ),
)
selectors = st.one_of(
    st.just({}),
    st.builds(lambda given: {"matchLabels": given}, labels),
    st.builds(lambda given: {"matchExpressions": given}, st.lists(expressions, max_size=2)),
)
blocks = st.sampled_from(
    [
        {"cidr": "198.51.100.0/24"},
        {"cidr": "198.51.100.0/24", "except": ["198.51.100.128/25"]},
        {"cidr": "0.0.0.0/0", "except": ["10.244.0.0/16"]},
        {"cidr": "10.244.1.0/24", "except": ["10.244.1.4/32"]},
        {"cidr": "::/0", "except": ["fd00:10:244:1::/64"]},
    ]
)
peers = st.one_of(
    st.builds(lambda pods: {"podSelector": pods}, selectors),
    st.builds(lambda spaces: {"namespaceSelector": spaces}, selectors),
    st.builds(lambda pods, spaces: {"podSelector": pods, "namespaceSelector": spaces}, selectors, selectors),
    st.builds(lambda block: {"ipBlock": block}, blocks),
)
policy_ports = st.sampled_from(
    [
        {},
        {"protocol": "UDP"},
        {"port": 80},
        {"protocol": "SCTP", "port": 443},
        {"port": 8080, "endPort": 8090},
        {"port": "http"},
        {"protocol": "UDP", "port": "http"},
        {"port": "dns"},
    ]
)


def rules(side: str) -> Any:
    parts = {side: st.lists(peers, max_size=2), "ports": st.lists(policy_ports, max_size=2)}
    return st.lists(st.fixed_dictionaries({}, optional=parts), max_size=2)


specs = st.fixed_dictionaries(
    {"podSelector": selectors},
    optional={
        "policyTypes": st.lists(st.sampled_from(["Ingress", "Egress"]), unique=True, max_size=2),
        "ingress": rules("from"),
        "egress": rules("to"),
    },
)
container_ports = st.lists(
    st.builds(
        lambda name, protocol, number: {"name": name, "protocol": protocol, "containerPort": number},
        st.sampled_from(["http", "dns"]),
        st.sampled_from(["TCP", "UDP"]),
        st.sampled_from(PORTS),
    ),
    max_size=2,
)


@st.composite
def clusters(draw: Any) -> tuple[dict[str, Any], list[Any], list[Any]]:
    """Namespaces by name (one may be missing), policies, and pods, all as manifests."""
    namespaces = {
        name: {"kind": "Namespace", "metadata": {"name": name, "labels": draw(labels)}}
        for name in SPACES[: draw(st.integers(2, 3))]
    }
    pods = [
        {
            "kind": "Pod",
            "metadata": {
                "name": f"p{number}",
                "namespace": draw(st.sampled_from(SPACES)),
                "uid": str(number),
                "labels": draw(labels),
            },
            "spec": {"nodeName": "node-1", "containers": [{"ports": draw(container_ports)}]},
        }
        for number in range(draw(st.integers(1, 4)))
    ]
    policies = [
        {
            "kind": "NetworkPolicy",
            "metadata": {"name": f"policy{number}", "namespace": draw(st.sampled_from(SPACES))},
            "spec": draw(specs),
        }
        for number in range(draw(st.integers(1, 4)))
    ]
    return namespaces, policies, pods


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(clusters(), st.booleans())
def test_what_is_compiled_is_what_the_policies_say(found: Any, tiers: bool) -> None:
    namespaces, policies, pods = found
    values = [decode.pod(json.dumps(one).encode()) for one in pods]
    addresses = [(f"10.244.1.{3 + number}", f"fd00:10:244:1::{3 + number}") for number in range(len(values))]
    facts = compile_cluster(
        [
            cluster("10.244.0.0/16", "fd00:10:244::/48", acl_tiers=tiers),
            node(),
            subnets("node-1", "10.244.1.0/24", "fd00:10:244:1::/64"),
            *(decode.namespace(json.dumps(one).encode()) for one in namespaces.values()),
            *(decode_policies.network_policy(json.dumps(one).encode()) for one in policies),
            *values,
            *(allocation(value, *own) for value, own in zip(values, addresses, strict=True)),
        ]
    )
    acls = Acls(facts)
    for family in (0, 1):
        ends = [End(pod, own[family]) for pod, own in zip(pods, addresses, strict=True)]
        ends += [end for end in OUTSIDE if (":" in end.address) == bool(family)]
        for source in ends:
            for target in ends:
                if source is target or (source.pod is None and target.pod is None):
                    continue
                for protocol, port in [("ICMP", 0), ("SCTP", 443), *((p, n) for p in ("TCP", "UDP") for n in PORTS)]:
                    packet = Packet(source, target, protocol, port)
                    expected, decided = verdict(namespaces, policies, packet)
                    got = acls.passes(port_of(source), port_of(target), wire(packet, family))
                    assert got == expected, (packet, decided)


def port_of(end: End) -> str:
    return f"{end.pod['metadata']['namespace']}/{end.pod['metadata']['name']}" if end.pod else ""


def wire(packet: Packet, family: int) -> dict[str, Any]:
    """The packet as OVN sees it: fields by name, predicates true."""
    name, protocol = "ip6" if family else "ip4", packet.protocol.lower()
    found = {"ip": True, name: True, f"{name}.src": packet.source.address, f"{name}.dst": packet.target.address}
    return found | {protocol: True} | ({f"{protocol}.dst": packet.port} if packet.port else {})
