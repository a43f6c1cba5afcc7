"""Everybody reaches everybody with real packets, on every kind of lab: no NAT, no port mapping, any packet size."""

import ipaddress
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.labs import OUTSIDE_V4, OUTSIDE_V6, Lab, running_lab
from tests.system import probes, translations, workloads
from tests.system.probes import Answer

pytestmark = pytest.mark.system

SPACE = "matrix"
BULK_BYTES = 12 * 1024 * 1024
OVERHEAD_BYTES = {"geneve": 58, "vxlan": 50}


@dataclass
class Matrix:
    """A lab with two pods on each node and a hostNetwork pod beside them, and who reached whom."""

    lab: Lab
    versions: tuple[int, ...]
    encapsulation: str
    pods: dict[str, dict[str, Any]]
    hosts: dict[str, dict[str, Any]]
    answers: list[Answer]

    def node(self, name: str) -> str:
        return str((self.pods | self.hosts)[name]["spec"]["nodeName"])

    def places(self) -> dict[str, str]:
        """Where to ask from, by the name of the pod that is there."""
        return {**{name: name for name in self.pods}, **{name: f"node/{self.node(name)}" for name in self.hosts}}

    def between(self, sources: object, targets: object) -> list[Answer]:
        """The answers to sources and targets that are among these."""
        places = self.places()
        wanted = {places[name] for name in sources}  # type: ignore[attr-defined]
        return [answer for answer in self.answers if answer.source in wanted and answer.target in targets]


# Each family and each encapsulation by itself; the first is the lab that tests share.
KINDS = {
    "dual": ((4, 6), "geneve", None),
    "ipv6": ((6,), "geneve", ["--ip-family=ipv6"]),
    "vxlan": ((4,), "vxlan", ["--ip-family=ipv4", "--encap=vxlan"]),
}


@pytest.fixture(scope="module", params=KINDS)
def matrix(request: pytest.FixtureRequest) -> Iterator[Matrix]:
    versions, encapsulation, options = KINDS[request.param]
    if options is None:
        shared = request.getfixturevalue("dual_stack")
        yield build(shared, versions, encapsulation)
        shared.delete("namespace", SPACE)
        return
    with running_lab(3, options) as lab:
        yield build(lab, versions, encapsulation)


def build(lab: Lab, versions: tuple[int, ...], encapsulation: str) -> Matrix:
    pods = [workloads.server(f"pod-{node}-{number}", node, space=SPACE) for node in lab.nodes for number in (1, 2)]
    hosts = [workloads.server(f"host-{node}", node, space=SPACE, host_network=True) for node in lab.nodes]
    lab.apply([workloads.namespace(SPACE), *pods, *hosts])
    ready = lab.wait_ready(f"{SPACE}/{pod['metadata']['name']}" for pod in (*pods, *hosts))
    on_host = {name: pod for name, pod in ready.items() if pod["spec"].get("hostNetwork")}
    of_pods = {name: pod for name, pod in ready.items() if name not in on_host}
    found = Matrix(lab, versions, encapsulation, of_pods, on_host, [])
    sources = list(found.places().values())
    found.answers = probes.ask(lab, sources, {name: workloads.addresses(pod) for name, pod in ready.items()})
    return found


def test_every_pod_has_an_address_of_each_family(matrix: Matrix) -> None:
    for pod in matrix.pods.values():
        families = sorted(ipaddress.ip_address(address).version for address in workloads.addresses(pod))
        assert families == list(matrix.versions)


def test_r02_every_pod_reaches_every_pod(matrix: Matrix) -> None:
    answers = matrix.between(matrix.pods, matrix.pods)

    assert len(answers) == 6 * 6 * len(matrix.versions) * len(("TCP", "UDP", "ICMP"))
    assert not probes.failed(answers)


def test_r11_every_pod_is_seen_with_its_own_address_and_port(matrix: Matrix) -> None:
    answers = matrix.between(matrix.pods, matrix.pods)

    assert not probes.translated(answers)
    own = {name: workloads.addresses(pod) for name, pod in matrix.pods.items()}
    assert not [answer for answer in answers if answer.seen and answer.seen[0] not in own[answer.source]]


def test_r11_no_node_holds_a_translation_of_a_pod_pair(matrix: Matrix) -> None:
    """The pods have just talked, all of them: what was translated would be in the tables."""
    pods = {address for pod in matrix.pods.values() for address in workloads.addresses(pod)}

    for node in matrix.lab.nodes:
        assert not [one for one in translations.of_node(matrix.lab, node) if one.source in pods and one.target in pods]


def test_r12_node_agents_reach_all_pods_of_their_node(matrix: Matrix) -> None:
    answers = [
        answer
        for host in matrix.hosts
        for answer in matrix.between([host], matrix.pods)
        if matrix.node(host) == matrix.node(answer.target)
    ]

    assert len(answers) == 3 * 2 * len(matrix.versions) * 3
    assert not probes.failed(answers)
    assert not probes.translated(answers)


