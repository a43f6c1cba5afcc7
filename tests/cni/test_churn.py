"""Pods come and go while agent, plug-ins and Open vSwitch are killed at random moments: nothing is left."""

import json
import random
import signal
import threading
import time

import pytest

from tests.cni import world

pytestmark = pytest.mark.system

WORKERS = 6
KILLS = 8


def live(node, number, stop, failures, dice):
    """One pod after another as containerd runs them: each ADD is followed by DEL, repeated until it works."""
    attempt = 0
    while not stop.is_set():
        attempt += 1
        sandbox = f"w{number}-{attempt}"
        netns = node.pod_namespace()
        call = node.spawn("ADD", sandbox, number, netns=netns)
        if dice.random() < 0.2:
            time.sleep(dice.random() * 0.05)
            call.kill()
        output, _ = call.communicate(timeout=60)
        added = call.returncode == 0 and output
        if added and json.loads(output)["ips"][0]["address"] != f"{world.allocation(number).ips[0]}/24":
            failures.append(output)
        gone = dice.random() < 0.3
        if gone:
            node.remove_namespace(netns)
        for _ in range(100):
            if node.call("DEL", sandbox, number, netns="" if gone else netns)[0] == 0:
                break
        else:
            failures.append(f"DEL of {sandbox} never worked")
        if not gone:
            node.remove_namespace(netns)


def test_nothing_leaks_in_a_churn_with_kills(tmp_path):
    dice = random.Random(20261125)
    node = world.World(tmp_path)
    network = world.spec(*(world.allocation(number) for number in range(WORKERS)))
    stop, failures = threading.Event(), []
    try:
        node.flows()
        node.start_agent(network)
        workers = [
            threading.Thread(target=live, args=(node, number, stop, failures, random.Random(number)))
            for number in range(WORKERS)
        ]
        for worker in workers:
            worker.start()
        for _ in range(KILLS):
            time.sleep(dice.random())
            if dice.random() < 0.7:
                node.kill("agent", dice.choice([signal.SIGKILL, signal.SIGTERM]))
                node.start_agent(network)
            else:
                node.kill("ovs-vswitchd")
                (node.folder / "vswitchd.ctl").unlink()
                node.start_vswitchd()
        stop.set()
        for worker in workers:
            worker.join(60)
        assert failures == []
        world.until(lambda: node.interfaces() == {}, "no port is left")
        world.until(lambda: "ovnkp" not in node.inside("ip", "link"), "no pair is left")
        assert "fault of ovnk" not in node.agent_log()
    finally:
        stop.set()
        node.close()
