"""The node's agent as a process of its own, fed NodeNetworks by lines on standard input instead of an API server."""

import asyncio
import contextlib
import json
import signal
import sys
from pathlib import Path

import msgspec
from prometheus_client import generate_latest

from cni.node import NodeAgent, Places
from cni.settings import Chassis
from ovnk import logs
from ovnk.contract import NodeNetworkSpec
from ovnk.kube.objects import Node, Replace


async def main(arguments):
    chassis = Chassis(
        node=arguments["node"],
        southbound=arguments["southbound"],
        encap_ip=arguments.get("encap_ip", "auto"),
        datapath=arguments.get("datapath", "auto"),
    )
    places = Places(
        ovs=arguments["ovs"],
        socket=Path(arguments["socket"]),
        bin_dir=Path(arguments["bin_dir"]),
        conf_dir=Path(arguments["conf_dir"]),
        cni_version=arguments.get("cni_version", "1.0.0"),
    )
    agent = NodeAgent(chassis, places, arguments["add_timeout_s"])
    node = Node(arguments["node"], "uid-node", tuple(arguments["addresses"]))
    agent.cluster_changed(Replace(Node, {node.name: node}))
    running = asyncio.create_task(agent.run())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await asyncio.start_unix_server(show_metrics, arguments["metrics"])
    reading = asyncio.create_task(read(reader, agent))
    with contextlib.suppress(asyncio.CancelledError):
        await running
    reading.cancel()


async def show_metrics(_, writer):
    writer.write(generate_latest())
    await writer.drain()
    writer.close()


async def read(reader, agent):
    while line := await reader.readline():
        agent.network_changed(msgspec.json.decode(line, type=NodeNetworkSpec | None))


if __name__ == "__main__":
    logs.configure("json", "debug")
    asyncio.run(main(json.loads(sys.argv[1])))
