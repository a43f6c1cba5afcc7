"""What a pod finds in its network: localhost, its own ports, one address a family, and neighbours it needs not know."""

import ipaddress
import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from ovnk.lab.plan import bracketed
from tests.labs import Lab
from tests.system import northbound, probes, workloads
from tests.system.workloads import container, script

pytestmark = pytest.mark.system


def said(lab: Lab, pod: str, name: str, until: Callable[[str], object] = bool) -> str:
    """What a container has written, once `until` holds of it."""
    lab.wait_until(lambda: until(lab.container_log(pod, name)), f"what {pod}'s container {name} has to say")
    return lab.container_log(pod, name)


def test_r01_containers_of_a_pod_talk_over_localhost(dual_stack: Lab, space: str) -> None:
    serve = """
import socket
for address, family in (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)):
    server = socket.create_server((address, 9), family=family)
    print("serving", flush=True)
    server.accept()[0].sendall(b"here")
"""
    ask = """
import socket, time
for address in ("127.0.0.1", "::1"):
    while True:
        try:
            print(address, socket.create_connection((address, 9), 1).recv(9).decode())
            break
        except ConnectionRefusedError:
            time.sleep(0.02)
"""
    dual_stack.apply(workloads.pod("pair", [script("serve", serve), script("ask", ask)], "n1", space))

    dual_stack.wait_ready(f"{space}/pair")

    heard = said(dual_stack, f"{space}/pair", "ask", lambda text: text.count("\n") == 2)
    assert heard == "127.0.0.1 here\n::1 here\n"
    loopback = json.loads(dual_stack.exec(f"{space}/pair", "ip", "-json", "link", "show", "lo").stdout)[0]
    assert "UP" in loopback["flags"]


def test_r05_two_pods_of_a_node_bind_the_same_port_and_both_are_reached(dual_stack: Lab, space: str) -> None:
    names = [f"{space}/{name}" for name in ("a", "b")]
    dual_stack.apply([*(workloads.server(name, "n1", 80, space) for name in ("a", "b"))])
    dual_stack.apply(workloads.server("asker", "n2", space=space))

    ready = dual_stack.wait_ready([*names, f"{space}/asker"])

    targets = {name: workloads.addresses(ready[name]) for name in names}
    answers = probes.ask(dual_stack, [f"{space}/asker", "node/n1", *names], targets, port=80)
    assert len(answers) == 4 * 4 * 3
    assert not probes.failed(answers)


def test_r06_peers_see_the_very_port_that_a_pod_bound(dual_stack: Lab, space: str) -> None:
    variables = script("variables", "import json, os\nprint(json.dumps(dict(os.environ)))", env=[])
    port = {"containerPort": 4711, "protocol": "TCP"}
    dual_stack.apply(workloads.pod("app", [container("server", ports=[port]), variables], "n1", space))
    dual_stack.apply(workloads.server("asker", "n3", space=space))

    ready = dual_stack.wait_ready([f"{space}/app", f"{space}/asker"])

    for own, address in enumerate(workloads.addresses(ready[f"{space}/app"]), 40123):
        url = f"http://{bracketed(address)}:4711/"
        answer = dual_stack.fetch(f"{space}/asker", url, "--local-port", str(own))
        assert answer is not None
        assert answer["clientPort"] == own
    environment = json.loads(said(dual_stack, f"{space}/app", "variables", lambda text: text.endswith("\n")))
    assert not [name for name, value in environment.items() if "PORT" in name or "4711" in value]
    assert "hostPort" not in json.dumps(ready[f"{space}/app"]["spec"])


def test_r08_a_new_pod_changes_no_row_of_the_pods_that_are_there(dual_stack: Lab, space: str) -> None:
    names = [f"{space}/pod-{number}" for number in range(4)]
    dual_stack.apply([workloads.server(name.partition("/")[2], f"n{1 + number % 3}", space=space)
                      for number, name in enumerate(names)])  # fmt: skip
    dual_stack.wait_ready(names)
    before = northbound.versions(dual_stack)

    dual_stack.apply(workloads.server("new", "n1", space=space))
    new = dual_stack.wait_ready([f"{space}/new"])

    changed = {place for place, version in northbound.versions(dual_stack).items() if before.get(place) != version}
    assert changed == {("Logical_Switch_Port", f"{space}/new"), ("Logical_Switch", "n1")}
    answers = probes.ask(dual_stack, names, {name: workloads.addresses(pod) for name, pod in new.items()})
    assert len(answers) == 4 * 2 * 3
    assert not probes.failed(answers)


