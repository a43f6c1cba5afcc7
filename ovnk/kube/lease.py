"""Who leads: one of several controllers, by a coordination.k8s.io/v1 Lease.

The holder renews it; a standby takes it when it has seen no renewal for the Lease's duration *by its own clock since
it first saw the last one*, so clocks need not agree (as client-go's leaderelection does; the official Python client's
compares wall clocks, and neither releases nor jitters). A holder that stops empties the Lease and the standby has it
at its next look. A holder that cannot renew stops leading (DEADLINE_S) before anybody may take over (DURATION_S).
That is a promise between processes that run; one that was frozen is fenced by resourceVersions and by the OVSDB
lock, not by this.
"""

import asyncio
import datetime
import random
from collections.abc import Callable
from typing import Any

import msgspec
import structlog
from msgspec import Struct

from ovnk.kube import listing
from ovnk.kube.client import ApiError, Client

log = structlog.get_logger()

# A holder that is killed is replaced after at most DURATION_S + RETRY_S, here 7 s.
DURATION_S = 6.0
RENEW_S = 2.0
# A holder stops when its last renewal is as old as this.
DEADLINE_S = 4.0
RETRY_S = 1.0


class Lease:
    """The Lease `namespace`/`name` as `identity` (unique among the candidates) sees it; `run` takes part."""

    def __init__(self, client: Client, namespace: str, name: str, identity: str) -> None:
        self._client, self._identity, self._name = client, identity, name
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._path = f"{self._collection}/{name}"
        self._seen: tuple[str, str] | None = None
        self._seen_at = 0.0
        self._renewed_at = 0.0
        self._failing = False
        # Why it cannot be read or renewed, "" while it can.
        self.trouble = ""
        self.leads = False
        # Whether we got it from a holder that neither renewed it nor gave it back: it died, or has stopped.
        self.took_over = False
        self.holder = ""

    async def run(self, on_change: Callable[[bool], None]) -> None:
        """Take part until cancelled; `on_change` hears True when we begin to lead and False when we cease to.

        Cancelled while leading: False first, then the Lease is given back.
        """
        try:
            while True:
                await self._turn(on_change)
                pause_s = RENEW_S if self.leads and not self._failing else RETRY_S
                await asyncio.sleep(pause_s * random.uniform(0.8, 1.0))
        finally:
            if self.leads:
                self._change(False, on_change)
                await self._release()

    async def _turn(self, on_change: Callable[[bool], None]) -> None:
        """Look once, and take or renew where that is ours to do."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        # A renewal must be answered while it is worth something.
        limit_s = max(0.1, self._renewed_at + DEADLINE_S - began) if self.leads else RETRY_S * 2
        try:
            async with asyncio.timeout(limit_s):
                ours = await self._acquire_or_renew(began)
        except (ApiError, TimeoutError) as error:
            # A conflict is no failure: somebody wrote in between, and the next look says what.
            refused = isinstance(error, ApiError) and error.status == 409
            if not self._failing and not refused:
                log.warning("the lease cannot be read or renewed; trying again", lease=self._name, why=str(error))
            if not refused:
                why = str(error) or "no answer in time"
                self.trouble = f'the lease "{self._name}" cannot be read or renewed: {why}; nobody leads without it'
            self._failing = True
            ours = self.leads and loop.time() < self._renewed_at + DEADLINE_S
        else:
            self._failing, self.trouble = False, ""
            if ours:
                self._renewed_at = began
        if ours != self.leads:
            self._change(ours, on_change)

    async def _acquire_or_renew(self, now: float) -> bool:
        """Whether it is ours now. Raises ApiError when that is not known, 409 when somebody was faster."""
        try:
            raw = await self._client.request("GET", self._path)
        except ApiError as error:
            if error.status != 404:
                raise
            body = {"metadata": {"name": self._name}, "spec": self._spec(transitions=0, acquired=_now())}
            await self._client.request("POST", self._collection, body=_KIND | body)
            self.took_over = False
            self.holder = self._identity
            return True
        lease = listing.parse(_LEASE, raw, "Lease")
        spec = lease.spec or _Spec()
        self.holder = spec.holder_identity or ""
        version = (lease.metadata.resource_version, spec.renew_time or "")
        if version != self._seen:
            self._seen, self._seen_at = version, now
        ours = self.holder == self._identity
        if not ours and self.holder:
            duration_s = spec.lease_duration_seconds or DURATION_S
            if now < self._seen_at + duration_s:
                return False
        transitions = (spec.lease_transitions or 0) + (0 if ours else 1)
        acquired = spec.acquire_time if ours and spec.acquire_time else _now()
        metadata = {"name": self._name, "resourceVersion": lease.metadata.resource_version}
        body = {"metadata": metadata, "spec": self._spec(transitions=transitions, acquired=acquired)}
        await self._client.request("PUT", self._path, body=_KIND | body)
        self.took_over = bool(self.holder) if not ours else self.took_over
        self.holder = self._identity
        return True

    async def _release(self) -> None:
        """Empty it, so that a standby need not wait until it expires. Failing that, it expires."""
        try:
            async with asyncio.timeout(RETRY_S):
                lease = listing.parse(_LEASE, await self._client.request("GET", self._path), "Lease")
                if lease.spec is None or lease.spec.holder_identity != self._identity:
                    return
                spec = self._spec(transitions=lease.spec.lease_transitions or 0, acquired=_now())
                spec |= {"holderIdentity": "", "leaseDurationSeconds": 1}
                metadata = {"name": self._name, "resourceVersion": lease.metadata.resource_version}
                await self._client.request("PUT", self._path, body=_KIND | {"metadata": metadata, "spec": spec})
                log.info("lease released", lease=self._name)
        except (ApiError, TimeoutError) as error:
            log.warning("the lease cannot be released; it will expire", lease=self._name, why=str(error))

    def _spec(self, *, transitions: int, acquired: str) -> dict[str, Any]:
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": round(DURATION_S),
            "acquireTime": acquired,
            "renewTime": _now(),
            "leaseTransitions": transitions,
        }

    def _change(self, leads: bool, on_change: Callable[[bool], None]) -> None:
        self.leads = leads
        log.info("lease acquired" if leads else "lease lost", lease=self._name, identity=self._identity)
        on_change(leads)


_KIND = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}


class _Metadata(Struct, rename="camel"):
    resource_version: str = ""


class _Spec(Struct, rename="camel"):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class _Lease(Struct):
    metadata: _Metadata
    spec: _Spec | None = None


_LEASE = msgspec.json.Decoder(_Lease)


def _now() -> str:
    """Now as a MicroTime."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
