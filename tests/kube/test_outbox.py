"""The pace of deliveries while a burst of puts lasts."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from ovnk.kube import outbox
from ovnk.kube.outbox import Outbox


def delivered(puts: Callable[[Outbox[str, int]], Awaitable[None]], last: int, took_s: float) -> list[int]:
    """What is delivered under one key, up to `last`, by a server that takes so long for each."""
    found: list[int] = []
    done = asyncio.Event()

    async def deliver(_key: str, item: int) -> None:
        await asyncio.sleep(took_s)
        found.append(item)
        if item == last:
            done.set()

    async def case() -> None:
        box: Outbox[str, int] = Outbox(deliver, parallel=1, pause_s=0.001)
        running = asyncio.create_task(box.run())
        await puts(box)
        await done.wait()
        running.cancel()
        await asyncio.wait([running])

    asyncio.run(case())
    return found


async def steadily(box: Outbox[str, int]) -> None:
    for number in range(30):
        box.put("key", number)
        await asyncio.sleep(0.005)


def test_a_key_rests_in_proportion_to_what_its_delivery_took(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "QUIET_S", 60.0)
    monkeypatch.setattr(outbox, "PAUSE_DELIVERIES", 100)
    assert len(delivered(steadily, last=29, took_s=0.01)) == 2


def test_a_burst_is_not_over_while_more_is_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "PAUSE_DELIVERIES", 10_000)
    monkeypatch.setattr(outbox, "PAUSE_MOST_S", 60.0)

    async def in_three_turns(box: Outbox[str, int]) -> None:
        box.expect(True)
        for number in (1, 2, 3):
            box.put("key", number)
            await asyncio.sleep(0.05)
        box.expect(False)

    assert delivered(in_three_turns, last=3, took_s=0.001) == [1, 3]