def test_r16_containers_share_address_mac_and_ports(dual_stack: Lab, space: str) -> None:
    look = """
import json, socket, subprocess
link = json.loads(subprocess.run(["ip", "-json", "address", "show", "eth0"], capture_output=True).stdout)[0]
print(json.dumps([link["address"], sorted(one["local"] for one in link["addr_info"] if one["scope"] == "global")]))
"""
    bind = """
import errno, socket, time
while True:
    try:
        server = socket.create_server(("", 8080))
        server.close()
    except OSError as error:
        print(errno.errorcode[error.errno])
        break
    time.sleep(0.02)
"""
    containers = [container("server"), script("one", look), script("two", look), script("binder", bind)]
    dual_stack.apply(workloads.pod("shared", containers, "n2", space))

    pod = dual_stack.wait_ready([f"{space}/shared"])[f"{space}/shared"]

    one, two = (said(dual_stack, f"{space}/shared", name, lambda text: "\n" in text) for name in ("one", "two"))
    assert one == two
    assert sorted(workloads.addresses(pod)) == json.loads(one)[1]
    assert said(dual_stack, f"{space}/shared", "binder", lambda text: "\n" in text) == "EADDRINUSE\n"


def test_a_pod_with_the_longest_names_is_like_any_other(dual_stack: Lab, space: str) -> None:
    """253 characters, of which Linux takes 63 for the host name."""
    long = f"{space}/{'.'.join(['a' * 63] * 4)[:253]}"
    command = container("app", "sh", "-c", "hostname; sleep 3600")
    spec = workloads.pod(long.partition("/")[2], [container("server"), command], "n1", space)
    dual_stack.apply([spec, workloads.server("asker", "n2", space=space)])

    pods = dual_stack.wait_ready([long, f"{space}/asker"])

    assert said(dual_stack, long, "app") == "a" * 63 + "\n"
    addresses = workloads.addresses(pods[long])
    answers = [dual_stack.fetch(f"{space}/asker", f"http://{bracketed(one)}:{workloads.PORT}/") for one in addresses]
    assert [answer["pod"] for answer in answers if answer] == [long] * 2


def test_r17_kernel_cni_result_northbound_and_api_agree_on_one_address_a_family(dual_stack: Lab, space: str) -> None:
    dual_stack.apply(workloads.server("one", "n3", space=space))

    name = f"{space}/one"
    pod = dual_stack.wait_ready([name])[name]

    api = workloads.addresses(pod)
    assert [":" in address for address in api] == [False, True]
    eth0 = json.loads(dual_stack.exec(name, "ip", "-json", "address", "show", "eth0").stdout)[0]
    kernel = [one["local"] for one in eth0["addr_info"] if one["scope"] == "global"]
    assert kernel == api
    tries = dual_stack.exec(name, "cat", "/proc/net/fib_trie").stdout
    assert set(re.findall(r"-- (\S+)\s+/32 host LOCAL", tries)) == {"127.0.0.1", api[0]}
    table = [line.split() for line in dual_stack.exec(name, "cat", "/proc/net/if_inet6").stdout.splitlines()]
    of_eth0 = {ipaddress.ip_address(bytes.fromhex(row[0])) for row in table if row[5] == "eth0"}
    assert {str(address) for address in of_eth0 if not address.is_link_local} == {api[1]}
    record: dict[str, Any] = json.loads((dual_stack.state.node("n3") / "pods" / name / "sandbox.json").read_text())
    assert [entry["address"].partition("/")[0] for entry in record["result"]["ips"]] == api
    port = northbound.row(dual_stack, "Logical_Switch_Port", name)
    assert port["addresses"] == f"{eth0['address']} {' '.join(api)}"
    assert port["port_security"] == port["addresses"]
    network = dual_stack.get("nodenetwork", "n3")["spec"]["pods"]
    assert [list(entry["ips"]) for entry in network if entry["namespace"] == space] == [api]
