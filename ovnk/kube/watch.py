"""The informer: one kind of the Kubernetes API as a stream of Changes, whatever the connection goes through.

    LIST, paged ──▶ Replace ──▶ WATCH from its version ──▶ Put, Remove … ──ends──▶ WATCH from the last version seen
       ▲                            │ 410, ERROR, a line that is no event                │ broken, stalled, 5xx
       └──────── back-off ──────────┘                                                    └── back-off ──▶ WATCH

It keeps the last value of each object (the same value the tables hold, so this costs a dict) and tells only what
differs. An object that cannot be used is told as gone, and why to `invalid`. It has no queue, no resync and no cache
to be read: the tables are that. kube-apiserver's side of the protocol: "Kubernetes API Concepts", sections
"Efficient detection of changes" and "Retrieving large results sets in chunks".
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping

import msgspec
import structlog
from msgspec import Raw, Struct

from ovnk.errors import InvalidObject
from ovnk.kube import listing, wire
from ovnk.kube.backoff import Backoff
from ovnk.kube.client import GARBAGE, ApiError, Client
from ovnk.kube.objects import Change, Key, KubeObject, Put, Remove, Replace

log = structlog.get_logger()

# A watch is asked to end after so long (jittered in between), so that a server that forgot us is noticed.
WATCH_S = (60, 120)
# A server that is silent so long after it should have ended the watch has stalled.
GRACE_S = 15
# How often a server that does not serve an optional kind is asked whether it does now.
ABSENT_S = 5.0
# A watch that lasted so long was a success though nothing happened in it.
LASTING_S = 1.0
BACKOFF_FIRST_S = 0.2
BACKOFF_MOST_S = 10.0


class Informer:
    """Tells `emit` about the objects of `resource` that the selectors match; `run` does the work.

    The first Replace makes the kind synced. `invalid` is called once for each object and each reason. An `optional`
    kind that the server does not serve has no objects; its CustomResourceDefinition may come and go.
    """

    def __init__(
        self,
        client: Client,
        resource: wire.Resource,
        decoder: Callable[[wire.Json], KubeObject],
        emit: Callable[[Change], None],
        *,
        invalid: Callable[[InvalidObject], None] = lambda error: None,
        field_selector: str = "",
        label_selector: str = "",
        optional: bool = False,
    ) -> None:
        self._client, self._resource, self._decode = client, resource, decoder
        self._paths = (resource.path, *resource.otherwise)
        self._emit, self._report = emit, invalid
        selectors = {"fieldSelector": field_selector, "labelSelector": label_selector}
        self._selectors = {name: value for name, value in selectors.items() if value}
        self._values: dict[Key, KubeObject] = {}
        self._invalid: dict[Key, InvalidObject] = {}
        self._version: str | None = None
        self._optional = optional
        # So many times in a row the server said that it does not serve the kind.
        self._absences = 0
        self._backoff = Backoff(BACKOFF_FIRST_S, BACKOFF_MOST_S)
        self.synced = False
        self.failure: ApiError | None = None

    @property
    def invalid(self) -> Mapping[Key, InvalidObject]:
        """The objects that are there but cannot be used just now, and why."""
        return self._invalid

    async def run(self) -> None:
        """List and watch until cancelled. Whatever the server does is waited out; `failure` says what it is.

        A kind that the server does not know (404: its CustomResourceDefinition is not there yet) is waited for too, and
        an optional one counts as synced meanwhile.
        """
        while True:
            try:
                if self._version is None:
                    self._version = await self._list()
                if await self._watch(self._version):
                    continue
                if self._backoff.failures:
                    raise ApiError(0, "Broken", f"{self._resource.path}: the server ends each watch at once")
            except ApiError as error:
                if _outdated(error):
                    self._version = None
                if self._optional and error.status == 404:
                    if self._absent():
                        await asyncio.sleep(ABSENT_S)
                    continue
                self._failed(error)
            # Also after a watch that told something and then ended early: whatever the server does, we do not spin.
            await asyncio.sleep(self._backoff.next_s())

    async def _list(self) -> str:
        """All objects, told as one Replace (nothing if nothing differs); the version to watch from."""
        found = await listing.read(self._client, self._resource, self._decode, self._selectors)
        self._absences = 0
        for error in found.invalid.values():
            self._complain(error)
        self._invalid = found.invalid
        if not self.synced or found.values != self._values:
            # What did not change stays the same value as the tables hold, so that it is held once.
            known = self._values
            self._values = {key: known[key] if known.get(key) == new else new for key, new in found.values.items()}
            self.synced = True
            self._emit(Replace(self._resource.kind, dict(self._values)))
        return found.version

    def _absent(self) -> bool:
        """The kind is not served at this path; whether at none, as far as the server has said yet.

        What was there is believed to be gone when all paths have been asked twice.
        """
        self._absences += 1
        self._succeeded()
        following = self._paths.index(self._resource.path) + 1
        self._resource = msgspec.structs.replace(self._resource, path=self._paths[following % len(self._paths)])
        rounds, further = divmod(self._absences, len(self._paths))
        if further:
            return False
        if not self.synced or (self._values and rounds > 1):
            log.info("this kind is not served", resource=self._resource.path)
            self._values, self._invalid = {}, {}
            self.synced = True
            self._emit(Replace(self._resource.kind, {}))
        return True

    async def _watch(self, version: str) -> bool:
        """One WATCH from `version` to its end; whether it lasted, which is what counts as success.

        Not its events: a server that breaks after each event is not to be asked ever faster.
        """
        loop = asyncio.get_running_loop()
        timer: asyncio.TimerHandle | None = None

        def accepted() -> None:
            nonlocal timer
            timer = loop.call_later(LASTING_S, self._succeeded)

        seconds = random.randint(*WATCH_S)
        query = self._selectors | {
            "watch": "1",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(seconds),
        }
        lines = self._client.stream(
            "GET", self._resource.path, query=query, read_timeout_s=seconds + GRACE_S, accepted=accepted
        )
        try:
            async with contextlib.aclosing(lines):
                async for line in lines:
                    self._handle(listing.parse(_EVENT, line, "event"))
        finally:
            if timer:
                timer.cancel()
        return timer is not None and timer.when() <= loop.time()

    def _handle(self, event: "_Event") -> None:
        if event.type == "ERROR":
            status = listing.parse(_STATUS, event.object, "ERROR event")
            # Whatever the code, this watch will not go on from here.
            raise ApiError(410, status.reason or "Expired", f"{self._resource.path}: {status.message or 'watch error'}")
        found = wire.identity(event.object)
        if event.type in ("ADDED", "MODIFIED"):
            self._changed(event.object)
        elif event.type == "DELETED":
            self._invalid.pop(found.key, None)
            self._gone(found.key)
        elif event.type != "BOOKMARK":
            raise ApiError(0, GARBAGE, f'{self._resource.path}: an event of type "{event.type}"')
        self._version = found.resource_version or self._version

    def _changed(self, raw: Raw) -> None:
        try:
            value = self._decode(raw)
        except InvalidObject as error:
            self._complain(error)
            self._invalid[error.key] = error
            self._gone(error.key)
            return
        self._invalid.pop(value.key, None)
        if self._values.get(value.key) != value:
            self._values[value.key] = value
            self._emit(Put(value))

    def _gone(self, key: Key) -> None:
        if self._values.pop(key, None) is not None:
            self._emit(Remove(self._resource.kind, key))

    def _complain(self, error: InvalidObject) -> None:
        """Report it, unless just this was reported before: a Node is sent again with each heartbeat."""
        known = self._invalid.get(error.key)
        if known is None or str(known) != str(error):
            self._report(error)

    def _failed(self, error: ApiError) -> None:
        if self.failure is None:
            log.warning("cannot watch; trying again", resource=self._resource.path, why=error.message)
        self.failure = error

    def _succeeded(self) -> None:
        if self.failure is not None:
            log.info("watching again", resource=self._resource.path)
        self.failure = None
        self._backoff.reset()


def _outdated(error: ApiError) -> bool:
    """Whether the version is of no more use, so that only a LIST helps.

    410: it is too old. 504: it is newer than what the server has (etcd restored from a backup). Other refusals of
    the request itself (4xx) and an answer that makes no sense: whatever the version has to do with it, it is not
    relied upon. A server that does not answer, is overloaded (429) or ill (5xx) leaves it good, as does an expired
    token (401).
    """
    return error.reason == GARBAGE or error.status == 504 or (400 <= error.status < 500 and not error.transient)


# The wire.


class _Event(Struct):
    type: str
    object: Raw


class _Status(Struct):
    reason: str | None = None
    message: str | None = None


_EVENT = msgspec.json.Decoder(_Event)
_STATUS = msgspec.json.Decoder(_Status)
