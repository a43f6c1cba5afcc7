"""The lab's kubelet runs pods as people's manifests expect it."""

import json
from collections.abc import Iterator

import pytest

from tests.labs import Lab, Object, running_lab

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with running_lab(nodes=1) as running_one:
        yield running_one


def pod(name: str, *containers: Object, **spec: object) -> Object:
    default = {"name": "main", "image": "ignored"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "restartPolicy": "Never",
            **spec,
            "containers": [{**default, **container} for container in containers or ({},)],
        },
    }


def sh(script: str, **more: object) -> Object:
    return {"command": ["sh", "-c", script], **more}


def run_to_end(lab: Lab, value: Object, phase: str) -> Object:
    lab.apply(value)
    name = value["metadata"]["name"]
    lab.kubectl("wait", f"pod/{name}", f"--for=jsonpath={{.status.phase}}={phase}", "--timeout=20s")
    return lab.get("pod", name)["status"]


def states(status: Object, kind: str = "containerStatuses") -> dict[str, Object]:
    return {container["name"]: container for container in status[kind]}


def test_a_command_runs_in_the_pods_network_with_its_environment(lab: Lab) -> None:
    env = [
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "WHO", "value": "$(IP) is $(UNKNOWN)"},
        {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
    ]
    script = "echo $WHO, $APP on $NODE; hostname; ip -oneline -family inet address show eth0; echo $0"
    value = pod("command", {"command": ["sh", "-c", script], "args": ["$(APP)!"], "env": env})
    value["metadata"]["labels"] = {"app": "web"}

    status = run_to_end(lab, value, "Succeeded")

    said = lab.container_log("default/command", "main").splitlines()
    assert said[0] == f"{status['podIP']} is $(UNKNOWN), web on n1"
    assert said[1] == "command"
    assert f"inet {status['podIP']}/" in said[2]
    assert said[3] == "web!"


def test_the_exit_code_decides_the_phase(lab: Lab) -> None:
    status = run_to_end(lab, pod("fails", sh("exit 0", name="good"), sh("exit 3", name="bad")), "Failed")

    ended = {name: container["state"]["terminated"] for name, container in states(status).items()}
    assert (ended["good"]["exitCode"], ended["good"]["reason"]) == (0, "Completed")
    assert (ended["bad"]["exitCode"], ended["bad"]["reason"]) == (3, "Error")


def test_a_finished_pod_has_given_its_network_back(lab: Lab) -> None:
    run_to_end(lab, pod("finished", sh("true")), "Succeeded")

    lab.wait_until(lambda: "default/finished" not in json.dumps(_records(lab)), "its record gone")
    assert (
        lab.exec("node/n1", "ovs-vsctl", "--bare", "find", "Interface", "external_ids:iface-id=default/finished").stdout
        == ""
    )


def test_init_containers_run_one_after_the_other_and_first(lab: Lab) -> None:
    initial = [sh("echo first >> /run/order", name="one"), sh("sleep 0.2; echo second >> /run/order", name="two")]
    spec = [{"image": "ignored", **container} for container in initial]

    run_to_end(lab, pod("ordered", sh("echo third >> /run/order"), initContainers=spec), "Succeeded")

    assert lab.exec("node/n1", "cat", "/run/order").stdout.split() == ["first", "second", "third"]


def test_a_failed_init_container_fails_the_pod(lab: Lab) -> None:
    spec = [{"image": "ignored", **sh("exit 4", name="one")}]

    status = run_to_end(lab, pod("no-start", sh("echo never"), initContainers=spec), "Failed")

    assert states(status, "initContainerStatuses")["one"]["state"]["terminated"]["exitCode"] == 4
    assert states(status)["main"]["state"]["waiting"]["reason"] == "PodInitializing"


def test_a_failed_container_is_started_again_until_it_succeeds(lab: Lab) -> None:
    status = run_to_end(
        lab,
        pod("retries", sh("test -e /run/tried || { touch /run/tried; exit 1; }"), restartPolicy="OnFailure"),
        "Succeeded",
    )

    container = states(status)["main"]
    assert container["restartCount"] == 1
    assert container["lastState"]["terminated"]["exitCode"] == 1


