"""Cluster-wide policies with real packets: Admin over NetworkPolicies over Baseline (R14)."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.labs import Lab
from tests.system import northbound, policy_probes, workloads
from tests.system.policy_probes import EVERYTHING, NOTHING, TCP_ALONE, Probers, Reach

pytestmark = pytest.mark.system

SPACE, FRIENDS = "cluster-policies", "cluster-friends"
WEB, OTHER, CLIENT = f"{SPACE}/web", f"{SPACE}/other", f"{FRIENDS}/client"
CIDRS = ["10.244.0.0/16", "fd00:10:244::/48"], ["10.96.0.0/16", "fd00:10:96::/112"]
KIND = "clusternetworkpolicies.policy.networking.k8s.io"

Object = dict[str, Any]

network_policy = partial(policy_probes.policy, space=SPACE)


@pytest.fixture(scope="module")
def reach(dual_stack: Lab) -> Iterator[Reach]:
    """Servers: web on the first node, other beside it, client elsewhere, in a namespace of its own."""
    lab, (first, second, _) = dual_stack, dual_stack.nodes
    lab.apply(
        [
            workloads.namespace(SPACE),
            workloads.namespace(FRIENDS),
            workloads.server("web", first, space=SPACE, app="web"),
            workloads.server("other", first, space=SPACE),
            workloads.server("client", second, space=FRIENDS),
        ]
    )
    found = lab.wait_ready([WEB, OTHER, CLIENT])
    with Probers(lab, [WEB, OTHER, CLIENT, *(f"node/{node}" for node in lab.nodes)]) as probers:
        yield Reach(probers, found)
    lab.delete("namespace", SPACE, FRIENDS)


@pytest.fixture
def lab(dual_stack: Lab) -> Iterator[Lab]:
    """The lab without policies before and after."""
    yield dual_stack
    dual_stack.delete("networkpolicy", "--all", "-n", SPACE)
    dual_stack.delete(KIND, "--all")


def policy(name: str, tier: str, priority: int, **rules: Any) -> Object:
    """A ClusterNetworkPolicy about the pods of SPACE."""
    return {
        "apiVersion": "policy.networking.k8s.io/v1alpha2",
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": name},
        "spec": {"tier": tier, "priority": priority, "subject": of(SPACE), **rules},
    }


def of(space: str) -> Object:
    return {"namespaces": {"matchLabels": {"kubernetes.io/metadata.name": space}}}


def condition(lab: Lab, name: str) -> tuple[str, str]:
    found = lab.get(KIND, name).get("status", {}).get("conditions", [])
    return next(((one["status"], one["message"]) for one in found if one["type"] == "Accepted"), ("", ""))


def test_r14_an_admin_denies_what_a_network_policy_allows_until_he_passes_it(lab: Lab, reach: Reach) -> None:
    allowing = {"from": [{"namespaceSelector": of(FRIENDS)["namespaces"]}]}
    lab.apply(network_policy("friends", subject={"app": "web"}, ingress=[allowing]))
    reach.until({(CLIENT, WEB): EVERYTHING, (OTHER, WEB): NOTHING})
    deny = {"action": "Deny", "from": [of(FRIENDS)]}
    lab.apply(policy("no-friends", "Admin", 10, ingress=[deny]))
    reach.until({(CLIENT, WEB): NOTHING, (CLIENT, OTHER): NOTHING, (WEB, CLIENT): EVERYTHING, (WEB, OTHER): EVERYTHING})
    # One port is left to whom it concerns: web's NetworkPolicy allows it, and nobody isolates other.
    port = {"tcp": {"destinationPort": {"number": workloads.PORT}}}
    lab.apply(
        policy("some-friends", "Admin", 9, ingress=[{"action": "Pass", "from": [of(FRIENDS)], "protocols": [port]}])
    )
    reach.until({(CLIENT, WEB): TCP_ALONE, (CLIENT, OTHER): TCP_ALONE, (OTHER, WEB): NOTHING})
    lab.delete("networkpolicy", "friends", "-n", SPACE)
    lab.apply(network_policy("nobody", subject={"app": "web"}))
    reach.until({(CLIENT, WEB): NOTHING, (CLIENT, OTHER): TCP_ALONE})
    lab.wait_until(lambda: condition(lab, "some-friends")[0] == "True", "the policy's condition")


def test_r14_an_admin_accepts_what_network_policies_and_baseline_shut_out(lab: Lab, reach: Reach) -> None:
    everything = [{"action": "Deny", "from": [{"namespaces": {}}]}]
    lab.apply(policy("shut", "Baseline", 1, ingress=everything))
    reach.until({(CLIENT, WEB): NOTHING, (OTHER, WEB): NOTHING, (WEB, CLIENT): EVERYTHING, (WEB, WEB): EVERYTHING})
    # Whom a NetworkPolicy isolates, the Baseline tier does not concern.
    lab.apply(network_policy("all", subject={"app": "web"}, ingress=[{}]))
    reach.until({(CLIENT, WEB): EVERYTHING, (CLIENT, OTHER): NOTHING})
    lab.apply(policy("open", "Admin", 1, ingress=[{"action": "Accept", "from": [of(FRIENDS)]}]))
    reach.until({(CLIENT, OTHER): EVERYTHING, (WEB, OTHER): NOTHING})


def test_r14_pass_all_pods_then_deny_every_network(lab: Lab, reach: Reach) -> None:
    """The API's own recipe for "no way out of the cluster"; the rest of the pod network is denied as well."""
    rules = [
        {"action": "Pass", "to": [{"namespaces": {}}]},
        {"action": "Deny", "to": [{"networks": ["0.0.0.0/0", "::/0"]}]},
    ]
    lab.apply(policy("inside", "Admin", 100, egress=rules))
    (first, *_) = lab.nodes
    host = lab.pods()[WEB]
    reach.until_answered({(WEB, workloads.host_address(host, version), workloads.PORT): {} for version in (4, 6)})
    reach.until({(WEB, CLIENT): EVERYTHING, (WEB, OTHER): EVERYTHING, (f"node/{first}", WEB): EVERYTHING})


