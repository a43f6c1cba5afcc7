"""`ovnk node` as an operator runs it: flags, an API server, HTTP, signals."""

import asyncio
import json
import signal
import sys
from pathlib import Path

import msgspec
import pytest
import yaml

from ovnk import config
from ovnk.cli import node as node_command
from ovnk.errors import ConfigError
from ovnk.kube.objects import NodeNetwork, Put, Remove, Replace
from tests.cni import world
from tests.program import ovnk

CRD = Path(__file__).parents[2] / "deploy" / "crds" / "ovnk.io_nodenetworks.yaml"
NODE_NETWORKS = "/apis/ovnk.io/v1/nodenetworks"
REQUEST = """
import sys, urllib.request, urllib.error
method, url, body = sys.argv[1:]
kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
request = urllib.request.Request(url, body.encode() or None, {"Content-Type": kind}, method=method)
try:
    print(urllib.request.urlopen(request, timeout=10).read().decode())
except urllib.error.HTTPError as error:
    print(error.read().decode())
"""


class Daemon:
    """A node, an API server in it, and `ovnk node` with a kubeconfig."""

    def __init__(self, node):
        self.node = node
        node.start("apiserver", sys.executable, "-m", "ovnk.lab.apiserver", "--listen", "127.0.0.1:0")
        log = node.folder / "apiserver.log"
        self.url = world.until(lambda: log.read_text().strip(), "the API server listens")
        self.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", yaml.safe_load(CRD.read_text()))
        self.kubeconfig = node.folder / "kubeconfig"
        self.kubeconfig.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": "c", "cluster": {"server": self.url}}],
                    "users": [{"name": "u", "user": {}}],
                    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                    "current-context": "x",
                }
            )
        )

    def request(self, method, path, body=None):
        text = json.dumps(body) if body is not None else ""
        return self.node.inside(sys.executable, "-c", REQUEST, method, self.url + path, text)

    def put(self, spec, name="node-1"):
        """Creates the NodeNetwork, or replaces its spec."""
        body = {
            "apiVersion": "ovnk.io/v1",
            "kind": "NodeNetwork",
            "metadata": {"name": name},
            "spec": msgspec.to_builtins(spec),
        }
        if json.loads(self.request("POST", NODE_NETWORKS, body))["kind"] == "Status":
            self.request("PATCH", f"{NODE_NETWORKS}/{name}", {"spec": body["spec"]})

    def start(self, *flags):
        folder = self.node.folder
        arguments = {
            "node-name": "node-1",
            "kubeconfig": self.kubeconfig,
            "ovs": self.node.database,
            "southbound": "unix:/nonexistent",
            "cni-socket": self.node.socket,
            "cni-bin-dir": folder / "bin",
            "cni-conf-dir": folder / "net.d",
            "http-address": "127.0.0.1:10257",
        }
        given = [f"--{name}={value}" for name, value in arguments.items()]
        self.node.start("daemon", sys.executable, "-m", "tests.cni.command", "node", *given, *flags)
        world.until(lambda: world.listens(self.node.socket), "the agent listens")

    def get(self, path):
        """(status, text) of the agent's HTTP side."""
        program = (
            "import sys, urllib.request, urllib.error\n"
            "try: answer = urllib.request.urlopen(sys.argv[1], timeout=10)\n"
            "except urllib.error.HTTPError as error: answer = error\n"
            "print(answer.status, answer.read().decode())"
        )
        status, _, text = self.node.inside(sys.executable, "-c", program, f"http://127.0.0.1:10257{path}").partition(
            " "
        )
        return int(status), text


@pytest.fixture
def daemon(tmp_path):
    node = world.World(tmp_path)
    try:
        node.flows()
        yield Daemon(node)
    finally:
        node.close()


@pytest.mark.system
def test_agent_follows_its_node_network_and_no_others(daemon):
    daemon.start()
    assert daemon.get("/readyz")[0] == 503
    daemon.put(world.spec(world.allocation(0)), name="node-2")
    waiting = daemon.node.spawn("ADD", "c0", 0, netns=daemon.node.pod_namespace())
    daemon.put(world.spec())
    world.until(lambda: daemon.get("/readyz")[0] == 200, "the node is ready")
    assert waiting.poll() is None
    daemon.put(world.spec(world.allocation(0)))
    output, _ = waiting.communicate(timeout=30)
    assert json.loads(output)["ips"][0]["address"] == "10.244.1.3/24"
    metrics = daemon.get("/metrics")[1]
    assert 'ovnk_cni_add_step_seconds_count{step="flows"} 1.0' in metrics
    assert "ovnk_node_ready 1.0" in metrics
    assert "ovnk_node_pod_ports 1.0" in metrics
    assert daemon.get("/healthz") == (200, "ok\n\n")