def test_a_container_that_keeps_failing_is_started_ever_later(lab: Lab) -> None:
    lab.apply(pod("loops", sh("exit 1"), restartPolicy="Always"))

    path = "{.status.containerStatuses[0].state.waiting.reason}"
    lab.kubectl("wait", "pod/loops", f"--for=jsonpath={path}=CrashLoopBackOff", "--timeout=20s")
    assert lab.get("pod", "loops")["status"]["phase"] == "Running"
    lab.delete("pod", "loops")


def test_a_command_that_cannot_be_started_says_why(lab: Lab) -> None:
    status = run_to_end(lab, pod("absent", {"command": ["/no/such/program"]}), "Failed")

    ended = states(status)["main"]["state"]["terminated"]
    assert (ended["reason"], "No such file" in ended["message"]) == ("StartError", True)


def test_readiness_follows_its_probe(lab: Lab) -> None:
    probe = {"exec": {"command": ["test", "-e", "/run/ready"]}, "periodSeconds": 1}
    lab.apply(pod("probed", {"readinessProbe": probe}))
    lab.kubectl("wait", "pod/probed", "--for=jsonpath={.status.phase}=Running", "--timeout=20s")
    assert "False" in lab.kubectl(
        "get", "pod", "probed", "-o", 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'
    )

    lab.exec("node/n1", "touch", "/run/ready")

    lab.wait_ready("default/probed", timeout=10)


@pytest.mark.parametrize(
    ("name", "probe"),
    [
        ("http", {"httpGet": {"path": "/healthz", "port": "web"}}),
        ("tcp", {"tcpSocket": {"port": 8080}}),
    ],
    ids=["http", "tcp"],
)
def test_probes_reach_the_pod_from_the_node(lab: Lab, name: str, probe: Object) -> None:
    ports = [{"name": "web", "containerPort": 8080}]
    lab.apply(pod(f"probe-{name}", {"ports": ports, "readinessProbe": {**probe, "periodSeconds": 1}}))

    lab.wait_ready(f"default/probe-{name}", timeout=10)


def test_a_container_that_is_not_alive_is_started_again(lab: Lab) -> None:
    probe = {"exec": {"command": ["test", "!", "-e", "/run/ill"]}, "periodSeconds": 1, "failureThreshold": 1}
    script = "rm -f /run/ill; trap 'exit 0' TERM; sleep 60 & wait"
    lab.apply(pod("ill", sh(script, livenessProbe=probe), restartPolicy="Always"))
    lab.wait_ready("default/ill")

    lab.exec("node/n1", "touch", "/run/ill")

    lab.wait_until(lambda: states(lab.get("pod", "ill")["status"])["main"]["restartCount"] == 1, "its restart")
    lab.delete("pod", "ill")


def test_deletion_ends_a_container_in_good_order(lab: Lab) -> None:
    script = "trap 'echo ended > /run/ended; exit 0' TERM; sleep 60 & wait"
    lab.apply(pod("polite", sh(script), terminationGracePeriodSeconds=20))
    lab.wait_ready("default/polite")

    lab.delete("pod", "polite", timeout=10)

    assert lab.exec("node/n1", "cat", "/run/ended").stdout == "ended\n"


def test_a_container_that_will_not_end_is_killed_after_its_grace(lab: Lab) -> None:
    lab.apply(pod("stubborn", sh("trap '' TERM; echo $$ > /run/stubborn; while true; do sleep 1; done")))
    lab.wait_ready("default/stubborn")

    lab.delete("pod", "stubborn", timeout=15)

    process = lab.exec("node/n1", "cat", "/run/stubborn").stdout.strip()
    assert lab.exec("node/n1", "test", "-e", f"/proc/{process}").returncode == 1


def test_a_forced_deletion_gives_the_sandbox_back_too(lab: Lab) -> None:
    lab.apply(pod("forced"))
    lab.wait_ready("default/forced")

    lab.delete("pod", "forced", "--grace-period=0", "--force")

    lab.wait_until(lambda: "default/forced" not in json.dumps(_records(lab)), "its record gone")


