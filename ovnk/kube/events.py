"""Events on the user's objects, so that `kubectl describe` says what we have to say about them.

core/v1 Events: `kubectl describe` looks them up by involvedObject (name, namespace, kind, uid) and shows their count;
events.k8s.io/v1 stores the same objects but has its repeats in `series`, which describe does not count. Repeats raise
the count of the one Event, at most every REPEAT_S; what is new about one object is bounded by a token bucket. Events
are news, not state: they are retried while the server is ill, and given up where it refuses them.
"""

import asyncio
import datetime
import uuid
from collections import OrderedDict

import structlog
from msgspec import Struct

from ovnk import contract
from ovnk.errors import InvalidObject
from ovnk.kube import decode_cluster_policies, pool_objects
from ovnk.kube.client import MERGE_PATCH, ApiError, Client
from ovnk.kube.objects import Key, KubeObject
from ovnk.kube.outbox import Outbox

log = structlog.get_logger()

PARALLEL = 2
# A repeat within this time after the last write waits until it is over.
REPEAT_S = 30.0
# Different events about one object: so many at once, then one each TOKEN_S.
BURST = 20
TOKEN_S = 60.0
# So many different events are remembered as repeatable.
REMEMBERED = 4096
# events.k8s.io refuses longer ones, and describe becomes unreadable before.
MESSAGE_CHARACTERS = 1024

_API_VERSIONS = {
    contract.KIND: f"{contract.GROUP}/{contract.VERSION}",
    pool_objects.KIND: f"{contract.GROUP}/{contract.VERSION}",
    "EndpointSlice": "discovery.k8s.io/v1",
    "NetworkPolicy": "networking.k8s.io/v1",
    "ClusterNetworkPolicy": f"{decode_cluster_policies.GROUP}/v1alpha2",
    "AdminNetworkPolicy": f"{decode_cluster_policies.GROUP}/v1alpha1",
    "BaselineAdminNetworkPolicy": f"{decode_cluster_policies.GROUP}/v1alpha1",
}


class Subject(Struct, frozen=True):
    """The object that an Event is about. Without its uid `kubectl describe` does not find the Event."""

    kind: str
    key: Key
    uid: str

    @classmethod
    def of(cls, thing: KubeObject | InvalidObject) -> "Subject":
        """The subject that is this object, or that this error is about."""
        if isinstance(thing, InvalidObject):
            return cls(thing.kind, thing.key, thing.uid)
        return cls(type(thing).__name__, thing.key, getattr(thing, "uid", ""))


class EventRecorder:
    """`record` is called from anywhere and never waits; `run` writes."""

    def __init__(self, client: Client, component: str, instance: str) -> None:
        """`component` ("ovnk-controller") is what describe shows under From, `instance` which one of them it is."""
        self._client, self._component, self._instance = client, component, instance
        self._outbox: Outbox[_Kind, _Series] = Outbox(self._deliver, parallel=PARALLEL)
        self._series: OrderedDict[_Kind, _Series] = OrderedDict()
        self._buckets: OrderedDict[Subject, _Bucket] = OrderedDict()

    def record(self, subject: Subject, reason: str, message: str, *, warning: bool = True) -> None:
        """Say on `subject`: `reason` is one CamelCase word, `message` a sentence in the words of errors.py."""
        loop = asyncio.get_running_loop()
        if len(message) > MESSAGE_CHARACTERS:
            message = message[: MESSAGE_CHARACTERS - 1] + "…"
        kind = _Kind(subject, reason, message, warning)
        series = self._series.get(kind)
        if series is None:
            if not self._token(subject, loop.time()):
                log.debug("event left out: too many about one object", subject=subject.key, reason=reason)
                return
            series = self._series[kind] = _Series(first=_now())
            _trim(self._series)
        self._series.move_to_end(kind)
        series.count += 1
        series.last = _now()
        wait_s = series.written_at + REPEAT_S - loop.time() if series.written_at else 0.0
        if wait_s <= 0:
            self._outbox.put(kind, series)
        elif not series.scheduled:
            series.scheduled = True
            loop.call_later(wait_s, self._outbox.put, kind, series)

    async def run(self) -> None:
        """Write until cancelled."""
        await self._outbox.run()

    def _token(self, subject: Subject, now: float) -> bool:
        bucket = self._buckets.setdefault(subject, _Bucket(BURST, now))
        self._buckets.move_to_end(subject)
        _trim(self._buckets)
        bucket.tokens = min(BURST, bucket.tokens + (now - bucket.seen) / TOKEN_S)
        bucket.seen = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True

    async def _deliver(self, kind: "_Kind", series: "_Series") -> None:
        series.scheduled = False
        try:
            if series.name:
                await self._repeat(kind, series)
            else:
                await self._create(kind, series)
        except ApiError as error:
            if error.transient:
                raise
            # Its namespace is being deleted, or we may not: an Event is not worth insisting.
            log.debug("event refused", subject=kind.subject.key, reason=kind.reason, why=error.message)
        series.written_at = asyncio.get_running_loop().time()

    async def _repeat(self, kind: "_Kind", series: "_Series") -> None:
        patch = {"count": series.count, "lastTimestamp": series.last}
        try:
            path = f"{_path(kind.subject)}/{series.name}"
            await self._client.request("PATCH", path, body=patch, content_type=MERGE_PATCH)
        except ApiError as error:
            if error.status not in (403, 404):
                raise
            # Events live for an hour (kube-apiserver --event-ttl); and whoever may only create says it anew.
            await self._create(kind, series)

    async def _create(self, kind: "_Kind", series: "_Series") -> None:
        namespace, _, name = kind.subject.key.rpartition("/")
        event_name = f"{name[:220]}.{uuid.uuid4().hex[:16]}"
        involved = {
            "apiVersion": _API_VERSIONS.get(kind.subject.kind, "v1"),
            "kind": kind.subject.kind,
            "name": name,
            "uid": kind.subject.uid,
        }
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": event_name, "namespace": namespace or "default"},
            "involvedObject": involved | ({"namespace": namespace} if namespace else {}),
            "type": "Warning" if kind.warning else "Normal",
            "reason": kind.reason,
            "message": kind.message,
            "count": series.count,
            "firstTimestamp": series.first,
            "lastTimestamp": series.last,
            "source": {"component": self._component, "host": self._instance},
            "reportingComponent": self._component,
            "reportingInstance": self._instance,
        }
        await self._client.request("POST", _path(kind.subject), body=event)
        series.name = event_name


class _Kind(Struct, frozen=True):
    """What makes two events the same one, repeated."""

    subject: Subject
    reason: str
    message: str
    warning: bool


class _Series(Struct):
    """One Event and its repeats; `name` is "" until it was created.

    Texts are times as the API writes them, `written_at` is the loop's, 0 before the first write.
    """

    first: str
    last: str = ""
    count: int = 0
    name: str = ""
    written_at: float = 0.0
    scheduled: bool = False


class _Bucket(Struct):
    tokens: float
    seen: float


def _path(subject: Subject) -> str:
    """Where the subject's Events are: in its namespace; in "default" for what has none (core/v1 validation)."""
    namespace = subject.key.rpartition("/")[0] or "default"
    return f"/api/v1/namespaces/{namespace}/events"


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _trim(remembered: "OrderedDict[_Kind, _Series] | OrderedDict[Subject, _Bucket]") -> None:
    while len(remembered) > REMEMBERED:
        remembered.popitem(last=False)
