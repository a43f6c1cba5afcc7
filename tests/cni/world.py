"""A node of the tests' own: a network namespace with real Open vSwitch, the real agent, and pods' namespaces.

Everything has names and folders of its own and goes with `close`. Where no ovn-controller runs, `Flows` stands for
it: it does what ovn-controller does to the local database, and nothing else.
"""

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec

from ovnk.contract import Management, NodeNetworkSpec, PodAllocation, SubnetRange

ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONHOME": "/nonexistent", "PYTHONPATH": "/nonexistent"}
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
_numbers = itertools.count()


def spec(*pods, **changes):
    """A NodeNetwork's spec of one dual stack node."""
    given = {
        "subnets": (
            SubnetRange("default", "10.244.1.0/24", "10.244.1.1"),
            SubnetRange("default", "fd00:10:244:1::/64", "fd00:10:244:1::1"),
        ),
        "management": Management(("10.244.1.2/24", "fd00:10:244:1::2/64"), "0a:58:0a:f4:01:02"),
        "cluster_cidrs": ("10.244.0.0/16", "fd00:10:244::/48"),
        "service_cidrs": ("10.96.0.0/16", "fd00:10:96::/112"),
        "pods": tuple(pods),
    }
    return NodeNetworkSpec(**(given | changes))


def allocation(number, name=None, uid=None):
    """The allocation of the number-th pod; number 0 has 10.244.1.3."""
    host = number + 3
    return PodAllocation(
        namespace="shop",
        name=name or f"web-{number}",
        uid=uid or f"uid-{number}",
        ips=(f"10.244.1.{host}", f"fd00:10:244:1::{host:x}"),
        mac=f"0a:58:0a:f4:01:{host:02x}",
    )


def listens(path):
    """Whether somebody takes connections on a unix socket."""
    with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
        probe.connect(str(path))
        return True
    return False


def until(fact, what, timeout_s=20):
    """Returns what `fact` gives once it is true; a test can wait so for what tells nobody (a file, an exit)."""
    end = time.monotonic() + timeout_s
    while not (value := fact()):
        assert time.monotonic() < end, f"not within {timeout_s} s: {what}"
        time.sleep(0.01)
    return value