def test_a_pod_in_the_nodes_network_has_the_nodes_address(lab: Lab) -> None:
    lab.apply(pod("host", {"ports": [{"containerPort": 9090}]}, hostNetwork=True))

    status = lab.wait_ready("default/host")["default/host"]["status"]

    assert status["podIP"] == "192.168.100.1"
    answer = lab.fetch("outside", "http://192.168.100.1:9090/")
    assert answer is not None
    assert answer["pod"] == "default/host"


def test_the_builtin_server_tells_who_it_is_and_whom_it_sees(lab: Lab) -> None:
    ports = [{"containerPort": 80}, {"containerPort": 53, "protocol": "UDP"}]
    lab.apply([pod("server", {"name": "one", "ports": ports}, {"name": "two"}), pod("client")])
    there = lab.wait_ready(["default/server", "default/client"])
    server, client = (there[f"default/{name}"]["status"]["podIP"] for name in ("server", "client"))

    answer = lab.fetch("default/client", f"http://{server}/")
    assert answer is not None
    assert (answer["pod"], answer["node"], answer["container"]) == ("default/server", "n1", "one")
    assert answer["clientAddress"] == client
    assert lab.fetch("default/client", f"http://{server}:8080/")["container"] == "two"
    text = lab.exec("default/client", "curl", "-s", "-H", "Accept: text/plain", f"http://{server}/").stdout
    assert text.startswith(f"default/server on n1 sees {client}:")
    script = "import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.settimeout(3); "
    script += f"s.sendto(b'hello', ('{server}', 53)); print(s.recv(999).decode())"
    datagram = json.loads(lab.exec("default/client", "python3", "-c", script).stdout)
    assert (datagram["protocol"], datagram["clientAddress"], datagram["data"]) == ("UDP", client, "hello")


def test_the_builtin_server_sends_and_takes_much(lab: Lab) -> None:
    lab.apply([pod("bulk"), pod("bulk-client")])
    address = lab.wait_ready(["default/bulk", "default/bulk-client"])["default/bulk"]["status"]["podIP"]

    script = f"curl -s http://{address}:8080/bytes/12345678 | curl -s --data-binary @- http://{address}:8080/"
    done = lab.exec("default/bulk-client", "sh", "-c", script)

    assert json.loads(done.stdout)["received"] == 12345678


def test_a_restarted_kubelet_makes_its_pods_anew_with_their_addresses(lab: Lab) -> None:
    lab.apply(pod("stays", sh("echo started; sleep 60"), restartPolicy="Always"))
    before = lab.wait_ready("default/stays")["default/stays"]["status"]["podIP"]
    network = _records(lab)["default/stays"]["network"]

    lab.restart("n1/kubelet", 9)

    lab.wait_until(lambda: lab.container_log("default/stays", "main") == "started\n" * 2, "its second start")
    assert lab.wait_ready("default/stays")["default/stays"]["status"]["podIP"] == before
    assert lab.exec("node/n1", "test", "-e", network).returncode == 1, "the first sandbox is gone"
    lab.delete("pod", "stays")


def test_a_node_is_ready_while_a_conflist_is_in_its_folder(lab: Lab) -> None:
    def moved(source: str, target: str) -> None:
        assert lab.exec("node/n1", "mv", source, target).returncode == 0

    def wait_ready(ready: bool) -> None:
        lab.kubectl("wait", "node/n1", f"--for=condition=Ready={ready}", "--timeout=10s")

    there = "/run/cni/net.d/10-ovnk.conflist"
    # The agent would put it back.
    lab.hold("n1/agent")
    moved(there, "/run/cni/away")
    wait_ready(False)
    # containerd 1.6 does not notice a file that is renamed in from another folder, but any other change.
    moved("/run/cni/away", f"{there}.tmp")
    moved(f"{there}.tmp", there)
    wait_ready(True)
    lab.release("n1/agent")


def _records(lab: Lab) -> dict[str, Object]:
    """What the kubelet keeps of its sandboxes, by pod."""
    files = (lab.state.node("n1") / "pods").glob("*/*/sandbox.json")
    return {f"{file.parents[1].name}/{file.parent.name}": json.loads(file.read_text()) for file in files}
