"""Kinds whose CustomResourceDefinitions may be there or not: the informer goes on without, and takes them up."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ovnk.kube import decode, watch, wire
from tests.kube.scripted_api import listing, scripted, status
from tests.kube.test_watch import keys, run, watched

RESOURCE, DECODER = decode.OPTIONAL_KINDS["ClusterNetworkPolicy"]
POLICY: Any = {
    "metadata": {"name": "p", "resourceVersion": "5"},
    "spec": {"tier": "Admin", "priority": 1, "subject": {"namespaces": {}}},
}
NOT_SERVED = (404, "NotFound")


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "ABSENT_S", 0.01)


# A kind of one version.
ALONE = wire.Resource(RESOURCE.path, RESOURCE.kind)


def optional(client: Any, resource: wire.Resource = ALONE) -> Any:
    return watched(client, resource, DECODER, optional=True)


def test_a_kind_that_is_not_served_is_synced_and_taken_up_when_it_is(tmp_path: Path) -> None:
    async def case() -> None:
        async with scripted(tmp_path) as (api, client):
            api.answers = [status(*NOT_SERVED), status(*NOT_SERVED), listing(POLICY), api.watch]
            async with optional(client) as one:
                assert keys(await one.next()) == set()
                assert one.informer.synced
                assert one.informer.failure is None
                assert keys(await one.next()) == {"p"}

    run(case())


def test_objects_are_gone_with_their_kind_and_back_with_it(tmp_path: Path) -> None:
    async def case() -> None:
        async with scripted(tmp_path) as (api, client):
            gone = [status(*NOT_SERVED), status(*NOT_SERVED)]
            api.answers = [listing(POLICY), *gone, listing(POLICY, version="60"), api.watch]
            async with optional(client) as one:
                assert [keys(await one.next()) for _ in range(3)] == [{"p"}, set(), {"p"}]

    run(case())


def test_one_answer_that_it_is_not_served_takes_nothing_away(tmp_path: Path) -> None:
    async def case() -> None:
        async with scripted(tmp_path) as (api, client):
            api.answers = [listing(POLICY), status(*NOT_SERVED), listing(POLICY), api.watch]
            async with optional(client) as one:
                await one.next()
                await asyncio.wait_for(api.watches.get(), 10)
                assert one.told.empty()

    run(case())


def test_another_version_is_asked_for_before_a_kind_is_believed_absent(tmp_path: Path) -> None:
    async def case() -> None:
        async with scripted(tmp_path) as (api, client):
            gone = [status(*NOT_SERVED) for _ in range(4)]
            api.answers = [status(*NOT_SERVED), listing(POLICY), *gone, listing(POLICY), api.watch]
            async with optional(client, RESOURCE) as one:
                assert [keys(await one.next()) for _ in range(3)] == [{"p"}, set(), {"p"}]
                await asyncio.wait_for(api.watches.get(), 10)
            asked = [path.split("/")[3] for _, path, _, _ in api.seen]
            assert asked == [
                "v1alpha2",
                *["v1beta1", "v1beta1", "v1alpha2"],
                *["v1beta1", "v1alpha2", "v1beta1", "v1beta1"],
            ]

    run(case())


@pytest.mark.parametrize("code", [403, 503])
def test_whether_a_kind_is_served_is_not_known_from_any_other_answer(tmp_path: Path, code: int) -> None:
    """Who may not read policies must not go on as if there were none."""

    async def case() -> None:
        async with scripted(tmp_path) as (api, client):
            api.answers = [status(code, "No"), listing(POLICY), api.watch]
            async with optional(client) as one:
                assert keys(await one.next()) == {"p"}

    run(case())
