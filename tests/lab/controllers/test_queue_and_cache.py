import asyncio

from ovnk.lab.controllers.cache import Cache
from ovnk.lab.controllers.resources import PODS, Object, name_of
from ovnk.lab.controllers.work_queue import WorkQueue


def test_a_key_added_while_it_is_worked_on_comes_again_afterwards_and_once() -> None:
    async def scenario() -> list[str]:
        queue, seen = WorkQueue(), []
        queue.add("a")
        queue.add("a")
        seen.append(await queue.get())
        queue.add("a")
        queue.add("b")
        seen.append(await queue.get())
        queue.done("a")
        seen.append(await queue.get())
        return seen

    assert asyncio.run(scenario()) == ["a", "b", "a"]


def test_a_failure_in_a_row_waits_longer_and_success_forgets() -> None:
    async def scenario() -> list[float]:
        queue, loop, waited = WorkQueue(base_s=0.02, limit_s=0.08), asyncio.get_running_loop(), []
        for _ in range(4):
            began = loop.time()
            queue.retry("a")
            queue.done(await queue.get())
            waited.append(loop.time() - began)
        queue.succeeded("a")
        queue.retry("a")
        assert queue._timers["a"].when() - loop.time() <= 0.02
        queue.close()
        return waited

    first, second, third, fourth = asyncio.run(scenario())
    assert first >= 0.01
    assert second >= 0.02
    assert min(third, fourth) >= 0.04


def test_the_sooner_of_two_delays_counts() -> None:
    async def scenario() -> str:
        queue = WorkQueue()
        queue.add_after("a", 3600)
        queue.add_after("a", 0.001)
        queue.add_after("a", 3600)
        return await asyncio.wait_for(queue.get(), 5)

    assert asyncio.run(scenario()) == "a"


def pod(name: str, version: int, node: str = "", uid: str = "u") -> Object:
    metadata = {"namespace": "shop", "name": name, "resourceVersion": str(version), "uid": uid}
    return {"metadata": metadata, "spec": {"nodeName": node}}


def cache() -> Cache:
    made = Cache(PODS)
    made.index("node", lambda value: (value["spec"]["nodeName"],))
    return made


def test_an_own_write_is_seen_at_once_and_an_older_event_does_not_undo_it() -> None:
    pods = cache()
    pods.watched("ADDED", pod("web", 5))
    pods.written(pod("web", 9, "n1"))
    pods.watched("MODIFIED", pod("web", 7))
    assert [name_of(value) for value in pods.by("node", "n1")] == ["web"]
    assert pods.by("node", "") == []


def test_an_answer_that_comes_after_the_watch_told_of_the_deletion_is_too_late() -> None:
    pods = cache()
    pods.watched("DELETED", pod("web", 12))
    pods.written(pod("web", 10))
    assert pods.get("shop/web") is None


def test_a_list_removes_what_it_lacks_but_for_newer_writes() -> None:
    pods, told = cache(), []
    pods.subscribe(lambda before, after: told.append((before and name_of(before), after and name_of(after))))
    pods.watched("ADDED", pod("old", 3))
    pods.written(pod("new", 20))
    pods.replace([pod("listed", 4)], 10)
    assert set(pods.objects) == {"shop/new", "shop/listed"}
    assert told == [(None, "old"), (None, "new"), ("old", None), (None, "listed")]
