"""Random clusters as manifests, as a user could have them: a shrunk counterexample is a golden folder's cluster.yaml.

Two nodes, few names and few labels, so that policies meet; both families; pods in their node's network; Services.
Running pods say their addresses (status.podIPs), so that those are known before anything is compiled.
"""

import json
from ipaddress import ip_network
from typing import Any

from hypothesis import strategies as st

from ovnk.allocation import Network
from ovnk.compiler import Compiler
from ovnk.kube.objects import Put
from ovnk.manifests import DECODERS
from ovnk.northbound.facts import Fact
from tests.builders import cluster
from tests.oracle.random_cluster_policies import cluster_policies

Object = dict[str, Any]

SPACES = ("shop", "data", "lost")
NODES = {"n1": ("192.168.100.1", "fd00:100::1"), "n2": ("192.168.100.2", "fd00:100::2")}
POD_CIDRS = {"n1": ("10.244.1.0/24", "fd00:10:244:1::/64"), "n2": ("10.244.2.0/24", "fd00:10:244:2::/64")}
PORTS = (80, 443, 8080, 8085)
SERVICE_PORT = 80

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
        {"cidr": "192.168.100.0/24", "except": ["192.168.100.2/32"]},
        # What Services are at: nobody is there any more once a packet has been balanced.
        {"cidr": "10.96.0.0/16"},
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
    # Most policies are about many pods, so that many connections are denied.
    {"podSelector": st.one_of(st.just({}), selectors)},
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
def clusters(draw: Any) -> list[Object]:
    """Namespaces (one may be missing, but then has no pods), nodes, pods, policies and Services.

    Half of them have cluster-wide policies.
    """
    known = SPACES[: draw(st.integers(2, 3))]
    found = [manifest("v1", "Namespace", name, labels=draw(labels)) for name in known]
    found += [node(name) for name in NODES]
    pods = [
        _pod(draw, number, draw(st.sampled_from((*known, "shop"))), draw(st.sampled_from(list(NODES))))
        for number in range(draw(st.integers(1, 5)))
    ]
    found += pods
    for number in range(draw(st.integers(1, 4))):
        where = draw(st.sampled_from((*SPACES, "shop", "shop")))
        noted = draw(st.sampled_from([{}, {}, {"ovnk.io/log": "deny"}, {"ovnk.io/log": "both"}]))
        policy = manifest(
            "networking.k8s.io/v1", "NetworkPolicy", f"policy{number}", namespace=where, annotations=noted
        )
        found.append({**policy, "spec": draw(specs)})
    if draw(st.booleans()):
        found += draw(cluster_policies())
    for number in range(draw(st.integers(0, 2))):
        backends = draw(st.lists(st.sampled_from(pods), min_size=1, max_size=2, unique_by=id))
        found += _service(number, draw(st.sampled_from(["TCP", "UDP"])), draw(st.sampled_from(PORTS)), backends)
    return found


def compiled(objects: list[Object], tiers: bool = False) -> frozenset[Fact]:
    """The northbound of these manifests."""
    networks = (Network("10.244.0.0/16", 24), Network("fd00:10:244::/48", 64))
    settings = cluster("10.244.0.0/16", "fd00:10:244::/48", services=("10.96.0.0/16", "fd00:96::/112"), acl_tiers=tiers)
    compiler = Compiler(settings, networks)
    for one in objects:
        compiler.apply(Put(DECODERS[one["apiVersion"], one["kind"]](json.dumps(one).encode())))
    assert not compiler.lead([])
    compiler.settle()
    assert not compiler.graph.failures
    assert not compiler.outputs.northbound.contradictions()
    return frozenset(compiler.outputs.northbound)  # type: ignore[arg-type]  # the northbound holds Facts alone


def manifest(version: str, kind: str, name: str, **metadata: Any) -> Object:
    """The beginning of one."""
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, **metadata}}


def node(name: str) -> Object:
    """One of NODES."""
    found = manifest("v1", "Node", name, uid=name, labels={"name": name})
    addresses = [{"type": "InternalIP", "address": address} for address in NODES[name]]
    return {**found, "spec": {"podCIDRs": list(POD_CIDRS[name])}, "status": {"addresses": addresses}}


def _pod(draw: Any, number: int, where: str, node: str) -> Object:
    found = manifest("v1", "Pod", f"p{number}", namespace=where, uid=f"{number}", labels=draw(labels))
    host_network = draw(st.integers(0, 3)) == 3
    own = [str(ip_network(cidr)[3 + number]) for cidr in POD_CIDRS[node]]
    addresses = NODES[node] if host_network else own
    return {
        **found,
        "spec": {"nodeName": node, "hostNetwork": host_network, "containers": [{"ports": draw(container_ports)}]},
        "status": {"phase": "Running", "podIPs": [{"ip": address} for address in addresses]},
    }


def _service(number: int, protocol: str, target: int, backends: list[Object]) -> list[Object]:
    """A Service of one port in both families, and its EndpointSlices."""
    name, addresses = f"service{number}", [f"10.96.0.{10 + number}", f"fd00:96::{10 + number}"]
    service = manifest("v1", "Service", name, namespace="shop", uid=name)
    found = [
        {**service, "spec": {"clusterIPs": addresses, "ports": [{"protocol": protocol, "port": SERVICE_PORT}]}},
    ]
    for index, family in enumerate(("IPv4", "IPv6")):
        of = {"kubernetes.io/service-name": name}
        one = manifest("discovery.k8s.io/v1", "EndpointSlice", f"{name}-{index}", namespace="shop", labels=of)
        ports = [{"protocol": protocol, "port": target}]
        endpoints = [{"addresses": [pod["status"]["podIPs"][index]["ip"]]} for pod in backends]
        found.append({**one, "addressType": family, "ports": ports, "endpoints": endpoints})
    return found
