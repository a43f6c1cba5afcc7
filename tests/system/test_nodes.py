"""A node from its first pod to its removal (R24), and one whose bridge somebody deletes under running pods."""

import json
from collections.abc import Iterator

import pytest

from tests.labs import Lab, running_lab
from tests.system import northbound, probes, workloads

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with running_lab(2, ["--ip-family=dual"]) as running:
        yield running


def routes(lab: Lab, node: str) -> set[str]:
    """The destinations that lead through ovnk0."""
    found = set()
    for family in ("-4", "-6"):
        said = lab.exec(f"node/{node}", "ip", "-json", family, "route", "show", "dev", "ovnk0").stdout or "[]"
        found |= {route["dst"] for route in json.loads(said)}
    return found


def everybody_talks(lab: Lab, *names: str) -> None:
    pods = lab.wait_ready(names)
    own = {name: workloads.addresses(pod) for name, pod in pods.items()}
    lab.wait_until(lambda: not probes.failed(probes.ask(lab, names, own)), "everybody to reach everybody")


def test_pods_talk_again_after_their_nodes_bridge_was_deleted(lab: Lab) -> None:
    lab.apply([workloads.server("on-n1", "n1"), workloads.server("on-n2", "n2"), workloads.server("too", "n2")])
    names = ("default/on-n1", "default/on-n2", "default/too")
    everybody_talks(lab, *names)
    before = {name: pod["metadata"]["uid"] for name, pod in lab.pods().items()}

    lab.exec("node/n2", "ovs-vsctl", "del-br", "br-int")

    everybody_talks(lab, *names)
    assert northbound.interface_ids(lab, "n2") == {"default/on-n2", "default/too", "node:n2"}
    assert {name: pod["metadata"]["uid"] for name, pod in lab.pods().items()} == before
    assert lab.exec("node/n2", "ping", "-c1", "-W3", workloads.addresses(lab.pods()[names[0]])[0]).returncode == 0
    lab.delete("pods", "--all")


def test_r24_the_first_pod_finds_bridge_range_and_routes_and_the_removed_node_leaves_none(lab: Lab) -> None:
    lab.apply([workloads.server("stays", "n1"), workloads.server("first", "n2")])
    pods = lab.wait_ready(["default/stays", "default/first"])

    assert northbound.interface_ids(lab, "n2") == {"default/first", "node:n2"}
    there = {name for _, name in northbound.uuids(lab)}
    assert {"n2", "node:n2", "default/first"} <= there
    subnets = lab.get("nodenetwork", "n2")["spec"]["subnets"]
    own = workloads.addresses(pods["default/first"])
    for family, address, subnet in zip(("-4", "-6"), own, subnets, strict=True):
        (default,) = json.loads(
            lab.exec("default/first", "ip", "-json", family, "route", "show", "default").stdout
        )  # fmt: skip
        assert default["gateway"] == subnet["gateway"]
        assert address in lab.exec("default/first", "ip", "-brief", "address", "show", "dev", "eth0").stdout
    assert {"10.244.0.0/16", "fd00:10:244::/48"} <= routes(lab, "n2")
    assert not probes.failed(probes.ask(lab, ["node/n2", "default/stays"], {"default/first": own}))

    lab.delete("pod", "first")
    assert northbound.interface_ids(lab, "n2") == {"node:n2"}
    assert "ovnkp" not in lab.exec("node/n2", "ip", "link").stdout
    # Or it would register its node again.
    lab.hold("n2/kubelet")
    lab.delete("node", "n2")

    lab.wait_until(lambda: not {"n2", "node:n2"} & {name for _, name in northbound.uuids(lab)}, "its rows gone")
    lab.wait_until(lambda: northbound.interface_ids(lab, "n2") == set(), "its management port gone")
    assert routes(lab, "n2") == set()
    lab.wait_until(
        lambda: "table inet ovnk {" not in lab.exec("node/n2", "nft", "list", "ruleset").stdout, "rules gone"
    )
    assert not lab.kubectl("get", "nodenetwork", "n2", "--ignore-not-found")
    everybody_talks(lab, "default/stays")

    lab.release("n2/kubelet")
    lab.apply(workloads.server("again", "n2"))
    everybody_talks(lab, "default/stays", "default/again")
