"""NodeNetworks are written in order, fenced, the latest for each node, whatever the API server answers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from scripted_api import Objects, stored

from ovnk.contract import NodeNetworkSpec, PodAllocation
from ovnk.kube import outbox, status
from ovnk.kube.objects import NodeNetwork
from ovnk.kube.status import NodeNetworkWriter, Write

PATH = "/apis/ovnk.io/v1/nodenetworks"


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "BACKOFF_FIRST_S", 0.01)
    monkeypatch.setattr(outbox, "BACKOFF_MOST_S", 0.05)


def spec(*pods: str, mtu_bytes: int | None = None) -> NodeNetworkSpec:
    allocations = (PodAllocation("shop", name, f"uid-{name}", ("10.244.1.3",), "0a:58:0a:f4:01:03") for name in pods)
    return NodeNetworkSpec(pods=tuple(allocations), mtu_bytes=mtu_bytes)


class Writer:
    def __init__(self, client: Any) -> None:
        self.written: asyncio.Queue[tuple[Write, str]] = asyncio.Queue()
        self.conflicts: asyncio.Queue[tuple[Write, NodeNetwork | None]] = asyncio.Queue()
        self.writer = NodeNetworkWriter(
            client,
            written=lambda write, version: self.written.put_nowait((write, version)),
            conflict=lambda write, current: self.conflicts.put_nowait((write, current)),
        )

    async def write(self, *arguments: Any, **more: Any) -> str:
        write = Write(*arguments, **more)
        self.writer.submit(write)
        done, version = await asyncio.wait_for(self.written.get(), 10)
        assert done == write
        return version


@contextlib.asynccontextmanager
async def writing(folder: Path) -> AsyncIterator[tuple[Objects, Writer]]:
    async with stored(folder) as (objects, client):
        one = Writer(client)
        task = asyncio.create_task(one.writer.run())
        try:
            yield objects, one
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def run(coroutine: Any) -> None:
    asyncio.run(asyncio.wait_for(coroutine, 30))


def test_node_network_is_created_owned_by_its_node_updated_and_deleted(tmp_path: Path) -> None:
    async def case() -> None:
        async with writing(tmp_path) as (objects, one):
            first = await one.write("n1", spec("a"), node_uid="u1")
            made = objects.objects[f"{PATH}/n1"]
            assert (made["apiVersion"], made["kind"]) == ("ovnk.io/v1", "NodeNetwork")
            owner = {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u1"}
            assert made["metadata"]["ownerReferences"] == [owner]
            assert made["spec"]["pods"][0]["name"] == "a"
            second = await one.write("n1", spec("a", "b"), first, "u1")
            assert len(objects.objects[f"{PATH}/n1"]["spec"]["pods"]) == 2
            assert await one.write("n1", None, second) == ""
            assert objects.objects == {}
            assert await one.write("n1", None, second) == "", "gone twice is gone"

    run(case())


def test_only_the_latest_is_kept_while_a_write_is_under_way_and_needs_no_watch_in_between(tmp_path: Path) -> None:
    """All are based on one version: ours in between does not count as somebody else's."""

    async def case() -> None:
        async with writing(tmp_path) as (objects, one):
            base = await one.write("n1", spec())
            one.writer.submit(Write("n1", spec(mtu_bytes=1001), base))
            await objects.until(lambda: objects.writes[-1][0] == "PUT")
            for mtu_bytes in range(1002, 1050):
                one.writer.submit(Write("n1", spec(mtu_bytes=mtu_bytes), base))
            await objects.until(lambda: objects.objects[f"{PATH}/n1"]["spec"].get("mtuBytes") == 1049)
            sent = [document["spec"]["mtuBytes"] for method, _, document in objects.writes if method == "PUT"]
            assert sent == [1001, 1049]
            assert one.conflicts.empty()

    run(case())


def test_somebody_elses_write_in_between_is_a_conflict_and_is_not_overwritten(tmp_path: Path) -> None:
    async def case() -> None:
        async with writing(tmp_path) as (objects, one):
            base = await one.write("n1", spec())
            objects.edit(f"{PATH}/n1", spec={"mtuBytes": 9000})
            one.writer.submit(Write("n1", spec("mine"), base))
            write, current = await one.conflicts.get()
            assert write.spec == spec("mine")
            assert current is not None
            assert current.spec.mtu_bytes == 9000
            assert objects.objects[f"{PATH}/n1"]["spec"] == {"mtuBytes": 9000}
            # Decided anew, on what stands there.
            await one.write("n1", spec("mine", mtu_bytes=9000), current.resource_version)

    run(case())


def test_write_that_waits_behind_a_conflict_and_has_the_same_view_is_dropped_with_it(tmp_path: Path) -> None:
    async def case() -> None:
        async with writing(tmp_path) as (objects, one):
            base = await one.write("n1", spec())
            objects.edit(f"{PATH}/n1", spec={"mtuBytes": 9000})
            real = objects.answer

            async def submit_then_answer(request: Any) -> Any:
                one.writer.submit(Write("n1", spec("staler"), base))
                objects.answer = real  # type: ignore[method-assign]
                return await real(request)

            objects.answer = submit_then_answer  # type: ignore[method-assign]
            one.writer.submit(Write("n1", spec("stale"), base))
            await one.conflicts.get()
            await one.write("n2", spec())
            assert objects.objects[f"{PATH}/n1"]["spec"] == {"mtuBytes": 9000}
            assert len(one.writer) == 0

    run(case())


