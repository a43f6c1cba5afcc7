"""NodeNetworks in the hands of others, and nodes whose podCIDRs are wrong, change or are too small.

Reality wins over the record: whatever becomes of a NodeNetwork, running pods keep their addresses and go on talking.
One lab for all, the tests in order of what they leave behind.
"""

import ipaddress
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.labs import Lab, running_lab
from tests.system import northbound, pings, probes, workloads

pytestmark = [pytest.mark.system, pytest.mark.alone]

Object = dict[str, Any]
PODS = {"default/a": "n1", "default/b": "n1", "default/c": "n2"}
CIDRS = ["10.244.0.0/16", "fd00:10:244::/48"], ["10.96.0.0/16", "fd00:10:96::/112"]
SMALL = ("10.244.200.0/29", "fd00:10:244:c8::/125")
# A /29 without network, router, management port and broadcast.
SMALL_PODS = 4


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with running_lab(3, ["--ip-family=dual"]) as running:
        running.apply([workloads.server(name.partition("/")[2], node) for name, node in PODS.items()])
        running.wait_ready(PODS)
        yield running


@pytest.fixture
def talking(lab: Lab) -> Iterator[None]:
    """Pods on two nodes ping each other without interruption; nobody's address changes; all is as compiled."""
    before = addresses(lab)
    with pings.pinging(lab, "default/a", before["default/c"][0]) as answered:
        yield
    assert answered.lost <= pings.LONE
    assert {name: ips for name, ips in addresses(lab).items() if name in before} == before
    everybody_talks(lab)
    lab.wait_until(
        lambda: northbound.actual(lab) == northbound.wanted(lab, *CIDRS, told=True), "the northbound as compiled"
    )


def addresses(lab: Lab) -> dict[str, list[str]]:
    return {name: workloads.addresses(pod) for name, pod in lab.pods().items() if pod["status"].get("podIPs")}


def everybody_talks(lab: Lab) -> None:
    targets = addresses(lab)
    lab.wait_until(lambda: not probes.failed(probes.ask(lab, targets, targets)), "everybody to reach everybody")


def told(lab: Lab, kind: str, name: str, reason: str, *words: str) -> None:
    """Returns once there is an Event of that reason about the object whose message has all these words."""

    def found() -> bool:
        return any(
            event["reason"] == reason
            and (event["involvedObject"]["kind"], event["involvedObject"]["name"]) == (kind, name)
            and all(word in event["message"] for word in words)
            for event in lab.get("events", "--all-namespaces")["items"]
        )

    lab.wait_until(found, f"an Event {reason} on {kind} {name} that says {words}")


def spec(lab: Lab, node: str) -> Object | None:
    """The node's NodeNetwork, None while there is none."""
    found = lab.kubectl("get", "nodenetwork", node, "--output=json", "--ignore-not-found")
    return json.loads(found)["spec"] if found.strip() else None


def another_address(network: Object) -> None:
    """Pod a has, says the record, what b has; and b nothing."""
    first, second = network["pods"][:2]
    first["ips"], first["mac"] = second["ips"], second["mac"]
    network["pods"].remove(second)


def another_subnet(network: Object) -> None:
    for subnet, cidr in zip(network["subnets"], ("10.244.99.0/24", "fd00:10:244:63::/64"), strict=True):
        subnet["cidr"], subnet["gateway"] = cidr, str(ipaddress.ip_network(cidr)[1])
    network["management"]["addresses"] = ["10.244.99.2/24", "fd00:10:244:63::2/64"]


def nobody(network: Object) -> None:
    network["pods"] = []


def nonsense(network: Object) -> None:
    """Text that the definition lets pass."""
    network["pods"][0]["ips"] = ["nowhere"]
    network["subnets"][0]["cidr"] = "10.244.0.0/99"
    network["management"]["addresses"] = ["here"]


def nothing(network: Object) -> None:
    network.clear()


@pytest.mark.parametrize(
    "edit", [another_address, another_subnet, nobody, nonsense, nothing], ids=lambda one: one.__name__
)
def test_a_node_network_edited_by_hand_is_put_right_and_told(
    lab: Lab, talking: None, edit: Callable[[Object], None]
) -> None:
    before = lab.get("nodenetwork", "n1")
    edited = json.loads(json.dumps(before))
    edit(edited["spec"])

    lab.kubectl("replace", "--filename=-", input=json.dumps(edited))

    lab.wait_until(lambda: spec(lab, "n1") == before["spec"], "the NodeNetwork as it was")
    told(lab, "NodeNetwork", "n1", "Restored", "was changed, but not by the controller", "put right")


def test_a_node_network_deleted_by_hand_comes_back_and_is_told(lab: Lab, talking: None) -> None:
    before = spec(lab, "n1")

    lab.delete("nodenetwork", "n1")

    lab.wait_until(lambda: spec(lab, "n1") == before, "the NodeNetwork as it was")
    told(lab, "NodeNetwork", "n1", "Restored", "was deleted")
    lab.apply(workloads.server("after-deletion", "n1"))
    lab.wait_ready("default/after-deletion")
    lab.delete("pod", "after-deletion")


