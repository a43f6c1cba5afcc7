"""NetworkPolicies with real packets: what is written is what passes, by each family and protocol (R12, R14)."""

import itertools
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.labs import OUTSIDE_V4, Lab
from tests.system import northbound, policy_probes, workloads
from tests.system.policy_probes import EVERYTHING, NOTHING, TCP_ALONE, Probers, Reach
from tests.system.services import PORT as SERVICE_PORT
from tests.system.services import cluster_ip, established, service

pytestmark = pytest.mark.system

SPACE = "policies"
WEB, CLIENT, OTHER, HOST = f"{SPACE}/web", f"{SPACE}/client", f"{SPACE}/other", f"{SPACE}/host"
# Port of the pod in its node's network, which nothing else in the shared lab listens on.
HOST_PORT = 18080

# Says from whom datagrams come.
_LISTENER = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as endpoint:
    endpoint.bind(("0.0.0.0", 9999))
    print("listening")
    while True:
        print(endpoint.recvfrom(100)[1][0])
"""
# Arguments: the address to send from, whoever's it is, and to.
_SENDER = """
import socket, struct, sys
source, target = sys.argv[1:]
datagram = struct.pack("!HHHH", 1234, 9999, 8, 0)
header = struct.pack("!BBHHHBBH", 0x45, 0, 28, 1, 0, 64, 17, 0) + socket.inet_aton(source) + socket.inet_aton(target)
with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as endpoint:
    endpoint.sendto(header + datagram, (target, 0))
"""

Object = dict[str, Any]

policy = partial(policy_probes.policy, space=SPACE)


@pytest.fixture(scope="module")
def reach(dual_stack: Lab) -> Iterator[Reach]:
    """Servers: web on the first node, other beside it, client elsewhere, host in the third's network; web's Service."""
    lab, (first, second, third) = dual_stack, dual_stack.nodes
    lab.apply(
        [
            workloads.namespace(SPACE),
            workloads.server("web", first, space=SPACE, app="web"),
            workloads.server("other", first, space=SPACE, role="other"),
            workloads.server("client", second, space=SPACE, role="client"),
            workloads.server("host", third, HOST_PORT, SPACE, host_network=True, role="host"),
            service("web", SPACE, {"app": "web"}, type="NodePort"),
        ]
    )
    found = lab.wait_ready([WEB, OTHER, CLIENT, HOST])
    established(lab, "web", SPACE, set(workloads.addresses(found[WEB])))
    with Probers(lab, [WEB, OTHER, CLIENT, "outside", *(f"node/{node}" for node in lab.nodes)]) as probers:
        yield Reach(probers, found)
    lab.delete("namespace", SPACE)


@pytest.fixture
def lab(dual_stack: Lab) -> Iterator[Lab]:
    """The lab without policies before and after."""
    yield dual_stack
    dual_stack.delete("networkpolicy", "--all", "-n", SPACE)


def cluster_ips(lab: Lab) -> list[str]:
    """The Service's, one a family."""
    return [cluster_ip(lab, "web", SPACE, version) for version in (4, 6)]


def test_r12_a_default_deny_shuts_out_all_but_the_node_and_the_pod_itself(lab: Lab, reach: Reach) -> None:
    first, second, _ = lab.nodes
    lab.apply(policy("deny", subject={}, policyTypes=["Ingress", "Egress"]))
    reach.until(
        {
            (OTHER, WEB): NOTHING,
            (CLIENT, WEB): NOTHING,
            (f"node/{second}", WEB): NOTHING,
            (f"node/{first}", WEB): EVERYTHING,
            (WEB, WEB): EVERYTHING,
        }
    )
    reach.until_answered({(WEB, address, SERVICE_PORT): {"TCP": WEB, "UDP": WEB} for address in cluster_ips(lab)})


def test_r14_the_last_policy_gone_all_is_open_again(lab: Lab, reach: Reach) -> None:
    reach.until({(CLIENT, WEB): EVERYTHING})
    lab.apply(policy("deny", subject={}))
    reach.until({(CLIENT, WEB): NOTHING})
    lab.delete("networkpolicy", "deny", "-n", SPACE)
    reach.until({(CLIENT, WEB): EVERYTHING})
    tables = ("ACL", "Port_Group", "Address_Set", "Meter")
    assert not any(northbound.select(lab.northbound_socket, "OVN_Northbound", *tables).values())


