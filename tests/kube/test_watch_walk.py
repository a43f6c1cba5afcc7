"""Whatever order of changes and faults: what the informer has told ends in exactly what the API server holds."""

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from scripted_api import event, pod, scripted, status

from ovnk.errors import InvalidObject
from ovnk.kube import decode, watch
from ovnk.kube.objects import Change, Key, KubeObject, Put, Remove, Replace
from ovnk.kube.watch import Informer

PAGE = 3


class Faulty:
    """Objects with history, listed and watched, and answers that go wrong as often as `share` says."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.share = 0.3
        self.version, self.floor = 10, 10
        self.objects: dict[str, dict[str, Any]] = {}
        self.history: list[tuple[int, bytes]] = []
        self.snapshots: list[list[dict[str, Any]]] = []
        self.changed = asyncio.Event()

    def goes_wrong(self) -> bool:
        return self.random.random() < self.share

    def step(self) -> None:
        """One change of the cluster, or of the server's memory."""
        self.version += 1
        name = f"p{self.random.randrange(8)}"
        kind = self.random.choice(["put", "put", "invalid", "delete", "bookmark", "compact"])
        if kind == "compact":
            self.floor = self.version
        elif kind == "bookmark":
            self._log(event("BOOKMARK", {"metadata": {"resourceVersion": str(self.version)}}))
        elif kind == "delete":
            if (old := self.objects.pop(name, None)) is not None:
                old["metadata"]["resourceVersion"] = str(self.version)
                self._log(event("DELETED", old))
        else:
            node: Any = self.random.choice(["n1", "n2"]) if kind == "put" else 5
            new = pod(name, str(self.version), spec={"nodeName": node})
            self._log(event("MODIFIED" if name in self.objects else "ADDED", new))
            self.objects[name] = new

    def _log(self, line: bytes) -> None:
        self.history.append((self.version, line))
        self.changed.set()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if self.goes_wrong():
            return status(self.random.choice([410, 500, 503, 429]), "Fault")
        if request.query.get("watch"):
            return await self._watch(request)
        return self._list(request)

    def _list(self, request: web.Request) -> web.Response:
        if token := request.query.get("continue"):
            number, start, version = map(int, token.split(":"))
        else:
            self.snapshots.append(json.loads(json.dumps(list(self.objects.values()))))
            number, start, version = len(self.snapshots) - 1, 0, self.version
        found = self.snapshots[number]
        metadata = {"resourceVersion": str(version)}
        if start + PAGE < len(found):
            metadata["continue"] = f"{number}:{start + PAGE}:{version}"
        body = json.dumps({"metadata": metadata, "items": found[start : start + PAGE]})
        return web.Response(text=body[:-5] if self.goes_wrong() else body)

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        seen = int(request.query["resourceVersion"])
        response = web.StreamResponse()
        await response.prepare(request)
        if seen < self.floor:
            await response.write(event("ERROR", {"code": 410, "reason": "Expired"}))
            return response
        while True:
            for version, line in [entry for entry in self.history if entry[0] > seen]:
                if self.goes_wrong():
                    fault = self.random.choice(["half", "garbage", "end", "drop"])
                    if fault == "half":
                        await response.write(line[: len(line) // 2])
                    elif fault == "garbage":
                        await response.write(b"}{\n")
                    elif fault == "drop" and request.transport:
                        request.transport.abort()
                    return response
                await response.write(line)
                seen = version
            self.changed.clear()
            await self.changed.wait()


class Told:
    """The tables' part: what was told, and that nothing was told needlessly."""

    def __init__(self) -> None:
        self.values: dict[Key, KubeObject] = {}
        self.progress = asyncio.Event()

    def __call__(self, change: Change) -> None:
        if isinstance(change, Replace):
            assert change.values != self.values or not self.values
            self.values = dict(change.values)
        elif isinstance(change, Put):
            assert self.values.get(change.value.key) != change.value
            self.values[change.value.key] = change.value
        elif isinstance(change, Remove):
            del self.values[change.key]
        self.progress.set()


def expected(server: Faulty) -> tuple[dict[Key, KubeObject], set[Key]]:
    values: dict[Key, KubeObject] = {}
    invalid = set()
    for found in server.objects.values():
        try:
            value = decode.pod(json.dumps(found).encode())
            values[value.key] = value
        except InvalidObject as error:
            invalid.add(error.key)
    return values, invalid


@pytest.mark.parametrize("seed", range(12))
def test_what_was_told_ends_in_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(watch, "BACKOFF_FIRST_S", 0.001)
    monkeypatch.setattr(watch, "BACKOFF_MOST_S", 0.002)

    async def case() -> None:
        server, told = Faulty(seed), Told()
        async with scripted(tmp_path) as (api, client):
            api.otherwise = server.answer
            informer = Informer(client, decode.PODS, decode.pod, told)
            task = asyncio.create_task(informer.run())
            for _ in range(300):
                server.step()
                await asyncio.sleep(server.random.choice([0, 0, 0.001]))
            server.share = 0.0
            server.changed.set()
            while (told.values, set(informer.invalid)) != expected(server):
                told.progress.clear()
                assert not task.done()
                await asyncio.wait({task, asyncio.ensure_future(told.progress.wait())}, timeout=0.05)
            task.cancel()
            server.changed.set()

    asyncio.run(asyncio.wait_for(case(), 20))
