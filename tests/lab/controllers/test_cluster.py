import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from ovnk.lab.controllers.cluster import Cluster
from ovnk.lab.controllers.resources import PODS
from tests.kube.scripted_api import ScriptedApi, event, listing, pod, scripted, status

Case = Callable[[ScriptedApi, Cluster], Awaitable[None]]


def play(folder: Path, case: Case) -> None:
    async def scenario() -> None:
        async with scripted(folder) as (api, client):
            cluster = Cluster(client)
            cluster.cache(PODS)
            work = asyncio.create_task(cluster.run())
            try:
                async with asyncio.timeout(20):
                    await case(api, cluster)
            finally:
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)

    asyncio.run(scenario())


async def until(cluster: Cluster, names: set[str]) -> None:
    """Wait until the cache holds exactly these Pods."""
    reached = asyncio.Event()
    cache = cluster.cache(PODS)

    def look(*_: object) -> None:
        if {key.partition("/")[2] for key in cache.objects} == names:
            reached.set()

    cache.subscribe(look)
    look()
    await reached.wait()


def test_pages_are_one_list_and_the_watch_goes_on_from_it(tmp_path: Path) -> None:
    async def case(api: ScriptedApi, cluster: Cluster) -> None:
        api.answers = [listing(pod("a"), proceed="more"), listing(pod("b"), version="20"), api.watch]
        await cluster.synced()
        watch = await api.watches.get()
        assert [seen[2].get("continue") for seen in api.seen] == [None, "more", None]
        assert watch.query["resourceVersion"] == "20"
        await watch.send(event("DELETED", pod("a", "21")) + event("ADDED", pod("c", "22")))
        await until(cluster, {"b", "c"})
        assert cluster.cache(PODS).objects["shop/b"]["kind"] == "Pod", "items of a list do not name theirs"

    play(tmp_path, case)


def test_a_watch_that_breaks_goes_on_where_it_was(tmp_path: Path) -> None:
    async def case(api: ScriptedApi, cluster: Cluster) -> None:
        api.answers = [status(500, "InternalError"), listing(pod("a")), api.watch, api.watch]
        watch = await api.watches.get()
        await watch.send(event("BOOKMARK", {"metadata": {"resourceVersion": "30"}}) + b'{"type":"ADD')
        watch.drop()
        watch = await api.watches.get()
        assert watch.query["resourceVersion"] == "30"

    play(tmp_path, case)


def test_a_version_that_is_too_old_means_a_new_list(tmp_path: Path) -> None:
    async def case(api: ScriptedApi, cluster: Cluster) -> None:
        api.answers = [listing(pod("a"), pod("b")), api.watch, listing(pod("b"), version="50"), api.watch]
        watch = await api.watches.get()
        await watch.send(event("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}))
        await until(cluster, {"b"})
        assert (await api.watches.get()).query["resourceVersion"] == "50"

    play(tmp_path, case)