def test_ingress_from_some_pods_at_one_port(lab: Lab, reach: Reach) -> None:
    peers = [{"podSelector": {"matchLabels": {"role": "client"}}}]
    lab.apply(policy("web", subject={"app": "web"}, ingress=[{"from": peers, "ports": [{"port": workloads.PORT}]}]))
    # Isolated from ingress alone: what it begins itself is answered.
    reach.until({(OTHER, WEB): NOTHING, (CLIENT, WEB): TCP_ALONE, (WEB, OTHER): EVERYTHING})


def test_networks_without_some_addresses_and_a_range_of_ports(lab: Lab, reach: Reach) -> None:
    pods = lab.pods()
    but_other, but_client = workloads.of_family(pods[OTHER], 4), workloads.of_family(pods[CLIENT], 6)
    peers = [
        {"ipBlock": {"cidr": "0.0.0.0/0", "except": [f"{but_other}/32"]}},
        {"ipBlock": {"cidr": "::/0", "except": [f"{but_client}/128"]}},
    ]
    lab.apply(policy("web", subject={"app": "web"}, ingress=[{"from": peers}]))
    reach.until(
        {(OTHER, WEB): frozenset({"TCP6", "UDP6", "ICMP6"}), (CLIENT, WEB): frozenset({"TCP4", "UDP4", "ICMP4"})}
    )
    ports = [{"port": workloads.PORT - 10, "endPort": workloads.PORT}, {"port": 1, "endPort": 99, "protocol": "UDP"}]
    lab.apply(policy("web", subject={"app": "web"}, ingress=[{"from": peers, "ports": ports}]))
    reach.until({(OTHER, WEB): frozenset({"TCP6"}), (CLIENT, WEB): frozenset({"TCP4"})})


def test_egress_is_decided_by_the_backend_of_a_service(lab: Lab, reach: Reach) -> None:
    peers = [{"podSelector": {"matchLabels": {"app": "web"}}}]
    rule = {"to": peers, "ports": [{"port": workloads.PORT}]}
    lab.apply(policy("out", subject={"role": "client"}, policyTypes=["Egress"], egress=[rule]))
    # Isolated from egress alone: what others begin is answered.
    reach.until({(CLIENT, OTHER): NOTHING, (CLIENT, WEB): TCP_ALONE, (OTHER, CLIENT): EVERYTHING})
    reach.until_answered({(CLIENT, address, SERVICE_PORT): {"TCP": WEB} for address in cluster_ips(lab)})


def test_a_relabelled_pod_is_let_in_and_out_again(lab: Lab, reach: Reach) -> None:
    peers = [{"podSelector": {"matchLabels": {"role": "client"}}}]
    lab.apply(policy("web", subject={"app": "web"}, ingress=[{"from": peers}]))
    reach.until({(OTHER, WEB): NOTHING})
    lab.kubectl("label", "pod", "other", "-n", SPACE, "role=client", "--overwrite")
    reach.until({(OTHER, WEB): EVERYTHING})
    lab.kubectl("label", "pod", "other", "-n", SPACE, "role=other", "--overwrite")
    reach.until({(OTHER, WEB): NOTHING})


@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
def test_a_named_port_is_the_number_that_the_pod_gives_it(lab: Lab, reach: Reach, protocol: str) -> None:
    """The built-in servers call their ports tcp and udp."""
    lab.apply(
        policy("web", subject={"app": "web"}, ingress=[{"ports": [{"port": protocol.lower(), "protocol": protocol}]}])
    )
    reach.until({(CLIENT, WEB): frozenset({f"{protocol}4", f"{protocol}6"})})


def test_a_host_network_pod_is_a_peer_by_its_nodes_address(lab: Lab, reach: Reach) -> None:
    """As source, and as target by the name of its port."""
    *_, second, third = lab.nodes
    host = {"podSelector": {"matchLabels": {"role": "host"}}}
    lab.apply(
        [
            policy("in", subject={"app": "web"}, ingress=[{"from": [host]}]),
            policy(
                "out",
                subject={"role": "client"},
                policyTypes=["Egress"],
                egress=[{"to": [host], "ports": [{"port": "tcp"}]}],
            ),
        ]
    )
    reach.until({(f"node/{third}", WEB): EVERYTHING, (f"node/{second}", WEB): NOTHING, (CLIENT, OTHER): NOTHING})
    by_all = {"TCP": HOST, "UDP": HOST, "ICMP": ""}
    addresses = workloads.addresses(lab.pods()[HOST])
    reach.until_answered({(CLIENT, address, HOST_PORT): {"TCP": HOST} for address in addresses})
    reach.until_answered({(OTHER, address, HOST_PORT): by_all for address in addresses})


