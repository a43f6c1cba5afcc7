"""Addresses of a pool in a cluster that runs: given, waited for, taken back, and as they were after a restart (R04)."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.labs import Lab
from tests.system import workloads
from tests.system.services import service

pytestmark = pytest.mark.system

SPACE = "pooled"
ADDRESSES = {"198.51.100.200", "198.51.100.201"}


@pytest.fixture(scope="module")
def lab(zoned: Lab) -> Iterator[Lab]:
    pool = {
        "apiVersion": "ovnk.io/v1",
        "kind": "AddressPool",
        "metadata": {"name": SPACE},
        "spec": {
            "addresses": [f"{min(ADDRESSES)}/31"],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": SPACE}},
        },
    }
    zoned.apply([workloads.namespace(SPACE), pool])
    yield zoned
    zoned.delete("addresspool", SPACE)
    zoned.delete("namespace", SPACE)


def statuses(lab: Lab) -> dict[str, tuple[str, str]]:
    """Each Service's address and the reason that goes with it."""
    found = {}
    for one in lab.get("services", f"--namespace={SPACE}")["items"]:
        ingress: list[Any] = one["status"].get("loadBalancer", {}).get("ingress") or [{}]
        conditions: list[Any] = one["status"].get("conditions") or [{}]
        found[one["metadata"]["name"]] = (ingress[0].get("ip", ""), conditions[0].get("reason", ""))
    return found


def available(lab: Lab) -> tuple[str, str]:
    (condition,) = lab.get("addresspool", SPACE)["status"]["conditions"]
    return condition["status"], condition["message"]


def test_r04_addresses_are_given_kept_waited_for_and_taken_back(lab: Lab) -> None:
    for name in ("a", "b", "c"):
        lab.apply(service(name, SPACE, {"app": "web"}, type="LoadBalancer", ipFamilyPolicy="SingleStack"))
        lab.wait_until(lambda name=name: statuses(lab)[name][1], f"an answer to {name}")
    before = statuses(lab)
    assert {before[name] for name in ("a", "b")} == {(address, "Assigned") for address in ADDRESSES}
    assert before["c"] == ("", "PoolExhausted")
    lab.wait_until(lambda: available(lab) == ("False", "2 of 2 IPv4 addresses assigned"), "the pool's own condition")

    versions = [one["metadata"]["resourceVersion"] for one in lab.get("services", f"--namespace={SPACE}")["items"]]
    lab.restart("controller")
    # The new one leads, and has answered, once it gives what is free to whom waits; and wrote nothing else.
    lab.kubectl(
        "patch", "service", "a", f"--namespace={SPACE}", "--type=merge", '--patch={"spec":{"type":"ClusterIP"}}'
    )
    lab.wait_until(lambda: statuses(lab)["c"] == (before["a"][0], "Assigned"), "the address that is free")
    after = lab.get("services", f"--namespace={SPACE}")["items"]
    assert statuses(lab)["a"] == ("", ""), "nothing of ours is left"
    assert after[1]["metadata"]["resourceVersion"] == versions[1]

    lab.kubectl("annotate", "service", "c", f"--namespace={SPACE}", f"ovnk.io/load-balancer-ips={before['b'][0]}")
    lab.wait_until(lambda: statuses(lab)["c"] == (before["a"][0], "RequestTaken"), "what is asked for is not free")
    lab.delete("service", "b", f"--namespace={SPACE}")
    lab.wait_until(lambda: statuses(lab)["c"] == (before["b"][0], "Assigned"), "it gets what it asks for")
    lab.wait_until(lambda: available(lab) == ("True", "1 of 2 IPv4 addresses assigned"), "the pool's own condition")
