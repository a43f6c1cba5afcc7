"""A queue of keys to reconcile: each key once, never twice at a time, with back-off after a failure.

The semantics are client-go's workqueue: a key added while it is being worked on comes again afterwards, so no
change is missed and none is handled twice in parallel. It knows nothing of what a key stands for.
"""

import asyncio
import random
from collections import deque

from ovnk.lab.controllers.resources import Key


class WorkQueue:
    """Keys waiting for a worker. `base_s` is the first delay after a failure; it doubles up to `limit_s`."""

    def __init__(self, base_s: float = 0.02, limit_s: float = 15.0) -> None:
        self._base_s, self._limit_s = base_s, limit_s
        self._waiting: deque[Key] = deque()
        self._dirty: set[Key] = set()
        self._active: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._available = asyncio.Semaphore(0)

    def add(self, key: Key) -> None:
        """Have `key` reconciled soon; nothing when it is waiting already."""
        if key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._active:
            self._push(key)

    def add_after(self, key: Key, delay_s: float) -> None:
        """Have `key` reconciled in `delay_s` seconds, or sooner if it was to come sooner."""
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= loop.time() + delay_s:
                return
            timer.cancel()
        self._timers[key] = loop.call_later(delay_s, self._due, key)

    def retry(self, key: Key) -> None:
        """Have `key` reconciled again after a failure: later with each failure in a row, jittered by half."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay_s = min(self._limit_s, self._base_s * 2 ** min(failures, 16))
        self.add_after(key, delay_s * random.uniform(0.5, 1.0))

    def succeeded(self, key: Key) -> None:
        """Forget the failures of `key`."""
        self._failures.pop(key, None)

    async def get(self) -> Key:
        """The next key, when there is one. Each must be given back with `done`."""
        await self._available.acquire()
        key = self._waiting.popleft()
        self._dirty.discard(key)
        self._active.add(key)
        return key

    def done(self, key: Key) -> None:
        """The work on `key` has ended; it is queued again if it was added meanwhile."""
        self._active.discard(key)
        if key in self._dirty:
            self._push(key)

    def close(self) -> None:
        """Stop the timers."""
        for timer in self._timers.values():
            timer.cancel()

    def _push(self, key: Key) -> None:
        self._waiting.append(key)
        self._available.release()

    def _due(self, key: Key) -> None:
        self._timers.pop(key, None)
        self.add(key)
