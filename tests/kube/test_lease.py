"""One leads; when it dies another does soon, when it stops another does at once; clocks need not agree."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from scripted_api import Objects, stored

from ovnk.kube import lease
from ovnk.kube.lease import Lease

PATH = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/ovnk"


@pytest.fixture(autouse=True)
def _faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the real times. The Lease itself says a second, the least that it can say."""
    for name in ("RENEW_S", "DEADLINE_S", "RETRY_S"):
        monkeypatch.setattr(lease, name, getattr(lease, name) / 10)
    monkeypatch.setattr(lease, "DURATION_S", 1.0)


class Candidate:
    def __init__(self, client: Any, identity: str) -> None:
        self.lease = Lease(client, "kube-system", "ovnk", identity)
        self.changes: asyncio.Queue[bool] = asyncio.Queue()
        self.task = asyncio.create_task(self.lease.run(self.changes.put_nowait))

    async def next(self) -> bool:
        return await asyncio.wait_for(self.changes.get(), 10)

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@contextlib.asynccontextmanager
async def candidates(folder: Path, *identities: str) -> AsyncIterator[tuple[Objects, list[Candidate]]]:
    async with stored(folder) as (objects, client):
        found = []
        for identity in identities:
            found.append(Candidate(client, identity))
            if len(found) == 1:
                assert await found[0].next() is True
        try:
            yield objects, found
        finally:
            for candidate in found:
                await candidate.stop()


def run(coroutine: Any) -> None:
    asyncio.run(asyncio.wait_for(coroutine, 60))


def holder(objects: Objects) -> str:
    return str(objects.objects[PATH]["spec"]["holderIdentity"])


def test_first_takes_it_and_renews_it_and_the_second_waits(tmp_path: Path) -> None:
    async def case() -> None:
        async with candidates(tmp_path, "a", "b") as (objects, (a, b)):
            first = objects.objects[PATH]["spec"]
            await objects.until(lambda: objects.objects[PATH]["spec"]["renewTime"] > first["renewTime"])
            spec = objects.objects[PATH]["spec"]
            assert (holder(objects), spec["acquireTime"], spec["leaseTransitions"]) == ("a", first["acquireTime"], 0)
            assert b.changes.empty()
            assert (a.lease.leads, b.lease.leads) == (True, False)

    run(case())


def test_holder_that_stops_gives_it_back_and_the_other_has_it_at_once(tmp_path: Path) -> None:
    async def case() -> None:
        async with candidates(tmp_path, "a", "b") as (objects, (a, b)):
            await a.stop()
            assert await a.next() is False
            assert holder(objects) in ("", "b")
            assert await b.next() is True
            assert objects.objects[PATH]["spec"]["leaseTransitions"] == 1

    run(case())


def test_holder_that_dies_is_replaced_when_its_lease_has_run_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def released(self: Lease) -> None:
        """kill -9 releases nothing."""

    async def case() -> None:
        async with candidates(tmp_path, "a", "b") as (objects, (a, b)):
            monkeypatch.setattr(Lease, "_release", released)
            renewed = len(objects.writes)
            await a.stop()
            assert await b.next() is True
            assert holder(objects) == "b"
            assert len(objects.writes) <= renewed + 2

    run(case())


def test_other_clocks_are_not_believed(tmp_path: Path) -> None:
    """A renewTime long gone, or far ahead, says nothing: only whether it changes counts."""

    async def case() -> None:
        async with stored(tmp_path) as (objects, client):
            spec = {"holderIdentity": "x", "leaseDurationSeconds": 1, "renewTime": "2001-01-01T00:00:00.000000Z"}
            objects.edit(PATH, spec=spec)
            b = Candidate(client, "b")
            for year in range(2002, 2014):  # x goes on renewing by its strange clock
                await asyncio.sleep(0.1)
                objects.edit(PATH, spec=spec | {"renewTime": f"{year}-01-01T00:00:00.000000Z"})
                assert b.changes.empty()
            objects.edit(PATH, spec=spec | {"renewTime": "2999-01-01T00:00:00.000000Z"})
            assert await b.next() is True
            await b.stop()

    run(case())


def test_holder_that_cannot_renew_ceases_before_another_may_begin(tmp_path: Path) -> None:
    async def case() -> None:
        async with candidates(tmp_path, "a") as (objects, (a,)):
            objects.broken = [500] * 1000
            assert await a.next() is False
            objects.broken = []
            assert await a.next() is True, "and takes it again"

    run(case())


def test_holder_whose_renewal_is_not_answered_ceases_too(tmp_path: Path) -> None:
    async def case() -> None:
        async with candidates(tmp_path, "a") as (objects, (a,)):
            real = objects.answer
            stuck = asyncio.Event()

            async def silent(request: Any) -> Any:
                await stuck.wait()
                return await real(request)

            objects.answer = silent  # type: ignore[method-assign]
            assert await a.next() is False
            objects.answer = real  # type: ignore[method-assign]
            stuck.set()

    run(case())


def test_conflict_while_renewing_does_not_end_the_lead(tmp_path: Path) -> None:
    async def case() -> None:
        async with candidates(tmp_path, "a") as (objects, (a,)):
            objects.broken = [409]
            writes = len(objects.writes)
            await objects.until(lambda: len(objects.writes) >= writes + 3)
            assert a.changes.empty()

    run(case())


def test_lease_taken_by_another_ends_the_lead(tmp_path: Path) -> None:
    async def case() -> None:
        async with candidates(tmp_path, "a") as (objects, (a,)):
            objects.edit(PATH, spec={"holderIdentity": "z", "leaseDurationSeconds": 60, "renewTime": "x"})
            assert await a.next() is False
            assert a.lease.holder == "z"

    run(case())


def test_of_many_that_start_together_one_leads(tmp_path: Path) -> None:
    async def case() -> None:
        async with stored(tmp_path) as (objects, client):
            several = [Candidate(client, f"c{number}") for number in range(5)]
            await objects.until(lambda: PATH in objects.objects and len(objects.writes) >= 8)
            assert sum(one.lease.leads for one in several) == 1
            for one in several:
                await one.stop()

    run(case())
