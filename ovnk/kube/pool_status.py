"""What address pools give goes into the status of Services, with a condition that says where it comes from.

Read, changed and written at the version that was read: what others keep in the status stays, and whoever wrote in
between is seen. The pools' own use is a condition of theirs. What is given is decided elsewhere (ovnk.address_pools).
"""

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from ovnk.kube import conditions, listing
from ovnk.kube.client import MERGE_PATCH, ApiError, Client
from ovnk.kube.conditions import Condition, ConditionWriter
from ovnk.kube.decode_pools import ADDRESS_POOLS
from ovnk.kube.objects import Key
from ovnk.kube.outbox import Outbox
from ovnk.kube.pool_objects import POOL_CONDITION, SERVICE_CONDITION, PoolUse
from ovnk.kube.service_objects import ServiceStatus

PARALLEL = 8


class PoolWriter:
    """`submit` what is wanted; `run` writes it, the latest for each Service and pool, several at a time."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._outbox: Outbox[Key, ServiceStatus] = Outbox(self._deliver, parallel=PARALLEL)
        self._conditions = ConditionWriter(client)

    def submit(self, statuses: Iterable[ServiceStatus], pools: Iterable[PoolUse]) -> None:
        """Have these written, in place of what may still wait for the same objects."""
        for status in statuses:
            self._outbox.put(status.key, status)
        for use in pools:
            self._conditions.submit(f"{ADDRESS_POOLS.path}/{use.pool}", (_condition(use),))

    def clear(self) -> None:
        """Forget all that waits: the lease is lost."""
        self._outbox.clear()
        self._conditions.clear()

    async def run(self) -> None:
        """Write until cancelled; conflicts are read again, what fails is tried again, what is gone is forgotten."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._outbox.run())
            group.create_task(self._conditions.run())

    async def _deliver(self, key: Key, wanted: ServiceStatus) -> None:
        namespace, _, name = key.partition("/")
        path = f"/api/v1/namespaces/{namespace}/services/{name}"
        try:
            found = listing.parse(_SERVICE, await self._client.request("GET", path), "Service")
            # Another one of the name, or one that may have no addresses by now: what is right for it comes after this.
            if found.metadata.uid != wanted.uid or (wanted.addresses and found.spec.type != "LoadBalancer"):
                return
            new = _merged(found.status, wanted)
            if new != found.status:
                metadata = {"resourceVersion": found.metadata.resource_version}
                patch = {"metadata": metadata, "status": new}
                await self._client.request("PATCH", f"{path}/status", body=patch, content_type=MERGE_PATCH)
        except ApiError as error:
            if error.status != 404:
                raise


def _condition(use: PoolUse) -> Condition:
    full = [f"IPv{family}" for family, assigned, size in use.counts if assigned >= size]
    words = " and ".join(f"{assigned} of {size} IPv{family} addresses" for family, assigned, size in use.counts)
    message = f"{words or 'no addresses'} assigned"
    return Condition(
        POOL_CONDITION, "False" if full or not use.counts else "True", "Exhausted" if full else "Free", message
    )


def _merged(status: dict[str, Any], wanted: ServiceStatus) -> dict[str, Any]:
    """The status with what is wanted in it; null, in a merge patch, for what is to go."""
    ingress = [{"ip": address, "ipMode": "VIP"} for address in wanted.addresses]
    balancer = status.get("loadBalancer") or {}
    kept = [one for one in status.get("conditions") or () if one.get("type") != SERVICE_CONDITION]
    if wanted.answer is not None:
        answer = wanted.answer
        ours = Condition(SERVICE_CONDITION, "True" if answer.assigned else "False", answer.reason, answer.message)
        kept = conditions.merge(status.get("conditions") or [], (ours,), conditions.now())
    merged = dict(status)
    if [one.get("ip") for one in balancer.get("ingress") or ()] != list(wanted.addresses):
        merged["loadBalancer"] = {"ingress": ingress or None}
    if kept != (status.get("conditions") or []):
        merged["conditions"] = kept or None
    return merged


class _Metadata(Struct, rename="camel"):
    uid: str = ""
    resource_version: str = ""


class _Spec(Struct):
    type: str = "ClusterIP"


class _Service(Struct):
    metadata: _Metadata
    spec: _Spec = msgspec.field(default_factory=_Spec)
    status: dict[str, Any] = msgspec.field(default_factory=dict)


_SERVICE = msgspec.json.Decoder(_Service)