def test_a_node_port_is_no_way_around_a_policy(lab: Lab, reach: Reach) -> None:
    """Not even that of the pod's own node, which reaches the pod itself, and masquerades what it forwards to it."""
    node = lab.get("node", lab.nodes[0])
    ports: dict[int, dict[str, str]] = {}
    for port in lab.get("service", "web", "-n", SPACE)["spec"]["ports"]:
        ports.setdefault(port["nodePort"], {"ICMP": ""})[port["protocol"]] = WEB
    addresses = [one["address"] for one in node["status"]["addresses"] if one["type"] == "InternalIP"]
    asked = list(itertools.product([OTHER, "outside"], addresses, ports))
    reach.until_answered({one: ports[one[2]] for one in asked})
    lab.apply(policy("deny", subject={"app": "web"}))
    reach.until({(OTHER, WEB): NOTHING, (f"node/{lab.nodes[0]}", WEB): EVERYTHING})
    reach.until_answered({one: {"ICMP": ""} for one in asked})


def test_nobody_gets_in_by_the_address_of_a_peer(lab: Lab, reach: Reach) -> None:
    """A neighbour on the node's own network: what it sends from its own address arrives, and nothing else does."""
    pods = lab.pods()
    other, client = (workloads.of_family(pods[name], 4) for name in (OTHER, CLIENT))
    listener = lab.popen(OTHER, workloads.PYTHON, "-u", "-c", _LISTENER)
    assert listener.stdout is not None
    assert listener.stdout.readline() == "listening\n"
    lab.exec("outside", "ip", "route", "replace", other, "via", workloads.host_address(pods[OTHER], 4))
    try:
        for source in (client, cluster_ip(lab, "web", SPACE, 4), OUTSIDE_V4):
            sent = lab.exec("outside", workloads.PYTHON, "-c", _SENDER, source, other)
            assert sent.returncode == 0, sent.stderr
        assert listener.stdout.readline() == f"{OUTSIDE_V4}\n"
    finally:
        lab.exec("outside", "ip", "route", "delete", other)
        listener.terminate()
        listener.communicate(timeout=20)


def test_icmp_passes_where_a_rule_names_no_port(lab: Lab, reach: Reach) -> None:
    """The API has no word for ICMP: what isolates shuts it out, and a rule without ports lets it in with the rest."""
    peers = [{"podSelector": {"matchLabels": {"role": "client"}}}]
    lab.apply(policy("web", subject={"app": "web"}, ingress=[{"from": peers}]))
    reach.until({(CLIENT, WEB): EVERYTHING, (OTHER, WEB): NOTHING})


def test_a_policy_that_cannot_be_understood_denies_and_says_so(lab: Lab, reach: Reach) -> None:
    """The lab's API server lets the operator of another kind of selector through; Kubernetes' own refuses it."""
    wrong = {"matchExpressions": [{"key": "role", "operator": "Gt", "values": ["1"]}]}
    peers = [{"podSelector": wrong}]
    try:
        lab.apply(policy("wrong", subject={"app": "web"}, policyTypes=["Ingress"], ingress=[{"from": peers}]))
    except AssertionError as refused:
        if "not a valid selector operator" in str(refused):
            return
        raise
    reach.until({(CLIENT, WEB): NOTHING, (WEB, OTHER): NOTHING, (CLIENT, OTHER): EVERYTHING})
    (event,) = lab.get("events", "-n", SPACE, "--field-selector=involvedObject.kind=NetworkPolicy")["items"]
    assert (event["type"], event["reason"], event["involvedObject"]["name"]) == ("Warning", "Invalid", "wrong")
    assert 'matchExpressions[0] has the operator "Gt"' in event["message"]
    assert event["message"].endswith("the policy denies all ingress and egress of its pods until it is fixed")
