"""Who looks on: the ports in the northbound and the pods in NodeNetworks, each with the moment it was seen."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import orjson
from msgspec import Raw, Struct
from msgspec.json import Decoder

from ovnk.kube import decode
from ovnk.kube.client import Client
from ovnk.northbound.framing import Framer


class Ports:
    """A monitor of Logical_Switch_Port.name (RFC 7047 §4.1.5): `seen` are the ports that came, with the time."""

    def __init__(self) -> None:
        self.seen: dict[str, float] = {}
        self._expected: Callable[[], bool] = lambda: False
        self._reached = asyncio.Event()

    async def run(self, socket: Path, started: asyncio.Event) -> None:
        """Look on until cancelled."""
        reader, writer = await asyncio.open_unix_connection(str(socket))
        columns = {"Logical_Switch_Port": {"columns": ["name"]}}
        writer.write(orjson.dumps({"method": "monitor", "params": ["OVN_Northbound", None, columns], "id": "monitor"}))
        framer = Framer()
        try:
            while data := await reader.read(1 << 20):
                now = time.perf_counter()
                for message in framer.feed(data):
                    if message.get("method") == "echo":
                        writer.write(orjson.dumps({"result": message["params"], "error": None, "id": "echo"}))
                    elif message.get("id") == "monitor":
                        self._take(message["result"], now)
                        started.set()
                    elif message.get("method") == "update":
                        self._take(message["params"][1], now)
        finally:
            writer.close()

    async def wait(self, expected: Callable[[], bool]) -> None:
        """Returns once it holds; asked again whenever ports came."""
        self._expected = expected
        self._reached.clear()
        if not expected():
            await self._reached.wait()

    def _take(self, tables: dict[str, dict[str, dict[str, dict[str, str]]]], now: float) -> None:
        for change in tables.get("Logical_Switch_Port", {}).values():
            if "new" in change:
                self.seen.setdefault(change["new"]["name"], now)
        if self._expected():
            self._reached.set()


class Published:
    """A watch of the NodeNetworks that counts the pods on them; `at` is when the last one came."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._pods: dict[str, int] = {}
        self._expected = (0, 0)
        self._reached = asyncio.Event()
        self.total = 0
        self.writes = 0
        self.at = 0.0

    async def run(self) -> None:
        """Look on until cancelled, from an empty beginning."""
        path = decode.NODE_NETWORKS.path
        async for line in self._client.stream("GET", path, query={"watch": "1", "resourceVersion": "0"}):
            event = _EVENT.decode(line)
            name = event.object.metadata.name
            count = len(event.object.spec.pods) if event.type != "DELETED" else 0
            self.total += count - self._pods.get(name, 0)
            self._pods[name] = count
            self.writes += 1
            self.at = time.perf_counter()
            if self._enough():
                self._reached.set()

    async def wait(self, pods: int = 0, nodes: int = 0) -> None:
        """Returns once so many pods are published, and so many nodes have a NodeNetwork."""
        self._expected = (pods, nodes)
        self._reached.clear()
        if not self._enough():
            await self._reached.wait()

    def _enough(self) -> bool:
        pods, nodes = self._expected
        return self.total >= pods and len(self._pods) >= nodes


class _Metadata(Struct):
    name: str


class _Spec(Struct):
    pods: list[Raw] = []


class _Object(Struct):
    metadata: _Metadata
    spec: _Spec


class _Event(Struct):
    type: str
    object: _Object


_EVENT = Decoder(_Event)
