"""Conditions on the user's objects: ours are merged into status.conditions, everybody else's stay.

Works for any kind with a status subresource. The whole list goes back with the resourceVersion it was read at, since
a JSON merge patch replaces lists (custom resources know no other patch), so nobody's change in between is lost.
"""

import datetime
from typing import Any

import msgspec
from msgspec import Struct

from ovnk.kube import listing
from ovnk.kube.client import MERGE_PATCH, ApiError, Client
from ovnk.kube.outbox import Outbox

PARALLEL = 4


class Condition(Struct, frozen=True):
    """One of ours (meta/v1 Condition): `status` is "True", "False" or "Unknown", `reason` one CamelCase word."""

    type: str
    status: str
    reason: str
    message: str
    observed_generation: int | None = None


class ConditionWriter:
    """`submit` the conditions an object is to have from us; `run` writes them, the latest for each object."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._outbox: Outbox[str, tuple[Condition, ...]] = Outbox(self._deliver, parallel=PARALLEL)

    def submit(self, path: str, conditions: tuple[Condition, ...]) -> None:
        """`path` is the object's, "/api/v1/nodes/n1". Conditions of other types are left as they are."""
        self._outbox.put(path, conditions)

    def clear(self) -> None:
        """Forget all that waits: the lease is lost."""
        self._outbox.clear()

    async def run(self) -> None:
        """Write until cancelled; conflicts are read again, what fails is tried again, what is gone is forgotten."""
        await self._outbox.run()

    async def _deliver(self, path: str, conditions: tuple[Condition, ...]) -> None:
        try:
            found = listing.parse(_OBJECT, await self._client.request("GET", path), "object")
            old = found.status.conditions if found.status else None
            new = merge(old or [], conditions, now())
            if new != old:
                metadata = {"resourceVersion": found.metadata.resource_version}
                patch = {"metadata": metadata, "status": {"conditions": new}}
                await self._client.request("PATCH", f"{path}/status", body=patch, content_type=MERGE_PATCH)
        except ApiError as error:
            if error.status != 404:
                raise


def merge(old: list[dict[str, Any]], ours: tuple[Condition, ...], now: str) -> list[dict[str, Any]]:
    """`old` with ours in it, in place by type, new ones last; lastTransitionTime is `now` where status changed."""
    merged = {str(condition.get("type")): condition for condition in old}
    for condition in ours:
        before = merged.get(condition.type, {})
        after = before | {name: value for name, value in _fields(condition).items() if value is not None}
        if before.get("status") != condition.status or not before.get("lastTransitionTime"):
            after["lastTransitionTime"] = now
        merged[condition.type] = after
    return list(merged.values())


def _fields(condition: Condition) -> dict[str, object]:
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "observedGeneration": condition.observed_generation,
    }


class _Metadata(Struct, rename="camel"):
    resource_version: str = ""


class _Status(Struct):
    conditions: list[dict[str, Any]] | None = None


class _Object(Struct):
    metadata: _Metadata
    status: _Status | None = None


_OBJECT = msgspec.json.Decoder(_Object)


def now() -> str:
    """The time as the API writes it."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
