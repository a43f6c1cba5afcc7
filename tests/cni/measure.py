"""Times CNI ADD on a node of real Open vSwitch: `python -m tests.cni.measure [PODS]` prints one JSON object.

The flows are those of a stand-in that answers at once, so "flows" is what ovs-vswitchd and OVSDB take, not OVN.
"""

import json
import os
import statistics
import sys
import tempfile
import time

from tests.cni import world

STEPS = ("address_ms", "link_ms", "port_ms", "flows_ms")


def main(pods):
    with tempfile.TemporaryDirectory() as folder:
        node = world.World(folder)
        try:
            return measure(node, pods)
        finally:
            node.close()


def measure(node, pods):
    node.flows()
    node.start_agent(world.spec(*(world.allocation(number) for number in range(pods))))
    node.wait_ready()
    namespaces = [node.pod_namespace() for _ in range(pods)]
    executable = str(node.folder / "bin" / "ovnk")
    bare = [process_ms(executable, {"CNI_COMMAND": "VERSION"}) for _ in range(pods)]
    interpreter = [process_ms("/usr/bin/python3", {}, "-ISE", "-c", "pass") for _ in range(pods)]
    agent_cpu = cpu_ms(node)
    adds = []
    for number, netns in enumerate(namespaces):
        adds.append(process_ms(executable, node.environment("ADD", f"c{number}", number, "eth0", netns, None)))
    agent_cpu = (cpu_ms(node) - agent_cpu) / pods
    lines = [json.loads(line) for line in node.agent_log().splitlines()]
    added = [line for line in lines if line["event"] == "added a pod's port"]
    assert len(added) == pods, node.agent_log()
    own = [sum(line[step] for step in STEPS[:3]) for line in added]
    flows = [line["flows_ms"] for line in added]
    dels = [process_ms(executable, node.environment("DEL", f"c{n}", n, "eth0", "", None)) for n in range(pods)]
    return {
        "pods": pods,
        "interpreter_alone_ms": summary([wall for wall, _ in interpreter]),
        "plugin_process_alone_ms": summary([wall for wall, _ in bare]),
        "plugin_cpu_ms": summary([cpu for _, cpu in adds]),
        "agent_cpu_ms_per_add": round(agent_cpu, 2),
        "add_ms": summary([wall for wall, _ in adds]),
        "add_agent_own_ms": summary(own),
        "add_plugin_and_socket_ms": summary([wall - o - f for (wall, _), o, f in zip(adds, own, flows, strict=True)]),
        "add_steps_ms": {step: summary([line[step] for line in added]) for step in STEPS},
        "del_ms": summary([wall for wall, _ in dels]),
        "at_once": at_once(node, namespaces),
    }


def at_once(node, namespaces):
    """All ADDs together, then all DELs together: pods a second."""
    rates = {}
    for command in ("ADD", "DEL"):
        begin = time.perf_counter()
        calls = [node.spawn(command, f"d{n}", n, netns=netns) for n, netns in enumerate(namespaces)]
        for call in calls:
            output, _ = call.communicate(timeout=120)
            assert call.returncode == 0, output
        rates[f"{command.lower()}s_per_s"] = round(len(calls) / (time.perf_counter() - begin), 1)
    return rates


def process_ms(executable, environment, *arguments):
    """(From the process' start to its end, what it took of a processor), with `environment`, its output thrown away."""
    with tempfile.TemporaryFile() as config:
        config.write(b'{"cniVersion":"1.0.0","name":"ovnk","type":"ovnk"}')
        config.seek(0)
        null = os.open(os.devnull, os.O_WRONLY)
        actions = [(os.POSIX_SPAWN_DUP2, config.fileno(), 0), (os.POSIX_SPAWN_DUP2, null, 1)]
        begin = time.perf_counter()
        pid = os.posix_spawn(executable, [executable, *arguments], environment, file_actions=actions)
        _, status, used = os.wait4(pid, 0)
        spent = time.perf_counter() - begin
        os.close(null)
    assert status == 0, (executable, environment, status)
    return spent * 1000, (used.ru_utime + used.ru_stime) * 1000


def cpu_ms(node):
    """What the agent has taken of a processor so far; other processes' load does not show in it."""
    fields = world.Path(f"/proc/{node.processes['agent'].pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")


def summary(values):
    return {
        "p50": round(statistics.median(values), 2),
        "p99": round(sorted(values)[max(0, int(len(values) * 0.99) - 1)], 2),
    }


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100), indent=2))
