"""R18: the plug-in honours CNI's contract in every version, called as a runtime calls it, with packets to show for it.

The node's kubelet is frozen meanwhile, and the test is the runtime of one pod. The specification's sections are those
of version 1.1.0. What the answers to wrong calls are is in tests/cni.
"""

import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from cni import protocol
from ovnk.lab.programs import CNI_PROGRAMS
from tests.labs import Lab
from tests.system import northbound, workloads

pytestmark = pytest.mark.system

NODE, PLACE = "n1", "node/n1"


class Runtime:
    """The runtime of pod `name` on the node, whose network namespace is `netns`."""

    def __init__(self, lab: Lab, space: str, name: str, uid: str) -> None:
        self.lab, self.netns = lab, f"r18-{secrets.token_hex(3)}"
        self.port = f"{space}/{name}"
        self._arguments = f"K8S_POD_NAMESPACE={space};K8S_POD_NAME={name};K8S_POD_UID={uid};IgnoreUnknown=1"

    def call(
        self, command: str, container: str, version: str, netns: bool = True, **configuration: object
    ) -> dict[str, Any] | None:
        """What the plug-in answers; AssertionError with its complaint where it fails."""
        variables = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": container,
            "CNI_NETNS": f"/run/netns/{self.netns}" if netns else "",
            "CNI_IFNAME": "eth0",
            "CNI_ARGS": self._arguments,
            "CNI_PATH": str(CNI_PROGRAMS),
        }
        given = [f"{name}={value}" for name, value in variables.items() if value]
        stdin = json.dumps({"cniVersion": version, "name": "ovnk", "type": "ovnk", **configuration})
        done = self.lab.exec(PLACE, "env", "-i", *given, str(CNI_PROGRAMS / "ovnk"), input=stdin)
        assert done.returncode == 0, f"{command} {version}: {done.stdout}{done.stderr}"
        answer: dict[str, Any] | None = json.loads(done.stdout) if done.stdout else None
        return answer

    def inside(self, *command: str) -> str:
        """What a command in the pod's namespace prints."""
        return self.lab.exec(PLACE, "ip", "netns", "exec", self.netns, *command).stdout

    def connected(self) -> bool:
        """Whether the pod has its port on the bridge and its link; AssertionError where it has one of them."""
        port = self.port in northbound.interface_ids(self.lab, NODE)
        assert port == ("eth0" in self.inside("ip", "-oneline", "link"))
        return port


@pytest.fixture
def peer(dual_stack: Lab, space: str) -> workloads.Object:
    """A running pod on another node."""
    dual_stack.apply(workloads.server("peer", "n2", space=space))
    return dual_stack.wait_ready(f"{space}/peer")[f"{space}/peer"]


@pytest.fixture
def runtime(dual_stack: Lab, space: str, peer: workloads.Object) -> Iterator[Runtime]:
    with dual_stack.frozen(f"{NODE}/kubelet"):
        dual_stack.apply(workloads.server("ours", NODE, space=space))
        made = Runtime(dual_stack, space, "ours", dual_stack.pods()[f"{space}/ours"]["metadata"]["uid"])
        dual_stack.exec(PLACE, "ip", "netns", "add", made.netns)
        yield made
        dual_stack.exec(PLACE, "ip", "netns", "delete", made.netns)
        dual_stack.kubectl("delete", "pod", "ours", f"--namespace={space}", "--force", "--grace-period=0")


def test_r18_the_plug_in_honours_the_contract_in_every_version(
    dual_stack: Lab, runtime: Runtime, peer: workloads.Object
) -> None:
    assert runtime.call("VERSION", "", "1.1.0") == {
        "cniVersion": "1.1.0",
        "supportedVersions": ["0.3.1", "0.4.0", "1.0.0", "1.1.0"],
    }
    assert runtime.call("STATUS", "", "1.1.0", netns=False) is None
    for version in protocol.VERSIONS:
        container = secrets.token_hex(32)
        result = runtime.call("ADD", container, version)
        assert result is not None
        well_formed(result, version, runtime.netns)
        assert runtime.call("ADD", container, version) == result, "ADD again is no other"
        talks(runtime, peer, [entry["address"].partition("/")[0] for entry in result["ips"]])
        if version != "0.3.1":  # which has no CHECK
            runtime.call("CHECK", container, version, prevResult=result)

        runtime.call("DEL", container, version)  # without prevResult
        assert not runtime.connected()
        runtime.call("DEL", container, version, prevResult=result)  # once more, with it


def test_r18_what_the_runtime_has_lost_is_deleted_or_collected(dual_stack: Lab, runtime: Runtime) -> None:
    without_namespace, uncollected = secrets.token_hex(32), secrets.token_hex(32)
    runtime.call("ADD", without_namespace, "1.1.0")
    runtime.call("DEL", without_namespace, "1.1.0", netns=False)
    assert not runtime.connected()

    others = northbound.interface_ids(dual_stack, NODE)
    runtime.call("ADD", uncollected, "1.1.0")
    assert runtime.connected()
    # What the frozen kubelet has, read from the records of its sandboxes.
    records = (dual_stack.state.node(NODE) / "pods").glob("*/*/sandbox.json")
    valid = [{"containerID": json.loads(file.read_text())["container"], "ifname": "eth0"} for file in records]
    runtime.call("GC", "", "1.1.0", netns=False, **{"cni.dev/valid-attachments": valid})
    assert not runtime.connected()
    assert northbound.interface_ids(dual_stack, NODE) == others


def well_formed(result: dict[str, Any], version: str, netns: str) -> None:
    """Section 5, "Success": interfaces, addresses that refer to one of them, routes; families said in 0.x only."""
    assert set(result) - {"dns"} == {"cniVersion", "interfaces", "ips", "routes"}
    assert result["cniVersion"] == version
    host, own = result["interfaces"]
    assert "sandbox" not in host
    assert (own["name"], own["sandbox"]) == ("eth0", f"/run/netns/{netns}")
    assert len(result["ips"]) == len(result["routes"]) == 2
    for entry, route, family in zip(result["ips"], result["routes"], ("4", "6"), strict=True):
        assert result["interfaces"][entry["interface"]] == own
        assert entry["gateway"] == route["gw"]
        assert entry.get("version") == (family if version.startswith("0.") else None)


def talks(runtime: Runtime, peer: workloads.Object, own: list[str]) -> None:
    """The pod is seen with its very addresses, and is reached at them."""
    for address, mine in zip(workloads.addresses(peer), own, strict=True):
        url = f"http://{f'[{address}]' if ':' in address else address}:{workloads.PORT}/"
        assert json.loads(runtime.inside("curl", "-sf", "-m5", url))["clientAddress"] == mine
        name = f"{peer['metadata']['namespace']}/peer"
        assert runtime.lab.exec(name, "ping", "-c1", "-W3", mine).returncode == 0
