"""A lab comes up, is entered and goes, and leaves the machine as it was."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovnk.lab import running, state
from ovnk.lab.state import State
from tests.labs import PROGRAM, Lab, ovnk, running_lab

pytestmark = pytest.mark.system


class Machine:
    """Mounts and network of our own, standing for a machine: other tests may change the real one meanwhile."""

    def __init__(self, holder: int) -> None:
        self._inside = ["nsenter", f"--target={holder}", "--mount", "--net"]
        self._mounts = Path(f"/proc/{holder}/mountinfo")
        self.run("ip", "link", "set", "lo", "up")

    def run(self, *command: str) -> str:
        return subprocess.run([*self._inside, *command], capture_output=True, text=True, check=True, timeout=60).stdout

    def ovnk(self, *arguments: str) -> None:
        self.run(*PROGRAM, *arguments)

    def state(self) -> dict[str, object]:
        """What a lab could leave behind: interfaces, routes, rules, mounts, named namespaces."""
        links = json.loads(self.run("ip", "-json", "link"))
        return {
            "links": sorted(link["ifname"] for link in links),
            "routes": sorted(self.run("ip", "route", "show", "table", "all").splitlines()),
            "addresses": sorted(self.run("ip", "-oneline", "-brief", "address").splitlines()),
            "rules": self.run("nft", "list", "ruleset"),
            "mounts": sorted(line.split(" ")[4] for line in self._mounts.read_text().splitlines()),
            "namespaces": self.run("ip", "netns", "list"),
        }


@pytest.fixture
def machine() -> Iterator[Machine]:
    # Other tests' named network namespaces: a mount goes in every mount namespace when its file is removed in one.
    prepared = "mkdir -p /run/netns; umount --recursive --lazy /run/netns 2>/dev/null; mount -t tmpfs netns /run/netns"
    command = ["unshare", "--mount", "--net", "sh", "-c", f"{prepared}; echo ready; exec sleep infinity"]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    holder.stdout.readline()
    yield Machine(holder.pid)
    holder.kill()
    holder.wait()


def processes(lab: State) -> tuple[int, list[int]]:
    """A lab's process namespace (its inode number), and the processes of the machine that are in it."""
    namespace = Path(f"/proc/{lab.first_process}/ns/pid").stat().st_ino
    return namespace, _in_namespace(namespace)


def _in_namespace(namespace: int) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # A zombie waits for nothing but the machine's init.
            if (folder / "ns/pid").stat().st_ino == namespace and state.start_time(folder.name):
                found.append(int(folder.name))
    return found


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with running_lab(nodes=2) as running_one:
        yield running_one


def test_kubectl_on_the_machine_sees_ready_nodes(lab: Lab) -> None:
    nodes = lab.get("nodes")["items"]

    ready = {
        node["metadata"]["name"]: condition["status"]
        for node in nodes
        for condition in node["status"]["conditions"]
        if condition["type"] == "Ready"
    }
    assert ready == {"n1": "True", "n2": "True"}


def test_the_api_is_on_the_machines_loopback_and_on_the_nodes_network(lab: Lab) -> None:
    on_machine = json.loads(lab.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    assert on_machine.startswith("https://127.0.0.1:")

    done = lab.exec("node/n1", "curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", "https://192.168.100.254:6443/")
    assert done.stdout in ("401", "403"), "whoever has no token is sent away"


@pytest.mark.parametrize(
    ("target", "name"), [("node/n1", "n1"), ("node/n2", "n2"), ("outside", "outside")], ids=["n1", "n2", "outside"]
)
def test_exec_enters_the_place_that_is_named(lab: Lab, target: str, name: str) -> None:
    assert lab.exec(target, "hostname").stdout.strip() == name


def test_exec_passes_on_input_output_and_exit_code(lab: Lab) -> None:
    done = subprocess.run(
        [*_exec(lab, "node/n1"), "sh", "-c", "cat; echo complaint >&2; exit 7"],
        input="question",
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )

    assert (done.stdout, done.stderr, done.returncode) == ("question", "complaint\n", 7)


@pytest.mark.parametrize(
    ("command", "code"),
    [(("sh", "-c", "kill -9 $$"), 128 + 9), (("no-such-program",), 127), (("/",), 126)],
    ids=["killed", "not found", "not runnable"],
)
def test_exec_ends_as_a_shell_would(lab: Lab, command: tuple[str, ...], code: int) -> None:
    done = subprocess.run([*_exec(lab, "outside"), *command], capture_output=True, check=False, timeout=20)

    assert done.returncode == code


def test_exec_somewhere_unknown_says_what_there_is(lab: Lab) -> None:
    done = ovnk("lab", "exec", f"--name={lab.state.name}", "node/n9", "--", "true", check=False)

    assert done.returncode != 0
    assert 'there is no place "node/n9"; there are central, outside, node/n1, node/n2' in done.stderr


def test_a_name_is_looked_up_at_once_and_in_vain(lab: Lab) -> None:
    """The machine's name servers are out of reach: who asks them waits for ten seconds."""
    looked = "import socket; print(socket.getaddrinfo('no-such-host.invalid', 80))"
    done = lab.exec("node/n1", sys.executable, "-c", looked)

    assert "gaierror" in done.stderr
    assert "nameserver" not in lab.exec("node/n1", "cat", "/etc/resolv.conf").stdout


def test_open_vswitch_programs_need_no_options_in_a_node(lab: Lab) -> None:
    assert "br-phy" in lab.exec("node/n1", "ovs-vsctl", "list-br").stdout
    assert "192.168.100.1" in lab.exec("node/n1", "ovs-appctl", "ovs/route/show").stdout


def test_nodes_and_the_outside_reach_each_other(lab: Lab) -> None:
    for source, target in (("node/n1", "192.168.100.2"), ("node/n2", "203.0.113.1"), ("outside", "192.168.100.1")):
        assert lab.exec(source, "ping", "-c1", "-W2", target).returncode == 0, (source, target)


def test_the_northbound_is_reached_from_the_machine(lab: Lab) -> None:
    done = subprocess.run(
        ["ovn-nbctl", f"--db=unix:{lab.northbound_socket}", "lr-list"], capture_output=True, text=True, check=True
    )

    assert done.stdout


def test_status_tells_of_a_daemon_that_was_killed_and_restarted(lab: Lab) -> None:
    lab.restart("northd", signal.SIGKILL)

    row = next(
        line for line in ovnk("lab", "status", f"--name={lab.state.name}").stdout.splitlines() if "northd" in line
    )
    assert re.search(r"northd\s+up \d+ s\s+1\s+SIGKILL", row)


def test_a_held_daemon_stays_down_until_it_is_released(lab: Lab) -> None:
    lab.hold("northd")
    assert lab.daemons()["northd"]["held"]

    lab.release("northd")
    lab.wait_until(lambda: lab.daemons()["northd"]["process"], "northd up")


def test_the_underlay_comes_back_with_ovs_vswitchd(lab: Lab) -> None:
    lab.restart("n2/ovs-vswitchd", signal.SIGKILL)

    lab.wait_until(
        lambda: lab.exec("node/n1", "ping", "-c1", "-W1", "192.168.100.2").returncode == 0, "n2 reached again"
    )


def test_an_api_server_that_was_killed_has_kept_its_objects(lab: Lab) -> None:
    lab.kubectl("create", "namespace", "kept")

    lab.restart("api-server" if "api-server" in lab.daemons() else "kube-apiserver", signal.SIGKILL)

    lab.wait_until(lambda: "kept" in lab.kubectl("get", "namespaces", check=False), "the namespace seen again")


def test_a_state_file_outlives_the_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    options = [f"--state={tmp_path / 'objects'}"]
    with running_lab(nodes=1, options=options) as first:
        first.kubectl("create", "namespace", "kept")

    with running_lab(nodes=1, options=options) as second:
        assert second.get("namespace", "kept")["status"]["phase"] == "Active"


def test_a_name_that_is_up_is_refused(lab: Lab) -> None:
    done = ovnk("lab", "up", f"--name={lab.state.name}", check=False)

    assert done.returncode == 2
    assert f'a lab "{lab.state.name}" is up already' in done.stderr


def test_down_leaves_nothing_behind(machine: Machine) -> None:
    before = machine.state()

    machine.ovnk("lab", "up", "--name=test-down", "--nodes=1")
    during = machine.state()
    namespace, running_ones = processes(state.named("test-down"))
    machine.ovnk("lab", "down", "--name=test-down")

    assert during == before, "what a lab has is not the machine's"
    assert len(running_ones) > 8
    assert _in_namespace(namespace) == []
    assert machine.state() == before
    assert not state.named("test-down").folder.exists()


def test_killing_the_first_process_leaves_nothing_behind(machine: Machine) -> None:
    before = machine.state()
    machine.ovnk("lab", "up", "--name=test-kill", "--nodes=1")
    lab = state.named("test-kill")
    process = lab.first_process
    assert process is not None
    namespace, _ = processes(lab)

    handle = os.pidfd_open(process)
    os.kill(process, signal.SIGKILL)
    running.await_end(handle)

    assert _in_namespace(namespace) == []
    assert machine.state() == before
    assert lab.first_process is None, "the folder that stays is known to be stale"
    assert "test-kill" not in [other.name for other in state.living()]
    assert 'no lab "test-kill" is up' in ovnk("lab", "status", "--name=test-kill", check=False).stderr
    ovnk("lab", "down", "--name=test-kill")
    assert not lab.folder.exists()


def test_two_labs_do_not_see_each_other(lab: Lab) -> None:
    with running_lab(nodes=1) as other:
        lab.kubectl("create", "namespace", "only-here")
        assert "only-here" not in other.kubectl("get", "namespaces")
        assert len(other.get("nodes")["items"]) == 1
        assert lab.exec("node/n1", "ping", "-c1", "-W2", "192.168.100.254").returncode == 0


def _exec(lab: Lab, target: str) -> list[str]:
    return [*PROGRAM, "lab", "exec", f"--name={lab.state.name}", target, "--"]