def test_all_node_networks_lost_while_no_controller_runs_come_back_from_the_running_pods(
    lab: Lab, talking: None
) -> None:
    before = {node: spec(lab, node) for node in lab.nodes}

    lab.hold("controller")
    lab.delete("nodenetworks", "--all")
    lab.release("controller")

    # n3 has no pods, so any range will do for it; it is given the one it had, being the lowest that is free.
    lab.wait_until(lambda: {node: spec(lab, node) for node in lab.nodes} == before, "the NodeNetworks as they were")


def test_a_record_that_contradicts_running_pods_while_no_controller_runs_gives_way_to_them(
    lab: Lab, talking: None
) -> None:
    before = lab.get("nodenetwork", "n1")
    contradicting = json.loads(json.dumps(before))
    first, second = contradicting["spec"]["pods"][:2]
    first["ips"], second["ips"] = second["ips"], first["ips"]
    first["mac"], second["mac"] = second["mac"], first["mac"]

    lab.hold("controller")
    lab.kubectl("replace", "--filename=-", input=json.dumps(contradicting))
    lab.release("controller")

    lab.wait_until(lambda: spec(lab, "n1") == before["spec"], "the NodeNetwork as the pods say")
    for pod in ("a", "b"):
        told(lab, "Pod", pod, "AddressRestored", 'NodeNetwork "n1" said', "the pod keeps what it runs with")


def test_a_pod_cidr_that_comes_later_is_not_used_while_pods_run_and_the_node_is_told(lab: Lab, talking: None) -> None:
    before = spec(lab, "n2")

    patch_cidrs(lab, "n2", ("10.244.150.0/24", "fd00:10:244:96::/64"))

    told(lab, "Node", "n2", "PodCIDRIgnored", '"10.244.150.0/24", "fd00:10:244:96::/64" is not used while pods')
    assert spec(lab, "n2") == before


def test_a_node_that_comes_back_with_another_pod_cidr_keeps_its_own_until_its_pods_are_gone(lab: Lab) -> None:
    """Deleted and registered again: the only way in which a podCIDR that was given changes (API: immutable)."""
    before, ips = spec(lab, "n2"), addresses(lab)

    lab.delete("node", "n2")
    register(lab, "n2", ("10.244.151.0/24", "fd00:10:244:97::/64"))

    told(lab, "Node", "n2", "PodCIDRIgnored", "10.244.151.0/24")
    lab.wait_until(lambda: spec(lab, "n2") == before, "the NodeNetwork as it was")
    assert addresses(lab) == ips
    everybody_talks(lab)

    lab.delete("pod", "c")

    lab.apply(workloads.server("c", "n2"))
    assert workloads.addresses(lab.wait_ready("default/c")["default/c"])[0].startswith("10.244.151.")
    everybody_talks(lab)


def test_a_pod_cidr_that_another_node_has_is_refused_told_and_mended(lab: Lab, talking: None) -> None:
    (taken,) = {
        subnet["cidr"] for subnet in lab.get("nodenetwork", "n1")["spec"]["subnets"] if ":" not in subnet["cidr"]
    }
    lab.delete("node", "n3")
    register(lab, "n3", (taken, "fd00:10:244:98::/64"))

    told(lab, "Node", "n3", "PodCIDRRefused", f'spec.podCIDRs "{taken}" overlaps "{taken}" of node "n1"')
    assert spec(lab, "n3") is None
    lab.apply(workloads.server("refused", "n3"))

    lab.delete("node", "n3")
    register(lab, "n3", SMALL)

    lab.wait_ready("default/refused")
    assert [subnet["cidr"] for subnet in lab.get("nodenetwork", "n3")["spec"]["subnets"]] == list(SMALL)


def test_a_full_subnet_is_told_on_the_pod_which_starts_when_an_address_is_freed(lab: Lab, talking: None) -> None:
    there = sum(pod["spec"]["nodeName"] == "n3" for pod in lab.pods().values())
    names = [f"full-{number}" for number in range(SMALL_PODS - there)]
    lab.apply([workloads.server(name, "n3") for name in names])
    lab.wait_ready(f"default/{name}" for name in names)

    lab.apply(workloads.server("waits", "n3"))

    told(
        lab, "Pod", "waits", "SubnetFull", f"no address left of {SMALL_PODS}", "as soon as another pod there is deleted"
    )
    assert not lab.pods()["default/waits"]["status"].get("podIPs")
    freed, _ = workloads.addresses(lab.pods()[f"default/{names[0]}"])
    lab.delete("pod", names[0])

    waited = lab.wait_ready("default/waits")["default/waits"]
    assert workloads.addresses(waited)[0] == freed


def patch_cidrs(lab: Lab, node: str, cidrs: tuple[str, ...]) -> None:
    lab.kubectl("patch", "node", node, "--patch", json.dumps({"spec": {"podCIDR": cidrs[0], "podCIDRs": cidrs}}))


def register(lab: Lab, node: str, cidrs: tuple[str, ...]) -> None:
    """The Node as its kubelet would make it; the kubelet, which finds it there, tells its status."""
    labels = {"kubernetes.io/hostname": node}
    value = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node, "labels": labels}}
    lab.apply({**value, "spec": {"podCIDR": cidrs[0], "podCIDRs": list(cidrs)}})