class World:
    """One node. Its agent runs as a process, so that it can be killed and started anew."""

    def __init__(self, folder, node="node-1"):
        self.folder, self.node = Path(folder), node
        self.name = f"ovnkt{os.getpid()}-{next(_numbers)}"
        self.netns = f"/run/netns/{self.name}"
        self.socket = self.folder / "run" / "cni.sock"
        self.database = f"unix:{self.folder}/db.sock"
        self.processes = {}
        self.pods = set()
        self.exits = contextlib.ExitStack()
        try:
            self._make()
        except BaseException:
            self.close()
            raise

    def _make(self):
        run("ip", "netns", "add", self.name)
        # An outside host at the other end of the node's uplink.
        self.outside = f"{self.name}-out"
        run("ip", "netns", "add", self.outside)
        self.pods.add(self.outside)
        self.inside("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", self.outside)
        for name, host in ((self.name, 1), (self.outside, 254)):
            for address in (f"192.168.100.{host}/24", f"fd00:192:168:100::{host:x}/64"):
                run("ip", "-n", name, "address", "add", address, "dev", "eth0", *(["nodad"] if ":" in address else []))
            run("ip", "-n", name, "link", "set", "lo", "up")
            run("ip", "-n", name, "link", "set", "eth0", "up")
        self.inside("ip", "route", "add", "default", "via", "192.168.100.254")
        self.inside("ip", "-6", "route", "add", "default", "via", "fd00:192:168:100::fe")
        run("ovsdb-tool", "create", str(self.folder / "conf.db"), SCHEMA)
        self.start_ovsdb()
        self.vsctl("--no-wait", "init")
        self.start_vswitchd()

    def start_ovsdb(self):
        self.start(
            "ovsdb-server",
            "ovsdb-server",
            f"--unixctl={self.folder}/ovsdb.ctl",
            f"--remote=punix:{self.folder}/db.sock",
            f"{self.folder}/conf.db",
        )
        until(lambda: listens(self.folder / "db.sock"), "ovsdb-server listens")

    def start_vswitchd(self):
        self.start("ovs-vswitchd", "ovs-vswitchd", f"--unixctl={self.folder}/vswitchd.ctl", self.database)
        until((self.folder / "vswitchd.ctl").exists, "ovs-vswitchd runs")

    def start(self, key, *command):
        """A process inside the node, its output in a file of its own."""
        environment = {"PATH": os.environ["PATH"]} | {
            f"{kind}_{what}": str(self.folder) for kind in ("OVS", "OVN") for what in ("RUNDIR", "LOGDIR", "SYSCONFDIR")
        }
        with (self.folder / f"{key}.log").open("ab") as output:
            self.processes[key] = subprocess.Popen(
                ["nsenter", f"--net={self.netns}", *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=environment,
            )
        return self.processes[key]

    def kill(self, key, number=signal.SIGKILL):
        process = self.processes.pop(key)
        process.send_signal(number)
        process.stdin.close()
        return process.wait(30)

    def start_agent(self, network, **more):
        """The agent as a process; `network` is what the API server would have of the node."""
        arguments = {
            "node": self.node,
            "southbound": "unix:/nonexistent",
            "ovs": self.database,
            "socket": str(self.socket),
            "bin_dir": str(self.folder / "bin"),
            "conf_dir": str(self.folder / "net.d"),
            "metrics": str(self.folder / "metrics.sock"),
            "add_timeout_s": 30,
            "addresses": ["192.168.100.1", "fd00:192:168:100::1"],
        } | more
        self.start("agent", sys.executable, "-m", "tests.cni.agent_process", json.dumps(arguments))
        self.tell(network)
        until(self._answers, "the agent listens")

    def _answers(self):
        assert self.processes["agent"].poll() is None, (self.folder / "agent.log").read_text()
        return listens(self.socket)

    def impatient(self):
        """From here on the plug-in does not wait for an agent that is away."""
        executable = self.folder / "bin" / "ovnk"
        executable.write_text(executable.read_text().replace("\nPATIENCE_S = 20\n", "\nPATIENCE_S = 0\n"))

    def wait_ready(self):
        """Returns once the agent has told the runtime that the node can serve pods."""
        until((self.folder / "net.d" / "10-ovnk.conflist").exists, "the node is ready")

    def tell(self, network):
        """A new NodeNetwork reaches the agent."""
        stdin = self.processes["agent"].stdin
        stdin.write(msgspec.json.encode(network) + b"\n")
        stdin.flush()

    def metrics(self):
        """The agent's figures as Prometheus gets them."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.folder / "metrics.sock"))
            return b"".join(iter(lambda: connection.recv(1 << 16), b"")).decode()

    def agent_log(self):
        return (self.folder / "agent.log").read_text()

    def inside(self, *command, check=True):
        """The output of a command in the node's namespace."""
        return run("nsenter", f"--net={self.netns}", *command, check=check)

    def vsctl(self, *command):
        return run("ovs-vsctl", f"--db={self.database}", "--timeout=10", *command)

    def interfaces(self):
        """name → external_ids of all Interfaces that are a pod's."""
        rows = json.loads(self.vsctl("--format=json", "--columns=name,external_ids", "list", "Interface"))["data"]
        found = {name: dict(external_ids[1]) for name, external_ids in rows}
        return {name: ids for name, ids in found.items() if "ovnk-container-id" in ids}

    def pod_namespace(self):
        """A fresh network namespace's path."""
        return self.pod_namespaces(1)[0]

    def pod_namespaces(self, count):
        """The paths of so many fresh network namespaces."""
        names = [f"{self.name}-p{next(_numbers)}" for _ in range(count)]
        _namespaces("add", names)
        self.pods.update(names)
        return [f"/run/netns/{name}" for name in names]

    def remove_namespace(self, path):
        name = Path(path).name
        self.pods.discard(name)
        run("ip", "netns", "del", name)

    def flows(self):
        """From here on, a stand-in for ovn-controller."""
        return self.exits.enter_context(Flows(self.folder / "db.sock"))

    def call(self, command, sandbox, pod=0, version="1.0.0", ifname="eth0", netns="", config=(), timeout=60, uid=None):
        """(exit code, what was printed, decoded) of the installed plug-in, called as containerd calls it."""
        process = self.spawn(command, sandbox, pod, version, ifname, netns, config, uid)
        output, complaint = process.communicate(timeout=timeout)
        assert complaint == b"", complaint
        return process.returncode, json.loads(output) if output else None

    def spawn(self, command, sandbox, pod=0, version="1.0.0", ifname="eth0", netns="", config=(), uid=None):
        """The plug-in as a process that has been given all its input."""
        stdin = json.dumps({"cniVersion": version, "name": "ovnk", "type": "ovnk"} | dict(config)).encode()
        process = subprocess.Popen(
            [self.folder / "bin" / "ovnk"],
            env=self.environment(command, sandbox, pod, ifname, netns, uid),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        process.stdin.write(stdin)
        process.stdin.close()
        process.stdin = None  # or communicate() would flush it
        return process

    @staticmethod
    def environment(command, sandbox, pod, ifname, netns, uid):
        """What containerd sets for the number-th pod, with what a hostile parent would."""
        return ENVIRONMENT | {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": sandbox,
            "CNI_IFNAME": ifname,
            "CNI_NETNS": netns,
            "CNI_PATH": "/opt/cni/bin",
            "CNI_ARGS": f"IgnoreUnknown=1;K8S_POD_UID={uid or f'uid-{pod}'};K8S_POD_NAMESPACE=shop;"
            f"K8S_POD_NAME=web-{pod};K8S_POD_INFRA_CONTAINER_ID={sandbox}",
        }

    def close(self):
        """Ends every process by its id, then removes the namespaces."""
        self.exits.close()
        for key in list(self.processes):
            self.kill(key)
        _namespaces("del", [*self.pods, self.name])


class Flows:
    """Says ovn-installed of each Interface with an iface-id, as soon as ovs-vswitchd has given it a port number.

    Not before, as ovn-controller does not either: whoever waits for it knows that ovs-vswitchd has done its part too.
    """

    def __init__(self, path):
        self._path = path
        self._socket = None

    def __enter__(self):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(self._path))
        self._send("monitor", ["Open_vSwitch", None, {"Interface": {"columns": ["external_ids", "ofport"]}}], "monitor")
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):  # the server may be gone
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _send(self, method, params, number):
        self._socket.sendall(json.dumps({"method": method, "params": params, "id": number}).encode())

    def _run(self):
        decoder, text = json.JSONDecoder(), ""
        while data := self._socket.recv(1 << 16):
            text += data.decode()
            while text:
                try:
                    message, end = decoder.raw_decode(text)
                except ValueError:
                    break
                text = text[end:].lstrip()
                self._take(message)

    def _take(self, message):
        if message.get("method") == "echo":
            self._socket.sendall(json.dumps({"result": message["params"], "error": None, "id": "echo"}).encode())
        tables = message["result"] if message.get("id") == "monitor" else {}
        if message.get("method") == "update":
            tables = message["params"][1]
        operations = []
        for uuid, change in tables.get("Interface", {}).items():
            row = {"external_ids": ["map", []], "ofport": ["set", []]} | change.get("new", {})
            external_ids, numbered = dict(row["external_ids"][1]), isinstance(row["ofport"], int) and row["ofport"] > 0
            if numbered and "iface-id" in external_ids and "ovn-installed" not in external_ids:
                where = [["_uuid", "==", ["uuid", uuid]]]
                mutation = ["external_ids", "insert", ["map", [["ovn-installed", "true"]]]]
                operations.append({"op": "mutate", "table": "Interface", "where": where, "mutations": [mutation]})
        if operations:
            self._send("transact", ["Open_vSwitch", *operations], "installed")


def _namespaces(verb, names):
    """Network namespaces added or deleted by one process; to delete what is gone already is fine."""
    lines = "".join(f"netns {verb} {name}\n" for name in names)
    batch = ["ip", "-force", "-batch", "-"]
    done = subprocess.run(batch, input=lines, capture_output=True, text=True, timeout=60, check=False)
    assert verb == "del" or done.returncode == 0, done.stderr


def run(*command, check=True):
    """A command's output; its complaint in the error if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert not check or done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout
