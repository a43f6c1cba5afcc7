"""Node ports, external addresses and host ports: from each place, who answers and whom it saw (R04, R19, R20)."""

from typing import Any

import pytest

from tests.labs import Lab, running_lab
from tests.system import workloads

pytestmark = pytest.mark.system

EXTERNAL = {4: "198.51.100.9", 6: "2001:db8:9::9"}
HOST_PORT = 8088
PLACES = ("default/client-1", "default/client-3", "node/n1", "node/n2", "default/host-1", "outside")
WEB = {"default/web-n1", "default/web-n2"}


def node_port(name: str, app: str, port: int = 8080, **spec: Any) -> workloads.Object:
    ports = [{"name": kind.lower(), "protocol": kind, "port": 80, "targetPort": port} for kind in ("TCP", "UDP")]
    spec = {"type": "NodePort", "selector": {"app": app}, "ipFamilyPolicy": "PreferDualStack", "ports": ports, **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


@pytest.fixture(scope="module")
def lab():
    with running_lab(3, ["--ip-family=dual"]) as made:
        host_port = workloads.server("host-port", "n2")
        host_port["spec"]["containers"][0]["ports"] = [{"containerPort": 8080, "hostPort": HOST_PORT}]
        pods = [
            *(workloads.server(f"web-{node}", node, app="web") for node in ("n1", "n2")),
            workloads.server("host-1", "n3", port=8099, host_network=True, app="host"),
            workloads.server("client-1", "n1"),
            workloads.server("client-3", "n3"),
            host_port,
        ]
        made.apply(pods)
        made.apply(
            [
                node_port("web", "web", externalIPs=list(EXTERNAL.values())),
                node_port("local", "web", externalTrafficPolicy="Local"),
                node_port("host", "host", 8099),
                node_port("affine", "web", sessionAffinity="ClientIP"),
                node_port("none", "nobody"),
            ]
        )
        made.wait_ready([f"default/{pod['metadata']['name']}" for pod in pods])
        made.wait_until(lambda: ask(made, "outside", address(made, "n3", 6), port(made, "web")), "the rules")
        yield made


def port(lab: Lab, service: str) -> int:
    number: int = lab.get("service", service)["spec"]["ports"][0]["nodePort"]
    return number


def address(lab: Lab, node: str, family: int) -> str:
    listed = [one["address"] for one in lab.get("node", node)["status"]["addresses"] if one["type"] == "InternalIP"]
    return next(one for one in listed if (":" in one) == (family == 6))


def ask(lab: Lab, place: str, to: str, number: int) -> tuple[str, str] | None:
    """(who answered, whom it saw), or None."""
    answer = lab.fetch(place, f"http://{f'[{to}]' if ':' in to else to}:{number}/", timeout=2)
    return (answer["pod"], answer["clientAddress"]) if answer else None


def managed(lab: Lab, node: str, family: int) -> str:
    """The address that clients have whose traffic a node has masqueraded."""
    listed = [one.partition("/")[0] for one in lab.get("nodenetwork", node)["spec"]["management"]["addresses"]]
    return next(one for one in listed if (":" in one) == (family == 6))


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("node", ["n1", "n3"])
def test_node_port_is_served_by_any_endpoint_on_every_node(lab, place, node, family):
    for service in ("web", "affine"):
        answer = ask(lab, place, address(lab, node, family), port(lab, service))
        assert answer is not None, service
        assert answer[0] in WEB
        assert answer[1] == managed(lab, node, family)
    assert ask(lab, place, address(lab, node, family), port(lab, "host"))[0] == "default/host-1"
    assert ask(lab, place, address(lab, node, family), port(lab, "none")) is None


@pytest.mark.parametrize("family", [4, 6])
def test_local_service_shows_an_outsider_to_the_endpoint_of_that_node_alone(lab, family):
    outside = {4: "192.168.100.253", 6: "fd00:192:168:100::fd"}[family]
    assert ask(lab, "outside", address(lab, "n1", family), port(lab, "local")) == ("default/web-n1", outside)
    assert ask(lab, "outside", address(lab, "n3", family), port(lab, "local")) is None
    assert ask(lab, "default/client-1", address(lab, "n3", family), port(lab, "local"))[0] in WEB
    assert ask(lab, "default/host-1", address(lab, "n3", family), port(lab, "local"))[0] in WEB


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("place", PLACES[:-1])
def test_external_address_is_served_from_within(lab, place, family):
    assert ask(lab, place, EXTERNAL[family], 80)[0] in WEB


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("place", ["node/n1", "node/n3", "default/host-1"])
def test_cluster_ip_is_served_to_nodes(lab, place, family):
    for service, who in (("web", WEB), ("host", {"default/host-1"})):
        ips = lab.get("service", service)["spec"]["clusterIPs"]
        to = next(one for one in ips if (":" in one) == (family == 6))
        assert ask(lab, place, to, 80)[0] in who


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("place", PLACES)
def test_host_port_leads_to_its_pod(lab, place, family):
    who, seen = ask(lab, place, address(lab, "n2", family), HOST_PORT)
    assert who == "default/host-port"
    outside = {4: "192.168.100.253", 6: "fd00:192:168:100::fd"}[family]
    assert seen == (outside if place == "outside" else managed(lab, "n2", family))


def test_host_port_is_served_on_the_loopback_address_and_goes_with_its_pod(lab):
    assert ask(lab, "node/n2", "127.0.0.1", HOST_PORT)[0] == "default/host-port"
    lab.delete("pod", "host-port", "--grace-period=0")
    to = address(lab, "n2", 4)
    lab.wait_until(lambda: ask(lab, "outside", to, HOST_PORT) is None, "the host port closed")
    assert lab.exec("outside", "curl", "-s", "-m2", f"http://{to}:{HOST_PORT}/").returncode == 7  # refused at once


def test_rules_survive_the_agent_and_a_flush(lab):
    lab.restart("n1/agent")
    lab.exec("node/n1", "nft", "delete", "table", "inet", "ovnk-services")
    to, number = address(lab, "n1", 4), port(lab, "web")
    lab.wait_until(lambda: ask(lab, "outside", to, number), "the rules back")