@pytest.mark.system
def test_api_server_away_keeps_what_is_known(daemon):
    """The agent goes on with the last NodeNetwork: ADD of a pod in it, CHECK and DEL."""
    daemon.put(world.spec(world.allocation(0)))
    daemon.start()
    daemon.node.wait_ready()
    daemon.node.kill("apiserver")
    netns = daemon.node.pod_namespace()
    code, result = daemon.node.call("ADD", "c0", 0, netns=netns)
    assert code == 0, result
    assert daemon.node.call("CHECK", "c0", 0, netns=netns, config={"prevResult": result}) == (0, None)
    assert daemon.node.call("DEL", "c0", 0, netns=netns) == (0, None)


@pytest.mark.system
def test_agent_started_without_its_api_server_still_deletes(daemon):
    daemon.put(world.spec(world.allocation(0)))
    daemon.start()
    netns = daemon.node.pod_namespace()
    _, result = daemon.node.call("ADD", "c0", 0, netns=netns)
    daemon.node.kill("daemon")
    daemon.node.kill("apiserver")
    daemon.start()
    assert daemon.node.call("CHECK", "c0", 0, netns=netns, config={"prevResult": result}) == (0, None)
    assert daemon.node.call("ADD", "c0", 0, netns=netns) == (0, result)
    assert daemon.node.call("DEL", "c0", 0, netns=netns) == (0, None)
    assert daemon.node.interfaces() == {}


@pytest.mark.system
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_with_exit_code_0_and_leaves_the_node_as_it_is(daemon, number):
    daemon.put(world.spec(world.allocation(0)))
    daemon.start()
    daemon.node.wait_ready()
    netns = daemon.node.pod_namespace()
    daemon.node.call("ADD", "c0", 0, netns=netns)
    assert daemon.node.kill("daemon", number) == 0
    assert len(daemon.node.interfaces()) == 1
    assert (daemon.node.folder / "net.d" / "10-ovnk.conflist").exists()
    assert "masquerade" in daemon.node.inside("nft", "list", "ruleset")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--southbound=tcp:1.2.3.4:6642"], "node_name is not set"),
        (["--node-name=n", "--southbound=ssl:1.2.3.4:6642"], "southbound_private_key"),
        (["--node-name=n", "--southbound=unix:/s", "--encap-type=gre"], "--encap-type"),
        (["--node-name=n", "--southbound=unix:/s", "--cni-version=3"], "--cni-version"),
        (["--node-name=n", "--southbound=unix:/s", "--kubeconfig=/nonexistent"], "/nonexistent"),
        (["--node-name=n", "--southbound=unix:/s", "--config=/nonexistent.toml"], "/nonexistent.toml"),
    ],
)
def test_wrong_settings_are_one_line_and_exit_code_2(flags, said):
    done = ovnk("node", *flags)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_settings_come_from_file_environment_and_flags(tmp_path):
    file = tmp_path / "ovnk.toml"
    file.write_text('[node]\nnode-name = "file"\nsouthbound = "tcp:1.2.3.4:6642"\nbridge = "br-file"\n')
    environ = {"OVNK_NODE_NAME": "environment", "OVNK_ENCAP_TYPE": "vxlan"}
    loaded = config.load(node_command.NodeSettings, "node", {"node_name": "flag", "bridge": None}, file, environ)
    assert (loaded.node_name, loaded.encap_type, loaded.bridge) == ("flag", "vxlan", "br-file")


def test_tls_files_are_given_together():
    with pytest.raises(ConfigError, match="together"):
        node_command.NodeSettings(node_name="n", southbound="ssl:1.2.3.4:6642", southbound_ca="/ca.pem")


def test_changes_of_other_nodes_are_not_handed_on():
    told = []
    emit = node_command.hand_on("node-1", told.append)
    mine, other = NodeNetwork("node-1", world.spec()), NodeNetwork("node-2", world.spec(world.allocation(0)))
    emit(Replace(NodeNetwork, {"node-2": other}))
    emit(Put(other))
    emit(Put(mine))
    emit(Remove(NodeNetwork, "node-2"))
    emit(Remove(NodeNetwork, "node-1"))
    emit(Replace(NodeNetwork, {"node-1": mine, "node-2": other}))
    assert told == [None, mine.spec, None, mine.spec]


def test_address_that_is_taken_is_said(tmp_path):
    """The HTTP side is opened before anything of the node is touched."""
    listener = world.socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        "{apiVersion: v1, kind: Config, current-context: x, contexts: [{name: x, context: {cluster: c, user: u}}],"
        " clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}], users: [{name: u, user: {}}]}"
    )
    loaded = node_command.NodeSettings(
        node_name="n",
        southbound="unix:/s",
        kubeconfig=str(kubeconfig),
        http_address=f"127.0.0.1:{port}",
        cni_socket=str(tmp_path / "cni.sock"),
    )
    with listener, pytest.raises(ConfigError, match="http_address"):
        asyncio.run(node_command.run(loaded))
    assert list(tmp_path.iterdir()) == [kubeconfig]
