"""R23: what happens where each node hands out the same range by itself, and that it does not happen here."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.labs import Lab
from tests.system import probes, workloads

pytestmark = pytest.mark.system

# As docker did: the first container of every host is 172.17.0.2.
CONTAINER = "172.17.0.2"
BY_HAND = f"""
set -e
ip netns add container
ip link add docker0 type bridge
ip address add 172.17.0.1/16 dev docker0
ip link set docker0 up
ip link add veth-host type veth peer name eth0 netns container
ip link set veth-host master docker0 up
ip -n container link set lo up
ip -n container address add {CONTAINER}/16 dev eth0
ip -n container link set eth0 up
ip -n container route add default via 172.17.0.1
nft add table ip docker
nft add chain ip docker postrouting '{{ type nat hook postrouting priority srcnat; }}'
nft add rule ip docker postrouting ip saddr 172.17.0.0/16 oifname != docker0 masquerade
"""
GONE = "ip netns delete container; ip link delete docker0; nft delete table ip docker"
SERVE = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(sys.argv[1].encode())
server = http.server.HTTPServer(("", 8000), Handler)
print("serving")
server.serve_forever()
"""


@contextmanager
def container_by_hand(lab: Lab, node: str) -> Iterator[None]:
    """A container on a bridge of the node's own, with a server that answers the node's name."""
    done = lab.exec(f"node/{node}", "sh", "-c", BY_HAND)
    assert done.returncode == 0, done.stderr
    server = lab.popen(
        f"node/{node}", "ip", "netns", "exec", "container", workloads.PYTHON, "-uc", SERVE, node
    )  # fmt: skip
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == "serving\n"
        yield
    finally:
        server.kill()
        server.wait()
        lab.exec(f"node/{node}", "sh", "-c", GONE)


def test_r23_containers_with_one_address_cannot_talk_and_pods_of_this_plugin_can(dual_stack: Lab, space: str) -> None:
    def asks(node: str, *options: str) -> str:
        curl = ["curl", "-s", "-m2", *options, f"http://{CONTAINER}:8000/"]
        return dual_stack.exec(f"node/{node}", "ip", "netns", "exec", "container", *curl).stdout

    with container_by_hand(dual_stack, "n1"), container_by_hand(dual_stack, "n2"):
        assert asks("n1") == "n1", "the address of the container on n2 is its own"
        assert asks("n2") == "n2"
        there = dual_stack.exec("node/n1", "ip", "route", "get", CONTAINER).stdout
        assert "dev docker0" in there, "no packet for it ever leaves the node"

    dual_stack.apply([workloads.server(f"on-{node}", node, 8000, space) for node in ("n1", "n2")])
    names = [f"{space}/on-n1", f"{space}/on-n2"]
    pods = dual_stack.wait_ready(names)

    first, second = (set(workloads.addresses(pod)) for pod in pods.values())
    assert not first & second
    answers = probes.ask(dual_stack, names, {name: workloads.addresses(pods[name]) for name in names}, port=8000)
    assert not probes.failed(answers)
    assert not probes.translated(answers)


def test_pods_go_although_somebody_names_namespaces_with_ip_meanwhile(dual_stack: Lab, space: str) -> None:
    dual_stack.apply(workloads.server("early", "n1", space=space))
    dual_stack.wait_ready(f"{space}/early")
    before = dual_stack.daemons()["n1/kubelet"]["process"]

    record = dual_stack.state.node("n1") / "pods" / space / "early" / "sandbox.json"
    network = json.loads(record.read_text())["network"]

    with container_by_hand(dual_stack, "n1"):
        dual_stack.delete("pod", "early", f"--namespace={space}")
        dual_stack.wait_until(
            lambda: dual_stack.exec("node/n1", "test", "-e", network).returncode == 1, "its namespace gone"
        )

    assert dual_stack.daemons()["n1/kubelet"]["process"] == before
