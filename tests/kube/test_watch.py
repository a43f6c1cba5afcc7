"""The informer against a server that lists, watches, breaks and lies as the test says."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from scripted_api import ScriptedApi, event, kubeconfig, listing, pod, scripted, serve, status

from ovnk.errors import InvalidObject
from ovnk.kube import decode, watch, wire
from ovnk.kube.backoff import Backoff
from ovnk.kube.client import Client
from ovnk.kube.objects import Change, Pod, Put, Remove, Replace
from ovnk.kube.watch import Informer


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "BACKOFF_FIRST_S", 0.01)
    monkeypatch.setattr(watch, "BACKOFF_MOST_S", 0.05)
    monkeypatch.setattr(watch, "LASTING_S", 0.05)


class Watched:
    """An informer at work and what it has told."""

    def __init__(self, informer: Informer) -> None:
        self.informer = informer
        self.told: asyncio.Queue[Change] = asyncio.Queue()
        self.complaints: asyncio.Queue[InvalidObject] = asyncio.Queue()

    async def next(self) -> Change:
        return await asyncio.wait_for(self.told.get(), 10)


@contextlib.asynccontextmanager
async def watched(
    client: Any, resource: wire.Resource = decode.PODS, decoder: Any = decode.pod, **more: str
) -> AsyncIterator[Watched]:
    informer = Informer(
        client,
        resource,
        decoder,
        lambda change: one.told.put_nowait(change),
        invalid=lambda error: one.complaints.put_nowait(error),
        **more,
    )
    one = Watched(informer)
    task = asyncio.create_task(informer.run())
    try:
        yield one
        assert not task.done() or task.result() is None
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def keys(change: Change) -> set[str]:
    assert isinstance(change, Replace)
    return set(change.values)


def run(coroutine: Any) -> None:
    asyncio.run(asyncio.wait_for(coroutine, 30))


def test_list_is_paged_and_told_at_once_then_watched_from_its_version(tmp_path: Path) -> None:
    async def case() -> None:
        async with scripted(tmp_path) as (api, client):
            api.answers = [listing(pod("a"), version="7", proceed="more"), listing(pod("b"), version="8"), api.watch]
            async with watched(client, field_selector="spec.nodeName=n1", label_selector="app=web") as one:
                assert not one.informer.synced
                assert keys(await one.next()) == {"shop/a", "shop/b"}
                assert one.informer.synced
                stream = await api.watches.get()
                await stream.send(event("ADDED", pod("c", "9")))
                assert await one.next() == Put(decode.pod(json.dumps(pod("c")).encode()))
                await stream.send(event("DELETED", pod("a", "10")))
                assert await one.next() == Remove(Pod, "shop/a")
            first, second, third = (query for _, _, query, _ in api.seen)
            assert first == {"limit": "500", "fieldSelector": "spec.nodeName=n1", "labelSelector": "app=web"}
            assert second == first | {"continue": "more"}
            assert third["resourceVersion"] == "8"
            assert third["allowWatchBookmarks"] == "true"
            assert third["fieldSelector"] == "spec.nodeName=n1"
            assert int(third["timeoutSeconds"]) >= 60

    run(case())


def test_event_that_changes_nothing_is_not_told(tmp_path: Path) -> None:
    async def case() -> None:
        async with scripted(tmp_path) as (api, client):
            api.answers = [listing(pod("a")), api.watch]
            async with watched(client) as one:
                await one.next()
                stream = await api.watches.get()
                await stream.send(event("MODIFIED", pod("a", "11", status={"conditions": [{"type": "Ready"}]})))
                await stream.send(event("MODIFIED", pod("a", "12", status={"podIPs": [{"ip": "10.0.0.3"}]})))
                told = await one.next()
                assert isinstance(told, Put)
                assert told.value.ips == ("10.0.0.3",)

    run(case())


def test_watch_goes_on_from_the_last_version_or_bookmark(tmp_path: Path) -> None:
    async def case() -> None:
        async with scripted(tmp_path) as (api, client):
            api.answers = [listing(), api.watch, api.watch, api.watch]
            async with watched(client) as one:
                await one.next()
                stream = await api.watches.get()
                await stream.send(event("ADDED", pod("a", "11")))
                await one.next()
                stream.drop()
                stream = await api.watches.get()
                assert stream.query["resourceVersion"] == "11"
                await stream.send(event("BOOKMARK", {"metadata": {"resourceVersion": "99"}}))
                await stream.send(event("ADDED", pod("b", "100"))[:40])  # half a line
                stream.end()
                stream = await api.watches.get()
                assert stream.query["resourceVersion"] == "99"
                await stream.send(event("ADDED", pod("b", "100")))
                assert await one.next() == Put(decode.pod(json.dumps(pod("b")).encode()))

    run(case())


@pytest.mark.parametrize(
    "refusal",
    [
        event("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}),
        event("ERROR", {"kind": "Status", "code": 500, "reason": "InternalError"}),
        b"this is no JSON\n",
        b'{"type":"SURPRISE","object":{}}\n',
        b'{"type":"ADDED"}\n',
    ],
)
def test_error_event_and_garbage_lead_to_a_new_list(tmp_path: Path, refusal: bytes) -> None:
    async def case() -> None:
        async with scripted(tmp_path) as (api, client):
            api.answers = [listing(pod("a"), pod("b")), api.watch, listing(pod("b"), pod("c"), version="50"), api.watch]
            async with watched(client) as one:
                await one.next()
                await (await api.watches.get()).send(refusal)
                # What vanished while nobody watched is not in the Replace.
                assert keys(await one.next()) == {"shop/b", "shop/c"}
                assert (await api.watches.get()).query["resourceVersion"] == "50"

    run(case())


@pytest.mark.parametrize("code", [400, 404, 410, 504])
def test_watch_refused_for_its_version_leads_to_a_new_list(tmp_path: Path, code: int) -> None:
    async def case() -> None:
        async with scripted(tmp_path) as (api, client):
            api.answers = [listing(pod("a")), status(code, "Expired"), listing(version="50"), api.watch]
            async with watched(client) as one:
                assert keys(await one.next()) == {"shop/a"}
                assert keys(await one.next()) == set()

    run(case())


@pytest.mark.parametrize("code", [401, 429, 500, 503])
def test_watch_refused_by_an_ill_server_goes_on_from_its_version(tmp_path: Path, code: int) -> None:
    async def case() -> None:
        async with scripted(tmp_path) as (api, client):
            api.answers = [listing(version="42"), status(code, "Ill"), status(code, "Ill"), api.watch]
            async with watched(client) as one:
                await one.next()
                assert (await api.watches.get()).query["resourceVersion"] == "42"
                assert one.informer.failure is not None
                assert one.informer.failure.status == code

    run(case())


def test_list_that_expires_between_its_pages_starts_over(tmp_path: Path) -> None:
    async def case() -> None:
        async with scripted(tmp_path) as (api, client):
            api.answers = [
                listing(pod("a"), proceed="x"),
                status(410, "Expired"),
                listing(pod("b"), proceed="y"),
                listing(pod("c")),
                api.watch,
            ]
            async with watched(client) as one:
                assert keys(await one.next()) == {"shop/b", "shop/c"}
            assert "continue" not in api.seen[2][2]

    run(case())


def test_list_after_which_nothing_differs_is_not_told(tmp_path: Path) -> None:
    async def case() -> None:
        async with scripted(tmp_path) as (api, client):
            api.answers = [listing(pod("a")), status(410, "Gone"), listing(pod("a")), api.watch]
            async with watched(client) as one:
                assert keys(await one.next()) == {"shop/a"}
                await (await api.watches.get()).send(event("DELETED", pod("a", "60")))
                assert await one.next() == Remove(Pod, "shop/a")

    run(case())


def test_kind_without_a_definition_is_waited_for(tmp_path: Path) -> None:
    async def case() -> None:
        async with scripted(tmp_path) as (api, client):
            network = {"metadata": {"name": "n1", "resourceVersion": "5"}, "spec": {}}
            api.answers = [status(404, "NotFound"), status(404, "NotFound"), listing(network), api.watch]
            async with watched(client, decode.NODE_NETWORKS, decode.node_network) as one:
                await api.count(2)
                assert not one.informer.synced
                assert keys(await one.next()) == {"n1"}

    run(case())


def test_object_that_becomes_invalid_is_gone_until_it_is_valid_again(tmp_path: Path) -> None:
    def node(cidr: str, version: str) -> dict[str, Any]:
        return {"metadata": {"name": "n1", "uid": "u1", "resourceVersion": version}, "spec": {"podCIDRs": [cidr]}}

    async def case() -> None:
        async with scripted(tmp_path) as (api, client):
            api.answers = [listing(node("10.0.0.0/24", "1")), api.watch]
            async with watched(client, decode.NODES, decode.node) as one:
                await one.next()
                stream = await api.watches.get()
                for version in ("2", "3"):  # a heartbeat does not complain again
                    await stream.send(event("MODIFIED", node("10.0.0.0/99", version)))
                told = await one.next()
                assert isinstance(told, Remove)
                assert told.key == "n1"
                complaint = await one.complaints.get()
                assert (complaint.kind, complaint.key, complaint.uid) == ("Node", "n1", "u1")
                assert complaint.field == "spec.podCIDRs[0]"
                await stream.send(event("MODIFIED", node("10.0.1.0/24", "4")))
                told = await one.next()
                assert isinstance(told, Put)
                assert one.complaints.empty()
                assert not one.informer.invalid

    run(case())


def test_invalid_object_in_a_list_leaves_the_others(tmp_path: Path) -> None:
    async def case() -> None:
        async with scripted(tmp_path) as (api, client):
            api.answers = [listing(pod("a"), pod("b", spec={"nodeName": 5})), api.watch]
            async with watched(client) as one:
                assert keys(await one.next()) == {"shop/a"}
                assert (await one.complaints.get()).field == "spec.nodeName"
                assert set(one.informer.invalid) == {"shop/b"}
                await (await api.watches.get()).send(event("DELETED", pod("b", "30")))
                await api.count(2)
            assert one.told.empty(), "what never was there is not told as gone"

    run(case())


def test_stalled_watch_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "WATCH_S", (0, 0))
    monkeypatch.setattr(watch, "GRACE_S", 0.2)

    async def case() -> None:
        async with scripted(tmp_path) as (api, client):
            api.answers = [listing(version="42"), api.watch, api.watch]
            async with watched(client) as one:
                await one.next()
                await api.watches.get()  # and nothing comes
                stream = await api.watches.get()
                assert stream.query["resourceVersion"] == "42"

    run(case())


def test_server_that_is_down_is_waited_for(tmp_path: Path) -> None:
    async def case() -> None:
        api = ScriptedApi()
        async with contextlib.AsyncExitStack() as stack:
            async with serve(api):
                client = await Client.connect(kubeconfig(tmp_path, f"http://127.0.0.1:{api.port}"))
                stack.push_async_callback(client.close)
                api.answers = [listing(pod("a"), version="42"), api.watch]
                one = await stack.enter_async_context(watched(client))
                await one.next()
                (await api.watches.get()).drop()
            while one.informer.failure is None or one.informer.failure.reason != "Unreachable":  # noqa: ASYNC110  nothing announces it
                await asyncio.sleep(0.01)
            api.otherwise = api.watch
            async with serve(api, api.port):
                stream = await api.watches.get()
                assert stream.query["resourceVersion"] == "42"
                await stream.send(event("ADDED", pod("z", "43")))
                assert isinstance(await one.next(), Put)
                while one.informer.failure is not None:  # noqa: ASYNC110  nothing announces it
                    await asyncio.sleep(0.01)
                stream.end()

    run(case())


@pytest.mark.parametrize("how", ["refuse", "end", "drop", "garbage"])
def test_server_that_fails_at_once_is_asked_ever_more_slowly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """The delays asked for grow up to their bound; none is zero."""
    slept: list[float] = []

    class Recorded(Backoff):
        def next_s(self) -> float:
            slept.append(super().next_s())
            return 0.001

    async def case() -> None:
        async with scripted(tmp_path) as (api, client):

            async def fail(request: Any) -> Any:
                if not request.query.get("watch"):
                    return listing(pod("a"))
                if how == "refuse":
                    return status(500, "InternalError")
                response = web.StreamResponse()
                await response.prepare(request)
                if how == "garbage":
                    await response.write(b"{{{\n")
                elif how == "drop":
                    await response.write(event("MODIFIED", pod("a", "11", spec={"nodeName": str(len(slept))})))
                    request.transport.abort()
                return response

            api.otherwise = fail
            async with watched(client):
                await api.count(12)

    monkeypatch.setattr(watch, "LASTING_S", 60.0)
    monkeypatch.setattr(watch, "Backoff", Recorded)
    run(case())
    assert all(delay_s > 0 for delay_s in slept)
    assert max(slept) > watch.BACKOFF_MOST_S / 2
    assert len(slept) >= 5
