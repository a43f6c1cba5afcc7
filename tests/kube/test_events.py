"""Events reach the object they are about, repeats raise a count, and no storm of ours becomes one of the server's."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from scripted_api import Objects, stored

from ovnk.errors import InvalidObject
from ovnk.kube import events, outbox
from ovnk.kube.events import EventRecorder, Subject
from ovnk.kube.objects import Node, Pod

SHOP = "/api/v1/namespaces/shop/events"


@contextlib.asynccontextmanager
async def recording(folder: Path) -> AsyncIterator[tuple[Objects, EventRecorder]]:
    async with stored(folder) as (objects, client):
        recorder = EventRecorder(client, "ovnk-controller", "host-1")
        task = asyncio.create_task(recorder.run())
        try:
            yield objects, recorder
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def run(coroutine: Any) -> None:
    asyncio.run(asyncio.wait_for(coroutine, 30))


WEB = Subject.of(Pod("shop", "web-0", "u1"))


def test_event_has_what_describe_looks_for(tmp_path: Path) -> None:
    async def case() -> None:
        async with recording(tmp_path) as (objects, recorder):
            recorder.record(WEB, "NoAddress", "subnet is full")
            await objects.until(lambda: len(objects.objects) == 1)
            (path, event), *_ = objects.objects.items()
            assert path.startswith(SHOP + "/web-0.")
            assert event["involvedObject"] == {
                "apiVersion": "v1",
                "kind": "Pod",
                "namespace": "shop",
                "name": "web-0",
                "uid": "u1",
            }
            assert (event["type"], event["reason"], event["message"]) == ("Warning", "NoAddress", "subnet is full")
            assert event["count"] == 1
            assert event["source"] == {"component": "ovnk-controller", "host": "host-1"}

    run(case())


def test_event_on_what_has_no_namespace_is_in_default(tmp_path: Path) -> None:
    async def case() -> None:
        async with recording(tmp_path) as (objects, recorder):
            recorder.record(Subject.of(Node("n1", "u2")), "Joined", "welcome", warning=False)
            recorder.record(Subject.of(InvalidObject("NodeNetwork", "n2", "spec", "is missing", "u3")), "Invalid", "x")
            await objects.until(lambda: len(objects.objects) == 2)
            assert all(path.startswith("/api/v1/namespaces/default/events/") for path in objects.objects)
            kinds = {event["involvedObject"]["apiVersion"] for event in objects.objects.values()}
            assert kinds == {"v1", "ovnk.io/v1"}

    run(case())


def test_repeats_raise_the_count_of_one_event_and_wait_for_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "REPEAT_S", 0.1)

    async def case() -> None:
        async with recording(tmp_path) as (objects, recorder):
            recorder.record(WEB, "NoAddress", "subnet is full")
            await objects.until(lambda: len(objects.objects) == 1)
            for _ in range(50):
                recorder.record(WEB, "NoAddress", "subnet is full")
            await objects.until(lambda: [event["count"] for event in objects.objects.values()] == [51])
            assert [method for method, _, _ in objects.writes] == ["POST", "PATCH"]
            # The server has forgotten it, as it does after an hour: a new one, with the count going on.
            objects.objects.clear()
            recorder.record(WEB, "NoAddress", "subnet is full")
            await objects.until(lambda: [event["count"] for event in objects.objects.values()] == [52])

    run(case())


def test_who_may_only_create_says_a_repeat_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "REPEAT_S", 0.01)

    async def case() -> None:
        async with recording(tmp_path) as (objects, recorder):
            recorder.record(WEB, "PortInUse", "again")
            await objects.until(lambda: len(objects.objects) == 1)
            objects.broken = [403]
            recorder.record(WEB, "PortInUse", "again")
            await objects.until(lambda: len(objects.objects) == 2)
            assert sorted(event["count"] for event in objects.objects.values()) == [1, 2]

    run(case())


def test_different_events_about_one_object_are_bounded_and_others_are_not_held_up(tmp_path: Path) -> None:
    async def case() -> None:
        async with recording(tmp_path) as (objects, recorder):
            for number in range(100):
                recorder.record(WEB, "Strange", f"number {number}")
            recorder.record(Subject.of(Pod("shop", "other", "u2")), "Strange", "x")
            await objects.until(lambda: any("/other." in path for path in objects.objects))
            assert len([path for path in objects.objects if "/web-0." in path]) == events.BURST

    run(case())


def test_event_is_retried_while_the_server_is_ill_and_given_up_when_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "BACKOFF_FIRST_S", 0.01)

    async def case() -> None:
        async with recording(tmp_path) as (objects, recorder):
            objects.broken = [503, 503]
            recorder.record(WEB, "NoAddress", "subnet is full")
            await objects.until(lambda: len(objects.objects) == 1)
            objects.broken = [403]
            recorder.record(WEB, "Refused", "the namespace is going")
            await objects.until(lambda: not objects.broken)
            recorder.record(WEB, "Next", "comes through")
            await objects.until(lambda: len(objects.objects) == 2)

    run(case())


def test_long_names_and_messages_fit(tmp_path: Path) -> None:
    async def case() -> None:
        async with recording(tmp_path) as (objects, recorder):
            recorder.record(Subject.of(Pod("shop", "w" * 253, "u1")), "Long", "m" * 5000)
            await objects.until(lambda: len(objects.objects) == 1)
            (event,) = objects.objects.values()
            assert len(event["metadata"]["name"]) <= 253
            assert len(event["message"]) == 1024
            assert event["involvedObject"]["name"] == "w" * 253

    run(case())