def test_r14_who_is_passed_before_a_network_is_denied_follows_labels(lab: Lab, reach: Reach) -> None:
    """OVN looks for the address in a group and in a network at once; the group changes under it."""
    web = {"pods": {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "web"}}}}
    rules = [{"action": "Pass", "to": [web]}, {"action": "Deny", "to": [{"networks": ["0.0.0.0/0", "::/0"]}]}]
    lab.apply(policy("web-alone", "Admin", 100, egress=rules))
    reach.until({(OTHER, WEB): EVERYTHING, (WEB, OTHER): NOTHING, (OTHER, CLIENT): NOTHING})
    lab.kubectl("label", "pod", "client", "-n", FRIENDS, "app=web")
    reach.until({(OTHER, CLIENT): EVERYTHING, (WEB, OTHER): NOTHING})
    lab.wait_until(
        lambda: northbound.actual(lab) == northbound.wanted(lab, *CIDRS, told=True), "the northbound as compiled"
    )
    lab.kubectl("label", "pod", "client", "-n", FRIENDS, "app-")
    reach.until({(OTHER, CLIENT): NOTHING, (OTHER, WEB): EVERYTHING})


def test_r14_an_invalid_rule_denies_and_says_so(lab: Lab, reach: Reach) -> None:
    named = {"destinationNamedPort": "tcp"}
    rules = [{"action": "Deny", "to": [{"nodes": {}}], "protocols": [named]}]
    lab.apply(policy("wrong", "Admin", 5, egress=rules))
    reach.until({(WEB, OTHER): NOTHING, (OTHER, WEB): NOTHING, (CLIENT, WEB): EVERYTHING})
    lab.wait_until(lambda: condition(lab, "wrong")[0] == "False", "the policy's condition")
    assert condition(lab, "wrong")[1].endswith("which have no named ports; the rule denies everything")
    lab.wait_until(lambda: events(lab, "wrong") == {"Invalid"}, "the policy's event")


def events(lab: Lab, name: str) -> set[str]:
    return {one["reason"] for one in lab.get("events")["items"] if one["involvedObject"]["name"] == name}


def test_policies_go_with_their_definition_and_come_back_with_it(lab: Lab, reach: Reach) -> None:
    """A cluster may serve the kind or not; the controller goes on either way."""
    deny = policy("deny", "Admin", 1, ingress=[{"action": "Deny", "from": [{"namespaces": {}}]}])
    definition = lab.get("customresourcedefinition", KIND)
    definition["metadata"] = {key: definition["metadata"][key] for key in ("name", "annotations")}
    del definition["status"]
    lab.apply(deny)
    reach.until({(CLIENT, WEB): NOTHING})
    lab.delete("customresourcedefinition", KIND)
    reach.until({(CLIENT, WEB): EVERYTHING})
    lab.apply(json.dumps(definition))
    lab.wait_until(lambda: KIND in lab.kubectl("api-resources", "-o", "name").splitlines(), "the kind")
    lab.apply(deny)
    reach.until({(CLIENT, WEB): NOTHING})
