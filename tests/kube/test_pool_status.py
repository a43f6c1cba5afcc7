"""What pools give is written into Services' status: all of ours and nothing else, whatever comes in between."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from scripted_api import stored

from ovnk.kube import outbox
from ovnk.kube.pool_objects import PoolUse
from ovnk.kube.pool_status import PoolWriter
from ovnk.kube.service_objects import PoolAnswer, ServiceStatus

PATH = "/api/v1/namespaces/shop/services/web"
POOL = "/apis/ovnk.io/v1/addresspools/public"
OTHERS = {"type": "Other", "status": "True", "reason": "R", "message": "", "lastTransitionTime": "x"}
GIVEN = ServiceStatus("shop/web", "u-1", ("192.0.2.1",), PoolAnswer(True, "Assigned", "of a pool"))
NOTHING = ServiceStatus("shop/web", "u-1", (), None)


@pytest.mark.parametrize("broken", [[], [409], [500, 409, "lost"]])
def test_addresses_are_written_and_taken_back_beside_what_others_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: list[int | str]
) -> None:
    monkeypatch.setattr(outbox, "BACKOFF_FIRST_S", 0.01)

    async def case() -> None:
        async with stored(tmp_path) as (objects, client):
            objects.edit(PATH, metadata={}, spec={"type": "LoadBalancer"}, status={"conditions": [OTHERS]})
            objects.objects[PATH]["metadata"]["uid"] = "u-1"
            objects.broken = list(broken)
            writer = PoolWriter(client)
            task = asyncio.create_task(writer.run())
            writer.submit([GIVEN], [])

            def status() -> Any:
                return objects.objects[PATH]["status"]

            await objects.until(lambda: "loadBalancer" in status())
            assert status()["loadBalancer"] == {"ingress": [{"ip": "192.0.2.1", "ipMode": "VIP"}]}
            assert status()["conditions"][0] == OTHERS
            ours = status()["conditions"][1]
            assert (ours["type"], ours["status"], ours["message"]) == ("ovnk.io/AddressAssigned", "True", "of a pool")
            assert objects.writes[-1][2]["metadata"]["resourceVersion"], "is fenced"
            writer.submit([NOTHING], [])
            await objects.until(lambda: status()["loadBalancer"] == {"ingress": None})
            assert status()["conditions"] == [OTHERS]
            task.cancel()

    asyncio.run(asyncio.wait_for(case(), 30))


@pytest.mark.parametrize(
    "parts", [{"uid": "u-2"}, {"type": "ClusterIP"}, {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}]
)
def test_nothing_is_written_to_whom_it_is_not_for_or_who_has_it(tmp_path: Path, parts: dict[str, Any]) -> None:
    async def case() -> None:
        async with stored(tmp_path) as (objects, client):
            ours = {"type": "ovnk.io/AddressAssigned", "status": "True", "reason": "Assigned", "message": "of a pool"}
            status = parts.get("status", {}) | {"conditions": [ours | {"lastTransitionTime": "x"}]}
            objects.edit(PATH, spec={"type": parts.get("type", "LoadBalancer")}, status=status)
            objects.objects[PATH]["metadata"]["uid"] = parts.get("uid", "u-1")
            objects.edit(POOL, spec={})
            writer = PoolWriter(client)
            task = asyncio.create_task(writer.run())
            writer.submit([GIVEN], [PoolUse("public", ((4, 4, 4), (6, 1, 2)))])
            await objects.until(lambda: "status" in objects.objects[POOL])
            (condition,) = objects.objects[POOL]["status"]["conditions"]
            assert (condition["status"], condition["reason"]) == ("False", "Exhausted")
            assert condition["message"] == "4 of 4 IPv4 addresses and 1 of 2 IPv6 addresses assigned"
            assert [path for _, path, _ in objects.writes] == [f"{POOL}/status"]
            task.cancel()

    asyncio.run(asyncio.wait_for(case(), 30))
