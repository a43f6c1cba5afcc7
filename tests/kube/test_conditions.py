"""Ours are merged by type, everybody else's stay, times change with the status only, conflicts are read again."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from scripted_api import stored

from ovnk.kube import outbox
from ovnk.kube.conditions import Condition, ConditionWriter, merge

READY = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": "x"}
OURS = Condition("NetworkUnavailable", "False", "Ready", "the node has its network")
NODE = "/api/v1/nodes/n1"


def test_others_stay_and_ours_is_added_with_its_time() -> None:
    merged = merge([READY], (OURS,), "now")
    assert merged[0] == READY
    assert merged[1]["lastTransitionTime"] == "now"


def test_time_changes_with_the_status_only() -> None:
    first = merge([], (OURS,), "then")
    reworded = merge(first, (Condition(OURS.type, OURS.status, "Other", "words"),), "now")
    assert (reworded[0]["lastTransitionTime"], reworded[0]["reason"]) == ("then", "Other")
    turned = merge(first, (Condition(OURS.type, "True", "Lost", "it is gone"),), "now")
    assert turned[0]["lastTransitionTime"] == "now"
    assert merge(first, (OURS,), "now") == first


@pytest.mark.parametrize("broken", [[], [409], [500, 409, 503]])
def test_condition_is_written_whatever_comes_in_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: list[int | str]
) -> None:
    monkeypatch.setattr(outbox, "BACKOFF_FIRST_S", 0.01)

    async def case() -> None:
        async with stored(tmp_path) as (objects, client):
            objects.edit(NODE, status={"conditions": [READY]})
            objects.broken = list(broken)
            writer = ConditionWriter(client)
            task = asyncio.create_task(writer.run())
            writer.submit(NODE, (OURS,))
            writer.submit("/api/v1/nodes/gone", (OURS,))  # is forgotten

            def types() -> list[Any]:
                return [condition["type"] for condition in objects.objects[NODE]["status"]["conditions"]]

            await objects.until(lambda: types() == ["Ready", "NetworkUnavailable"])
            method, path, document = objects.writes[-1]
            assert (method, path) == ("PATCH", NODE + "/status")
            assert document["metadata"]["resourceVersion"], "is fenced"
            task.cancel()

    asyncio.run(asyncio.wait_for(case(), 30))
