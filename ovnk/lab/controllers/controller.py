"""What all the controllers are: level-triggered, one key at a time, told of changes but trusting only the caches.

    cache ──(before, after)──▶ keys ──▶ WorkQueue ──▶ reconcile(key) × workers ──▶ Cluster (writes, back into the cache)

A reconcile reads what is now, does what is missing and returns; it never waits for an effect, since the change that
the effect makes brings the key again.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import ClassVar

import structlog

from ovnk.kube.client import ApiError
from ovnk.lab.controllers.cluster import Cluster
from ovnk.lab.controllers.resources import Key, Object, Resource, controller_of, key_of, namespace_of
from ovnk.lab.controllers.work_queue import WorkQueue

log = structlog.get_logger()

# What others changed at the same time, or removed: the next look decides anew.
RACES = (404, 409)
# What a server says (as a 403) to a creation in a namespace that is going: soon the owner goes too.
ENDING = "because it is being terminated"


class Controller(ABC):
    """One controller. `name` is what the command line calls it; `workers` keys are reconciled at a time."""

    name: ClassVar[str]
    workers: ClassVar[int] = 4

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.queue = WorkQueue()

    @abstractmethod
    async def reconcile(self, key: Key) -> float | None:
        """Bring the object nearer to what it says; seconds after which to look again, None: at its next change."""

    def follow(self, resource: Resource, keys: Callable[[Object], Iterable[Key]]) -> None:
        """Queue `keys(object)` for each change of an object of the resource: of the copy before and the one after."""

        def changed(before: Object | None, after: Object | None) -> None:
            for value in (before, after):
                if value is not None:
                    for key in keys(value):
                        self.queue.add(key)

        self.cluster.cache(resource).subscribe(changed)

    async def run(self) -> None:
        """Reconcile until cancelled. The caches must be in sync."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(self.workers):
                    tasks.create_task(self._work())
        finally:
            self.queue.close()

    async def _work(self) -> None:
        while True:
            key = await self.queue.get()
            try:
                again_s = await self.reconcile(key)
            except ApiError as error:
                if error.status not in RACES and ENDING not in error.message:
                    log.warning("not reconciled", controller=self.name, key=key, why=str(error))
                self.queue.retry(key)
            except Exception:  # a bug of ours in one key must not stop the others; it is logged with that key
                log.exception("reconcile raised", controller=self.name, key=key)
                self.queue.retry(key)
            else:
                self.queue.succeeded(key)
                if again_s is not None:
                    self.queue.add_after(key, again_s)
            finally:
                self.queue.done(key)


def itself(value: Object) -> Iterable[Key]:
    """The key of the object that changed."""
    return (key_of(value),)


def its_controller(kind: str) -> Callable[[Object], Iterable[Key]]:
    """A function to the key of the `kind` that controls the object that changed; nothing when none does."""

    def keys(value: Object) -> Iterable[Key]:
        owner = controller_of(value)
        return (f"{namespace_of(value)}/{owner['name']}",) if owner and owner["kind"] == kind else ()

    return keys