def test_r13_host_network_pods_reach_all_pods_with_an_address_of_their_node(matrix: Matrix) -> None:
    answers = matrix.between(matrix.hosts, matrix.pods)

    assert not probes.failed(answers)
    assert not probes.translated(answers)
    for host in matrix.hosts:
        interfaces = json.loads(matrix.lab.exec(f"node/{matrix.node(host)}", "ip", "-json", "address").stdout)
        own = {address["local"] for interface in interfaces for address in interface["addr_info"]}
        assert {answer.seen[0] for answer in matrix.between([host], matrix.pods) if answer.seen} <= own


def test_r13_pods_reach_host_network_pods_with_their_own_address(matrix: Matrix) -> None:
    """By UDP too: the server is bound to no address, and answers from the one it was asked at."""
    answers = matrix.between(matrix.pods, matrix.hosts)

    assert len(answers) == 6 * 3 * len(matrix.versions) * 3
    assert not probes.failed(answers)
    assert not probes.translated(answers)


def test_r09_no_port_of_a_node_is_mapped_to_a_pod(matrix: Matrix) -> None:
    """The rules for Services are there, but nothing in them leads to a pod: there is no hostPort and no node port."""
    addresses = {ip["ip"] for pod in matrix.pods.values() for ip in pod["status"]["podIPs"]}
    for node in matrix.lab.nodes:
        rules = matrix.lab.exec(f"node/{node}", "nft", "list", "ruleset").stdout
        assert "masquerade" in rules
        assert not [address for address in addresses if re.search(rf"\b{re.escape(address)}\b", rules)]
    assert "hostPort" not in json.dumps(list(matrix.pods.values()))


@pytest.mark.parametrize("target", ["pod-n1-2", "pod-n2-1"], ids=["same node", "across nodes"])
def test_bulk_tcp_goes_both_ways(matrix: Matrix, target: str) -> None:
    """A wrong MTU or checksum offload lets a ping pass and stops this."""
    for version in matrix.versions:
        address = workloads.of_family(matrix.pods[f"{SPACE}/{target}"], version)
        url = f"http://{f'[{address}]' if version == 6 else address}:{workloads.PORT}"
        received = matrix.lab.exec(
            f"{SPACE}/pod-n1-1", "curl", "-sf", "-m30", "-o", "/dev/null", "-w%{size_download}",
            f"{url}/bytes/{BULK_BYTES}",
        )  # fmt: skip
        assert received.stdout == str(BULK_BYTES)
        upload = f"head -c {BULK_BYTES} /dev/zero | curl -sf -m30 --data-binary @- {url}/"
        sent = matrix.lab.exec(f"{SPACE}/pod-n1-1", "sh", "-c", upload)
        assert sent.stdout, sent.stderr
        assert json.loads(sent.stdout)["received"] == BULK_BYTES


def test_the_largest_packet_of_a_pod_passes_whole_and_a_larger_one_is_refused_at_home(matrix: Matrix) -> None:
    source, target = f"{SPACE}/pod-n1-1", matrix.pods[f"{SPACE}/pod-n3-1"]
    link = json.loads(matrix.lab.exec(source, "ip", "-json", "link", "show", "eth0").stdout)[0]
    outer = 20 if 6 in matrix.versions and 4 not in matrix.versions else 0
    assert link["mtu"] == 1500 - OVERHEAD_BYTES[matrix.encapsulation] - outer
    for version in matrix.versions:
        address, headers = workloads.of_family(target, version), {4: 28, 6: 48}[version]
        whole, larger = (
            matrix.lab.exec(
                source, "ping", "-c1", f"-W{patience_s}", "-Mdo", f"-s{link['mtu'] - headers + more}", address
            )
            for more, patience_s in ((0, 3), (1, 0.1))
        )
        assert whole.returncode == 0, whole.stdout + whole.stderr
        assert "message too long" in larger.stderr, larger.stdout


def test_the_outside_sees_the_nodes_address_for_what_a_pod_sends_it(matrix: Matrix) -> None:
    outside = {4: OUTSIDE_V4, 6: OUTSIDE_V6}
    port = "9000"
    for version in matrix.versions:
        listener = matrix.lab.popen("outside", workloads.PYTHON, "-uc", _SAY_WHO_CALLS, outside[version], port)
        assert listener.stdout is not None
        assert listener.stdout.readline() == "listening\n"
        try:
            for name, pod in matrix.pods.items():
                seen = matrix.lab.exec(name, "curl", "-sf", "-m5", f"http://{_url(outside[version])}:{port}/").stdout
                assert seen == workloads.host_address(pod, version), name
                ping = matrix.lab.exec(name, "ping", "-c1", "-W3", outside[version])
                assert ping.returncode == 0, ping.stdout
        finally:
            listener.kill()
            listener.wait()
        node = matrix.node(name)
        assert [one for one in translations.of_node(matrix.lab, node) if one.target == outside[version]], (
            "the tables show what is translated, so their having none of the pods' pairs means something"
        )


_SAY_WHO_CALLS = """
import http.server, socket, sys
class Server(http.server.HTTPServer):
    address_family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.client_address[0].encode())
server = Server((sys.argv[1], int(sys.argv[2])), Handler)
print("listening")
server.serve_forever()
"""


def _url(address: str) -> str:
    return f"[{address}]" if ":" in address else address
