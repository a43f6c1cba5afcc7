"""NetworkPolicies with real packets: what is written is what passes, by each family and protocol (R12, R14)."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.labs import Lab
from tests.system import workloads
from tests.system.probes import ask
from tests.system.services import ask as ask_service
from tests.system.services import cluster_ip, established, service

pytestmark = pytest.mark.system

SPACE = "policies"
WEB, CLIENT, OTHER = f"{SPACE}/web", f"{SPACE}/client", f"{SPACE}/other"

Object = dict[str, Any]


@pytest.fixture(scope="module")
def pods(dual_stack: Lab) -> Iterator[dict[str, Object]]:
    """Three servers: web on the first node, other beside it, client elsewhere; and web's Service."""
    lab, (first, second, *_) = dual_stack, dual_stack.nodes
    lab.apply(
        [
            workloads.namespace(SPACE),
            workloads.server("web", first, space=SPACE, app="web"),
            workloads.server("other", first, space=SPACE, role="other"),
            workloads.server("client", second, space=SPACE, role="client"),
            service("web", SPACE, {"app": "web"}),
        ]
    )
    found = lab.wait_ready([WEB, OTHER, CLIENT])
    established(lab, "web", SPACE, set(workloads.addresses(found[WEB])))
    yield found
    lab.delete("namespace", SPACE)


@pytest.fixture
def lab(dual_stack: Lab) -> Iterator[Lab]:
    """The lab without policies before and after."""
    yield dual_stack
    dual_stack.delete("networkpolicy", "--all", "-n", SPACE)


def policy(name: str, subject: Object, **spec: Any) -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": SPACE},
        "spec": {"podSelector": {"matchLabels": subject} if subject else {}, **spec},
    }


def passing(lab: Lab, pods: dict[str, Object], source: str, target: str) -> set[str]:
    """The protocols by which `target` answers `source`, each with its family: "TCP4"."""
    answers = ask(lab, [source], {target: workloads.addresses(pods[target])})
    return {f"{one.protocol}{6 if ':' in one.address else 4}" for one in answers if not one.error}


def until(found: Callable[[], set[str]], wanted: set[str]) -> None:
    """Waits until what passes is what is wanted: policies are enforced a little after they are written."""
    deadline = time.monotonic() + 20
    while (now := found()) != wanted:
        assert time.monotonic() < deadline, f"{now} pass, not {wanted}"


EVERYTHING = {f"{protocol}{version}" for protocol in ("TCP", "UDP", "ICMP") for version in (4, 6)}
NOTHING: set[str] = set()


def test_r12_a_default_deny_shuts_out_all_but_the_node_and_the_pod_itself(lab: Lab, pods: dict[str, Object]) -> None:
    lab.apply(policy("deny", {}, policyTypes=["Ingress", "Egress"]))
    until(lambda: passing(lab, pods, OTHER, WEB), NOTHING)
    assert passing(lab, pods, CLIENT, WEB) == NOTHING
    assert passing(lab, pods, f"node/{lab.nodes[0]}", WEB) == EVERYTHING
    assert passing(lab, pods, f"node/{lab.nodes[1]}", WEB) == NOTHING
    assert passing(lab, pods, WEB, WEB) == EVERYTHING
    for version in (4, 6):
        answers = ask_service(lab, WEB, cluster_ip(lab, "web", SPACE, version), "TCP", times=3)
        assert not [answer.error for answer in answers if answer.error]


def test_r14_the_last_policy_gone_all_is_open_again(lab: Lab, pods: dict[str, Object]) -> None:
    assert passing(lab, pods, CLIENT, WEB) == EVERYTHING
    lab.apply(policy("deny", {}))
    until(lambda: passing(lab, pods, CLIENT, WEB), NOTHING)
    lab.delete("networkpolicy", "deny", "-n", SPACE)
    until(lambda: passing(lab, pods, CLIENT, WEB), EVERYTHING)


def test_ingress_from_some_pods_at_one_port(lab: Lab, pods: dict[str, Object]) -> None:
    peers = [{"podSelector": {"matchLabels": {"role": "client"}}}]
    lab.apply(policy("web", {"app": "web"}, ingress=[{"from": peers, "ports": [{"port": workloads.PORT}]}]))
    until(lambda: passing(lab, pods, OTHER, WEB), NOTHING)
    until(lambda: passing(lab, pods, CLIENT, WEB), {"TCP4", "TCP6"})
    # Isolated from ingress alone: what it begins itself is answered.
    assert passing(lab, pods, WEB, OTHER) == EVERYTHING


def test_egress_is_decided_by_the_backend_of_a_service(lab: Lab, pods: dict[str, Object]) -> None:
    peers = [{"podSelector": {"matchLabels": {"app": "web"}}}]
    rule = {"to": peers, "ports": [{"port": workloads.PORT}]}
    lab.apply(policy("out", {"role": "client"}, policyTypes=["Egress"], egress=[rule]))
    until(lambda: passing(lab, pods, CLIENT, OTHER), NOTHING)
    until(lambda: passing(lab, pods, CLIENT, WEB), {"TCP4", "TCP6"})
    for version in (4, 6):
        address = cluster_ip(lab, "web", SPACE, version)
        assert [one.pod for one in ask_service(lab, CLIENT, address, "TCP", times=3)] == [WEB] * 3
        assert ask_service(lab, CLIENT, address, "UDP")[0].error
    assert passing(lab, pods, OTHER, CLIENT) == EVERYTHING


def test_a_relabelled_pod_is_let_in_and_out_again(lab: Lab, pods: dict[str, Object]) -> None:
    peers = [{"podSelector": {"matchLabels": {"role": "client"}}}]
    lab.apply(policy("web", {"app": "web"}, ingress=[{"from": peers}]))
    until(lambda: passing(lab, pods, OTHER, WEB), NOTHING)
    lab.kubectl("label", "pod", "other", "-n", SPACE, "role=client", "--overwrite")
    until(lambda: passing(lab, pods, OTHER, WEB), EVERYTHING)
    lab.kubectl("label", "pod", "other", "-n", SPACE, "role=other", "--overwrite")
    until(lambda: passing(lab, pods, OTHER, WEB), NOTHING)
