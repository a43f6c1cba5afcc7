"""Runs in a lab's node: makes pods' network namespaces, calls the installed plug-in, says how long each call took.

A request a line on standard input, an answer a line on standard output; asked by adds.py.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Any

from ovnk.lab.programs import CNI_PROGRAMS

CONFIGURATION = b'{"cniVersion":"1.0.0","name":"ovnk","type":"ovnk"}'


def main() -> None:
    """Answer until the end of standard input."""
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), flush=True)


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    if "networks" in request:
        for name in request["networks"]:
            subprocess.run(["ip", "netns", "add", name], check=True)
        return {}
    if "interpreters" in request:
        program = ["/usr/bin/python3", "-ISE", "-c", "pass"]
        return {"walls": [_timed([(program, {})])["walls"][0] for _ in range(request["interpreters"])]}
    plugin = [str(CNI_PROGRAMS / "ovnk")]
    return _timed([(plugin, _environment(pod)) for pod in request["pods"]])


def _environment(pod: dict[str, str]) -> dict[str, str]:
    return {
        "CNI_COMMAND": "ADD",
        "CNI_CONTAINERID": f"sandbox-{pod['uid']}",
        "CNI_NETNS": f"/run/netns/{pod['name']}",
        "CNI_IFNAME": "eth0",
        "CNI_PATH": str(CNI_PROGRAMS),
        "CNI_ARGS": f"K8S_POD_NAMESPACE=default;K8S_POD_NAME={pod['name']};K8S_POD_UID={pod['uid']}",
    }


def _timed(calls: list[tuple[list[str], dict[str, str]]]) -> dict[str, Any]:
    """Milliseconds from each process' start to its end, all at once; or how one failed."""
    with tempfile.TemporaryFile() as output:
        began: dict[int, float] = {}
        for command, environment in calls:
            source, sink = os.pipe()
            os.write(sink, CONFIGURATION)
            os.close(sink)
            actions = [(os.POSIX_SPAWN_DUP2, source, 0), (os.POSIX_SPAWN_DUP2, output.fileno(), 1)]
            now = time.perf_counter()
            began[os.posix_spawn(command[0], command, environment, file_actions=actions)] = now
            os.close(source)
        ended: dict[int, float] = {}
        while len(ended) < len(began):
            process, status = os.wait()
            ended[process] = time.perf_counter()
            if status:
                output.seek(0)
                return {"failed": output.read().decode(errors="replace")}
        return {"walls": [(ended[process] - start) * 1000 for process, start in began.items()]}


if __name__ == "__main__":
    main()
