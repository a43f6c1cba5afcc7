"""What a node itself does for Services and pods, with real packets: on which addresses, for whom, and what it tells.

Who answers whom at which kind of Service is the table's (test_services_table.py); here are host ports (R19, R20),
--nodeport-addresses, health check ports, source ranges, ports that somebody else has, and rules that somebody deletes.
"""

import contextlib
import itertools
import json
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from tests.labs import Lab, running_lab
from tests.system import batch, workloads
from tests.system.services import Heard, node_address, service
from tests.system.workloads import Object

pytestmark = pytest.mark.system

SPACE = "own"
# Of n1, beside those it is known by; node ports are served on the latter alone.
SECOND = {4: "192.168.101.1", 6: "fd00:192:168:101::1"}
SERVED = "192.168.100.0/24,fd00:192:168:100::/64"
OUTSIDE = {4: "192.168.100.253", 6: "fd00:192:168:100::fd"}
EXTERNAL = {4: "198.51.100.9", 6: "2001:db8:9::9"}
HOST_PORT, PINNED_PORT, NODE_PORT, HEALTH_PORT = 8088, 8089, 30080, 30090
PLACES = (f"{SPACE}/client", "node/n1", "node/n2", "outside")
FAMILIES, PROTOCOLS = (4, 6), ("TCP", "UDP")

# Arguments: protocol, port. Has the port, and says so.
_LISTENER = """
import socket, sys, time
kind = socket.SOCK_STREAM if sys.argv[1] == "TCP" else socket.SOCK_DGRAM
taken = socket.socket(socket.AF_INET6, kind)
taken.bind(("::", int(sys.argv[2])))
if kind == socket.SOCK_STREAM:
    taken.listen()
print("listening", flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("OVNK_NODEPORT_ADDRESSES", SERVED)
        with running_lab(2, ["--ip-family=dual"]) as made:
            for version, address in SECOND.items():
                length = {4: 24, 6: 64}[version]
                run(made, "node/n1", "ip", "address", "add", f"{address}/{length}", "dev", "br-phy", "nodad")
                for to in (address, EXTERNAL[version]):
                    run(made, "outside", "ip", "route", "add", to, "via", node_address(made, "n1", version))
            made.apply(
                [
                    workloads.namespace(SPACE),
                    workloads.server("web", "n1", space=SPACE, app="web"),
                    workloads.server("client", "n2", space=SPACE),
                    with_host_port("mapped", HOST_PORT),
                    with_host_port("pinned", PINNED_PORT, SECOND[4], SECOND[6]),
                    node_port("web", NODE_PORT),
                ]
            )
            made.wait_ready([f"{SPACE}/{name}" for name in ("web", "client", "mapped", "pinned")])
            reached(made, "outside", (node_address(made, "n1", 6), NODE_PORT, "TCP"))
            yield made


def run(lab: Lab, place: str, *command: str) -> str:
    done = lab.exec(place, *command)
    assert done.returncode == 0, done.stderr
    return done.stdout


def managed(lab: Lab, node: str, version: int) -> str:
    """The address that clients have whose traffic a node has masqueraded."""
    listed = [one.partition("/")[0] for one in lab.get("nodenetwork", node)["spec"]["management"]["addresses"]]
    return next(one for one in listed if (":" in one) == (version == 6))


def with_host_port(name: str, port: int, *addresses: str, node: str = "n1") -> Object:
    """A server whose port is the node's too, TCP and UDP; on all of its addresses or on these."""
    made = workloads.server(name, node, space=SPACE)
    ports = made["spec"]["containers"][0]["ports"]
    mappings = [{**one, "hostPort": port, "hostIP": address} for one in ports for address in addresses or ("",)]
    for number, mapping in enumerate(mappings):
        mapping["name"] = f"port-{number}"
    made["spec"]["containers"][0]["ports"] = mappings
    return made


def node_port(name: str, port: int, app: str = "web", **spec: Any) -> Object:
    made = service(name, SPACE, {"app": app}, type="NodePort", **spec)
    for one in made["spec"]["ports"]:
        one["nodePort"] = port
    return made


def asked(lab: Lab, places: Iterable[str], targets: Iterable[batch.Target]) -> dict[tuple[str, batch.Target], Heard]:
    """What each of the places hears of each of the targets, all at once."""
    return {question: answer for question, (answer,) in batch.ask(lab, places, list(targets), 1).items()}


def both(*addresses: str, port: int) -> list[batch.Target]:
    """The port of these addresses, TCP and UDP."""
    return [(address, port, protocol) for address in addresses for protocol in PROTOCOLS]


def reached(lab: Lab, place: str, *targets: batch.Target) -> None:
    lab.wait_until(
        lambda: all(one.pod for one in asked(lab, [place], targets).values()), f"{targets} served to {place}"
    )


def told(lab: Lab, reason: str, name: str) -> list[str]:
    """The messages of the Events of that reason about an object."""
    events = lab.get("events", f"--namespace={SPACE}", f"--field-selector=involvedObject.name={name}")["items"]
    return [one["message"] for one in events if one["reason"] == reason]


@contextlib.contextmanager
def listening(lab: Lab, node: str, protocol: str, port: int) -> Iterator[None]:
    process = lab.popen(f"node/{node}", workloads.PYTHON, "-c", _LISTENER, protocol, str(port))
    try:
        assert process.stdout
        assert process.stdout.readline() == "listening\n"
        yield
    finally:
        process.kill()
        process.communicate()


def test_r19_a_host_port_leads_to_its_pod_from_everywhere(lab: Lab) -> None:
    """Who is outside is seen as itself; pods and nodes, whose answers would not pass the node, as the node."""
    known = {node_address(lab, "n1", version): version for version in FAMILIES}
    for (place, (address, *_)), one in asked(lab, PLACES, both(*known, port=HOST_PORT)).items():
        version = known[address]
        whom = OUTSIDE[version] if place == "outside" else managed(lab, "n1", version)
        assert (one.pod, one.seen) == (f"{SPACE}/mapped", whom), (place, one)
    others = asked(lab, ["outside"], both(*SECOND.values(), port=HOST_PORT))
    others |= asked(lab, ["node/n1"], both("127.0.0.1", port=HOST_PORT))
    assert {one.pod for one in others.values()} == {f"{SPACE}/mapped"}, others


def test_r19_a_host_port_with_an_address_is_served_there_alone(lab: Lab) -> None:
    pinned = asked(lab, ["outside"], both(*SECOND.values(), port=PINNED_PORT))
    assert {(one.pod, one.seen) for one in pinned.values()} == {(f"{SPACE}/pinned", own) for own in OUTSIDE.values()}
    known = [node_address(lab, "n1", version) for version in FAMILIES]
    others = asked(lab, ["outside"], both(*known, port=PINNED_PORT)).values()
    assert all("Refused" in one.error for one in others), others


def test_r20_a_pod_knows_nothing_of_its_host_port(lab: Lab) -> None:
    seen = run(lab, f"{SPACE}/mapped", "sh", "-c", "ss -Hltun; ip address; env; cat /proc/1/environ | tr '\\0' '\\n'")
    assert "8080" in seen
    assert str(HOST_PORT) not in seen


def test_r19_a_host_port_is_one_pods_and_free_when_that_goes(lab: Lab) -> None:
    rival = with_host_port("rival", HOST_PORT)
    lab.apply(rival)
    lab.wait_until(lambda: f"is pod {SPACE}/mapped" in lab.logs("n1/kubelet"), "the refusal")
    lab.delete("pod", "mapped", f"--namespace={SPACE}")
    lab.wait_ready([f"{SPACE}/rival"])
    targets = both(*(node_address(lab, "n1", version) for version in FAMILIES), port=HOST_PORT)
    assert {one.pod for one in asked(lab, ["outside"], targets).values()} == {f"{SPACE}/rival"}
    lab.delete("pod", "rival", f"--namespace={SPACE}")
    assert all("Refused" in one.error for one in asked(lab, ["outside"], targets).values())
    lab.apply(with_host_port("mapped", HOST_PORT))
    lab.wait_ready([f"{SPACE}/mapped"])


def test_node_ports_are_served_on_the_addresses_that_the_operator_names(lab: Lab) -> None:
    known = [node_address(lab, node, version) for node in lab.nodes for version in FAMILIES]
    served = asked(lab, PLACES, both(*known, port=NODE_PORT))
    assert {one.pod for one in served.values()} == {f"{SPACE}/web"}, served
    others = asked(lab, ["outside"], both(*SECOND.values(), port=NODE_PORT))
    others |= asked(lab, ["node/n1"], both(*SECOND.values(), "127.0.0.1", "::1", port=NODE_PORT))
    assert all("Refused" in one.error for one in others.values()), others


def test_who_is_in_no_source_range_gets_no_answer_at_a_load_balancers_address(lab: Lab) -> None:
    """The node port is open to all, as with kube-proxy."""
    made = node_port("ranges", 30081)
    made["spec"] |= {"type": "LoadBalancer", "loadBalancerSourceRanges": [f"{OUTSIDE[4]}/32", f"{OUTSIDE[6]}/128"]}
    lab.apply(made)
    ingress = {"status": {"loadBalancer": {"ingress": [{"ip": address} for address in EXTERNAL.values()]}}}
    where = ("patch", "service", "ranges", f"--namespace={SPACE}", "--type=merge")
    lab.kubectl(*where, "--subresource=status", f"--patch={json.dumps(ingress)}")
    targets = both(*EXTERNAL.values(), port=80)
    reached(lab, "outside", *targets)

    def shut(place: str) -> bool:
        return all("imed out" in one.error for one in asked(lab, [place], targets).values())

    assert shut(f"{SPACE}/client")
    lab.kubectl(*where, f"--patch={json.dumps({'spec': {'loadBalancerSourceRanges': ['203.0.113.0/24']}})}")
    lab.wait_until(lambda: shut("outside"), "the ranges")
    ports = both(*(node_address(lab, "n2", version) for version in FAMILIES), port=30081)
    assert {one.pod for one in asked(lab, ["outside"], ports).values()} == {f"{SPACE}/web"}
    lab.delete("service", "ranges", f"--namespace={SPACE}")


def health(lab: Lab, node: str, version: int) -> tuple[int, str, Any]:
    """(status, header, body) that a load balancer outside is told of a node."""
    address = node_address(lab, node, version)
    host = f"[{address}]" if version == 6 else address
    head, _, body = run(lab, "outside", "curl", "-si", f"http://{host}:{HEALTH_PORT}/healthz").partition("\n\n")
    weight = next(line for line in head.splitlines() if line.lower().startswith("x-load-balancing-endpoint-weight"))
    return int(head.split()[1]), weight.partition(": ")[2], json.loads(body)


def test_a_load_balancer_is_told_which_nodes_have_endpoints_as_by_kube_proxy(lab: Lab) -> None:
    """And its owner, where another process has the port: until that ends, then it is served after all."""
    made = node_port("checked", 30083, app="checked", externalTrafficPolicy="Local")
    made["spec"] |= {"type": "LoadBalancer", "healthCheckNodePort": HEALTH_PORT}
    with listening(lab, "n2", "TCP", HEALTH_PORT):
        lab.apply([made, workloads.server("checked", "n1", space=SPACE, app="checked")])
        lab.wait_until(lambda: told(lab, "HealthCheckPortInUse", "checked"), "the Event")
        assert "on node n2" in told(lab, "HealthCheckPortInUse", "checked")[0]
    lab.wait_ready([f"{SPACE}/checked"])

    def answer(endpoints: int) -> tuple[int, str, Any]:
        status, named = (200 if endpoints else 503), {"namespace": SPACE, "name": "checked"}
        return status, str(endpoints), {"service": named, "localEndpoints": endpoints, "serviceProxyHealthy": True}

    def become(node: str, endpoints: int) -> None:
        lab.wait_until(lambda: _quietly(lab, node, 4) == answer(endpoints), f"{endpoints} endpoints told of {node}")

    become("n1", 1)
    become("n2", 0)
    assert [health(lab, node, 6) for node in lab.nodes] == [answer(1), answer(0)]
    lab.delete("pod", "checked", f"--namespace={SPACE}")
    become("n1", 0)
    lab.delete("service", "checked", f"--namespace={SPACE}")
    lab.wait_until(lambda: _quietly(lab, "n1", 4) is None, "the port closed")


def _quietly(lab: Lab, node: str, version: int) -> Any:
    try:
        return health(lab, node, version)
    except (AssertionError, StopIteration):
        return None


def test_a_port_that_a_process_of_the_node_has_is_told_and_served_all_the_same(lab: Lab) -> None:
    with contextlib.ExitStack() as several:
        for protocol, port in itertools.product(PROTOCOLS, (30084, 31084)):
            several.enter_context(listening(lab, "n2", protocol, port))
        lab.apply([node_port("taken", 30084), with_host_port("taken", 31084, node="n2")])
        lab.wait_ready([f"{SPACE}/taken"])
        lab.wait_until(lambda: len(told(lab, "PortInUse", "taken")) == 4, "the Events")
        messages = told(lab, "PortInUse", "taken")
        assert all("node n2" in message for message in messages)
        assert {message.partition(":")[0] for message in messages} == {
            f"{what}/{protocol}" for what in ("nodePort 30084", "hostPort 31084") for protocol in PROTOCOLS
        }
        to = node_address(lab, "n2", 4)
        served = asked(lab, ["outside"], [*both(to, port=30084), *both(to, port=31084)])
        assert [one.pod for one in served.values()] == [*(f"{SPACE}/web",) * 2, *(f"{SPACE}/taken",) * 2]
    lab.delete("service,pod", "taken", f"--namespace={SPACE}")


def test_rules_survive_the_agent_and_a_flush(lab: Lab) -> None:
    lab.restart("n1/agent")
    run(lab, "node/n1", "nft", "delete", "table", "inet", "ovnk-services")
    reached(lab, "outside", (node_address(lab, "n1", 4), NODE_PORT, "TCP"))