def test_create_of_what_exists_is_a_conflict(tmp_path: Path) -> None:
    async def case() -> None:
        async with writing(tmp_path) as (objects, one):
            objects.edit(f"{PATH}/n1", spec={"mtuBytes": 9000})
            one.writer.submit(Write("n1", spec()))
            _, current = await one.conflicts.get()
            assert current is not None

    run(case())


def test_node_network_that_cannot_be_read_is_replaced(tmp_path: Path) -> None:
    async def case() -> None:
        async with writing(tmp_path) as (objects, one):
            objects.edit(f"{PATH}/n1", spec={"pods": "edited by hand"})
            await one.write("n1", spec("a"))
            assert objects.objects[f"{PATH}/n1"]["spec"]["pods"][0]["name"] == "a"

    run(case())


def test_node_network_deleted_by_hand_is_made_again(tmp_path: Path) -> None:
    async def case() -> None:
        async with writing(tmp_path) as (objects, one):
            base = await one.write("n1", spec())
            del objects.objects[f"{PATH}/n1"]
            await one.write("n1", spec("a"), base)
            assert f"{PATH}/n1" in objects.objects

    run(case())


@pytest.mark.parametrize("broken", [500, 503, 429, 403, 422, "lost"])
def test_write_that_fails_is_tried_until_it_succeeds(tmp_path: Path, broken: int | str) -> None:
    """ "lost" is done without our hearing of it: the next try finds its own work, not a conflict."""

    async def case() -> None:
        async with writing(tmp_path) as (objects, one):
            base = await one.write("n1", spec())
            objects.broken = [broken] * 3
            await one.write("n1", spec("a"), base)
            assert objects.objects[f"{PATH}/n1"]["spec"]["pods"][0]["name"] == "a"
            assert one.conflicts.empty()
            assert one.writer.failure is None

    run(case())


def test_kind_that_the_server_does_not_know_yet_is_waited_for(tmp_path: Path) -> None:
    async def case() -> None:
        async with writing(tmp_path) as (objects, one):
            objects.broken = [404] * 3
            await one.write("n1", spec("a"))
            assert f"{PATH}/n1" in objects.objects

    run(case())


def test_newer_write_takes_the_place_of_one_that_fails(tmp_path: Path) -> None:
    async def case() -> None:
        async with writing(tmp_path) as (objects, one):
            objects.broken = [422] * 2
            one.writer.submit(Write("n1", spec("bad")))
            await objects.until(lambda: len(objects.writes) >= 1)
            await one.write("n1", spec("good"))
            assert objects.objects[f"{PATH}/n1"]["spec"]["pods"][0]["name"] == "good"

    run(case())


def test_node_that_fails_does_not_hold_up_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "BACKOFF_FIRST_S", 60.0)
    monkeypatch.setattr(outbox, "BACKOFF_MOST_S", 60.0)

    async def case() -> None:
        async with writing(tmp_path) as (objects, one):
            objects.broken = [422] * 20
            for number in range(20):
                one.writer.submit(Write(f"bad{number}", spec()))
            await objects.until(lambda: len(objects.writes) >= 20)
            await one.write("good", spec())
            assert len(one.writer) == 20

    run(case())


def test_what_waits_is_forgotten_when_the_lease_is_lost(tmp_path: Path) -> None:
    async def case() -> None:
        async with writing(tmp_path) as (objects, one):
            objects.broken = [500]
            one.writer.submit(Write("n1", spec("a")))
            await objects.until(lambda: len(objects.writes) >= 1)
            one.writer.clear()
            await one.write("n2", spec())
            while len(one.writer):  # noqa: ASYNC110  nothing announces it
                await asyncio.sleep(0.01)
            assert list(objects.objects) == [f"{PATH}/n2"]

    run(case())


def test_burst_on_one_node_is_few_writes_and_its_last_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first waits for nothing, and the last not for the end of the pause but for the burst's."""
    monkeypatch.setattr(status, "PAUSE_S", 60.0)

    async def case() -> None:
        async with writing(tmp_path) as (objects, one):
            base = await one.write("n1", spec())
            for mtu_bytes in range(1001, 1100):
                one.writer.submit(Write("n1", spec(mtu_bytes=mtu_bytes), base))
                await asyncio.sleep(0)
            await objects.until(lambda: objects.objects[f"{PATH}/n1"]["spec"].get("mtuBytes") == 1099)
            assert len(objects.writes) == 2

    run(case())


def test_burst_that_lasts_is_written_once_a_pause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "PAUSE_S", 0.05)
    monkeypatch.setattr(outbox, "QUIET_S", 60.0)

    async def case() -> None:
        async with writing(tmp_path) as (objects, one):
            base = await one.write("n1", spec())
            for mtu_bytes in (1001, 1002, 1003):
                one.writer.submit(Write("n1", spec(mtu_bytes=mtu_bytes), base))
                await objects.until(
                    lambda mtu_bytes=mtu_bytes: objects.objects[f"{PATH}/n1"]["spec"].get("mtuBytes") == mtu_bytes
                )
            assert len(objects.writes) == 4

    run(case())
