"""What is to be written, the latest for each key, tried until it is accepted.

    put(key, item) ──▶ latest[key] ──▶ ready ──▶ one of `parallel` workers: deliver(key, item)
                           ▲                          │ ApiError
                           └──── back-off (per key) ◀─┘  unless something newer is there already

One delivery a key at a time, so writes to one object keep their order; what is put meanwhile replaces what waits. The
first goes at once, the next of the same key after a pause or when nothing at all was put for a while: so a burst costs
few writes, the pause does not outlast it, and a lone change waits for nothing. The pause is `pause_s`, longer where the
server takes its time for a delivery, as its time is what the burst needs. A key that waits holds no worker. It does not
know what an item is.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import structlog

from ovnk.kube.backoff import Backoff
from ovnk.kube.client import ApiError

log = structlog.get_logger()

# A burst is over when nothing was put for so long, and for so many times as long as the last delivery took (what comes
# slowly from a slow server is still one burst), unless more is expected.
QUIET_S = 0.01
QUIET_DELIVERIES = 1
# The pause between two deliveries of a key is so many times as long as the last one took, up to a bound.
PAUSE_DELIVERIES = 60
PAUSE_MOST_S = 2.0
BACKOFF_FIRST_S = 0.1
BACKOFF_MOST_S = 10.0

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Outbox(Generic[K, T]):
    """`deliver` returns when an item is dealt with, and raises ApiError when it is to be tried again."""

    def __init__(self, deliver: Callable[[K, T], Awaitable[None]], *, parallel: int, pause_s: float = 0.0) -> None:
        self._deliver, self._parallel, self._pause_s = deliver, parallel, pause_s
        self._latest: dict[K, T] = {}
        self._ready: asyncio.Queue[K] = asyncio.Queue()
        self._active: set[K] = set()
        self._backoffs: dict[K, Backoff] = {}
        self._under_way = 0
        self._epoch = 0
        # When the keys that rest were delivered, the earliest first.
        self._resting: dict[K, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._put_at = 0.0
        self._more = False
        self._took_s = 0.0
        self.failure: ApiError | None = None

    def __len__(self) -> int:
        """How many deliveries wait or are under way."""
        return len(self._latest) + self._under_way

    def put(self, key: K, item: T) -> None:
        """Have this delivered, in place of what may still wait under the key."""
        self._latest[key] = item
        self._put_at = asyncio.get_running_loop().time()
        if key not in self._active:
            self._active.add(key)
            self._ready.put_nowait(key)

    def expect(self, more: bool) -> None:
        """Whether more is about to be put: while it is, a burst is not over."""
        if more != self._more:
            self._more = more
            self._put_at = asyncio.get_running_loop().time()
            self._set_timer()

    def waiting(self, key: K) -> T | None:
        """What waits under the key; what is under way is not waiting."""
        return self._latest.get(key)

    def withdraw(self, key: K) -> None:
        """Forget what waits under the key."""
        self._latest.pop(key, None)

    def clear(self) -> None:
        """Forget everything; a delivery under way is not tried again."""
        self._latest.clear()
        self._epoch += 1

    async def run(self) -> None:
        """Deliver until cancelled. What is put before it runs is kept."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._parallel):
                group.create_task(self._work())

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            key = await self._ready.get()
            if key not in self._latest:
                self._done(key)
                continue
            item, epoch = self._latest.pop(key), self._epoch
            self._under_way += 1
            began = loop.time()
            try:
                await self._deliver(key, item)
            except ApiError as error:
                if epoch == self._epoch:
                    self._latest.setdefault(key, item)
                backoff = self._backoffs.setdefault(key, Backoff(BACKOFF_FIRST_S, BACKOFF_MOST_S))
                self._failed(error, first=not backoff.failures)
                loop.call_later(backoff.next_s(), self._ready.put_nowait, key)
            else:
                if self.failure is not None:
                    log.info("writing again")
                    self.failure = None
                self._backoffs.pop(key, None)
                self._took_s = loop.time() - began
                self._rest(key)
            finally:
                self._under_way -= 1

    def _rest(self, key: K) -> None:
        """Leave the key alone until its pause is over or all is quiet. One timer serves all: they rest equally long."""
        self._resting[key] = asyncio.get_running_loop().time()
        if len(self._resting) == 1:
            self._set_timer()

    def _end_rests(self) -> None:
        now = asyncio.get_running_loop().time()
        quiet = now >= self._quiet_at()
        for key, delivered in list(self._resting.items()):
            if now < delivered + self._rest_s() and not quiet:
                break
            del self._resting[key]
            self._ready.put_nowait(key)
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._resting:
            due = min(next(iter(self._resting.values())) + self._rest_s(), self._quiet_at())
            self._timer = asyncio.get_running_loop().call_at(due, self._end_rests)

    def _rest_s(self) -> float:
        longer_s = min(PAUSE_DELIVERIES * self._took_s, PAUSE_MOST_S)
        return max(self._pause_s, longer_s) if self._pause_s else 0.0

    def _quiet_at(self) -> float:
        return math.inf if self._more else self._put_at + max(QUIET_S, QUIET_DELIVERIES * self._took_s)

    def _done(self, key: K) -> None:
        self._active.discard(key)
        self._backoffs.pop(key, None)

    def _failed(self, error: ApiError, *, first: bool) -> None:
        # An ill server fails every key: said once. A refusal is that object's own: said once a series.
        if self.failure is None or (first and not error.transient):
            log.warning("cannot write; trying again", why=error.message)
        self.failure = error
