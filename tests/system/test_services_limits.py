"""Services that are wrong, or very large: each is told on the object, and all the rest works."""

import json
from typing import Any

import pytest

from tests.labs import Lab
from tests.system import servers, workloads
from tests.system.services import Asking, ask, cluster_ip, established, service

pytestmark = pytest.mark.system

# A network behind the outside place, every address of which answers as itself.
MANY, ENDPOINTS, SLICE = "198.18.0.0/20", 1000, 100
MANY_PORT = 18101


def slice_of(name: str, of: str, space: str, addresses: list[str], kind: str = "IPv4", port: int = 8080) -> Any:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": space, "labels": {"kubernetes.io/service-name": of}},
        "addressType": kind,
        "ports": [{"name": "tcp", "port": port, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address]} for address in addresses],
    }


def test_what_is_wrong_is_told_and_the_rest_works(dual_stack: Lab, space: str) -> None:
    lab = dual_stack
    pool = {
        "apiVersion": "ovnk.io/v1",
        "kind": "AddressPool",
        "metadata": {"name": space},
        "spec": {
            "addresses": ["198.51.100.77"],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": space}},
        },
    }
    lab.apply(
        [pool, workloads.server("web", "n1", space=space, app="web"), workloads.server("client", "n2", space=space)]
    )
    lab.apply(
        [
            *(service(name, space, {"app": "web"}, externalIPs=["198.51.100.78"]) for name in ("good", "late")),
            *(service(name, space, {"app": "web"}, type="LoadBalancer") for name in ("pooled", "waiting")),
            service("manual", space, None),
            slice_of("nowhere", "manual", space, ["10.244.250.9"]),
            slice_of("names", "manual", space, ["db.example.org"], "FQDN"),
        ]
    )
    ready = lab.wait_ready([f"{space}/web", f"{space}/client"])
    established(lab, "good", space, set(workloads.addresses(ready[f"{space}/web"])))
    assert ask(lab, f"{space}/client", cluster_ip(lab, "good", space, 6))[0].pod == f"{space}/web"

    def told() -> set[tuple[str, str, str]]:
        events = lab.get("events", f"--namespace={space}")["items"]
        ours = [one for one in events if one["source"].get("component") == "ovnk-controller"]
        return {(one["involvedObject"]["kind"], one["involvedObject"]["name"], one["reason"]) for one in ours}

    wanted = {("EndpointSlice", "nowhere", "EndpointsNowhere"), ("EndpointSlice", "names", "EndpointsLeftOut")}
    lab.wait_until(lambda: told() >= wanted, f"the events; there are {told()}")
    # Of two that were made in the same second the UIDs say which one has it.
    rivals = {(name, reason) for _, name, reason in told() - wanted}
    assert {reason for _, reason in rivals} == {"ExternalAddressTaken", "PoolExhausted"}
    assert len(rivals) == 2, "nothing else is wrong"
    lab.delete("addresspool", space)


def test_a_service_of_a_thousand_endpoints_is_served_by_all_of_them(dual_stack: Lab, space: str) -> None:
    lab = dual_stack
    addresses = [f"198.18.{number // 250}.{number % 250 + 1}" for number in range(ENDPOINTS)]
    lab.exec("outside", "ip", "route", "add", "local", MANY, "dev", "lo")
    server = lab.popen("outside", workloads.PYTHON, "-c", servers.EACH_ADDRESS, str(MANY_PORT))
    try:
        assert server.stdout
        assert server.stdout.readline() == "ready\n"
        parts = [addresses[first : first + SLICE] for first in range(0, ENDPOINTS, SLICE)]
        slices = [slice_of(f"many-{n}", "many", space, part, port=MANY_PORT) for n, part in enumerate(parts)]
        lab.apply([service("many", space, None), workloads.server("client", "n1", space=space), *slices])
        lab.wait_ready(f"{space}/client")
        established(lab, "many", space, set(addresses))
        heard = ask(lab, f"{space}/client", cluster_ip(lab, "many", space, 4), times=400)
        assert not [answer.error for answer in heard if answer.error]
        # Of 400 throws among 1,000 some 330 are different ones, and fewer than 290 once in millions.
        assert len({answer.pod for answer in heard}) > 290
        with Asking(lab, f"{space}/client", cluster_ip(lab, "many", space, 4)) as client:
            client.more(5)
            for slice_ in slices[1:]:
                slice_["endpoints"] = []
            lab.kubectl(
                "apply", "--filename=-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": slices})
            )
            established(lab, "many", space, set(parts[0]))
            assert {answer.pod for answer in client.more(20)} <= set(parts[0])
        assert not [answer.error for answer in client.heard if answer.error]
    finally:
        server.kill()
        server.communicate()
        lab.exec("outside", "ip", "route", "del", "local", MANY, "dev", "lo")
