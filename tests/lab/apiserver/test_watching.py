"""Watch: whatever point it resumes from, a client gets exactly the events it missed; lists in pages stay one list."""

import asyncio
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovnk.lab.apiserver import kinds, listing, selectors, watching
from ovnk.lab.apiserver.selectors import Selector
from ovnk.lab.apiserver.status import StatusError
from ovnk.lab.apiserver.store import Store
from ovnk.lab.apiserver.watching import Request, Watchers

PODS = kinds.built_in("pods")


def write(store: Store, name: str, **labels: str) -> None:
    metadata = {"name": name, "namespace": "default", "labels": labels}
    store.write(PODS.storage, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata})


def remove(store: Store, name: str) -> None:
    stored = store.get(PODS.storage, "default", name)
    assert stored is not None
    store.remove(PODS.storage, {**stored.value, "metadata": dict(stored.value["metadata"])})


def watched(store: Store, version: int | None, selector: Selector = Selector(), **more: Any) -> list[dict[str, Any]]:  # noqa: B008  a frozen value
    """What a watch gives that ends at once."""

    async def read() -> bytes:
        request = Request(PODS, None, selector, version, watching.whole, timeout_s=0, **more)
        return b"".join([chunk async for chunk in Watchers(store).lines(request)])

    return [orjson.loads(line) for line in asyncio.run(read()).splitlines()]


def selected(text: str) -> Selector:
    return selectors.parse(PODS, text, "")


STEPS = st.lists(
    st.tuples(st.sampled_from(["write", "write", "remove"]), st.sampled_from("abc"), st.sampled_from(["web", "db"])),
    max_size=25,
)


def walk(store: Store, steps: list[tuple[str, str, str]]) -> list[int]:
    versions = [store.version]
    for step, name, app in steps:
        if step == "write":
            write(store, name, app=app)
        elif store.get(PODS.storage, "default", name) is not None:
            remove(store, name)
        versions.append(store.version)
    return versions


@given(STEPS, st.data())
def test_a_watch_resumed_anywhere_replays_exactly_the_missed_events(
    steps: list[tuple[str, str, str]], data: st.DataObject
) -> None:
    """Objects as of the version plus the events after it are today's objects, with and without a selector."""
    store = Store()
    version = data.draw(st.sampled_from(walk(store, steps)))
    for selector in (Selector(), selected("app=web")):
        then = [one for one in store.at(PODS.storage, version) if selector.matches(one)]
        state = {one.name: one.value["metadata"]["labels"] for one in then}
        events = watched(store, version, selector)
        seen = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
        assert seen == sorted(set(seen))
        assert all(number > version for number in seen)
        for event in events:
            name = event["object"]["metadata"]["name"]
            assert (event["type"] == "ADDED") == (name not in state)
            if event["type"] == "DELETED":
                del state[name]
            else:
                state[name] = event["object"]["metadata"]["labels"]
        now = [one for one in store.select(PODS.storage) if selector.matches(one)]
        assert state == {one.name: one.value["metadata"]["labels"] for one in now}
        if not selector:
            assert len(events) == store.version - version


@given(STEPS, st.integers(1, 4))
def test_a_watch_from_before_the_log_is_told_expired(steps: list[tuple[str, str, str]], length: int) -> None:
    store = Store(log_length=length)
    for version in walk(store, steps):
        events = watched(store, version)
        if store.version - version > length:
            (error,) = events
            assert (error["type"], error["object"]["code"], error["object"]["reason"]) == ("ERROR", 410, "Expired")
        else:
            assert len(events) == store.version - version


def test_a_version_from_the_future_is_expired_too() -> None:
    (error,) = watched(Store(), 999)
    assert error["object"]["code"] == 410


def test_an_object_that_enters_or_leaves_the_selection_is_added_or_deleted() -> None:
    store = Store()
    start = store.version
    write(store, "a", app="db")
    write(store, "a", app="web")
    write(store, "a", app="web", more="x")
    write(store, "a", app="db")
    write(store, "a", app="web")
    remove(store, "a")
    events = watched(store, start, selected("app=web"))
    assert [event["type"] for event in events] == ["ADDED", "MODIFIED", "DELETED", "ADDED", "DELETED"]
    left = events[2]["object"]["metadata"]
    assert left["labels"] == {"app": "web", "more": "x"}
    assert left["resourceVersion"] == "5"


def test_a_watch_without_version_starts_with_what_there_is_and_can_say_where_that_ends() -> None:
    store = Store()
    write(store, "a")
    write(store, "b")
    assert [event["type"] for event in watched(store, None)] == ["ADDED", "ADDED"]
    *_, bookmark = watched(store, None, initial_bookmark=True)
    assert bookmark["type"] == "BOOKMARK"
    assert bookmark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert bookmark["object"]["metadata"]["resourceVersion"] == str(store.version)
    assert watched(store, None, from_now=True) == []


def test_a_live_watch_gets_events_as_they_happen_and_bookmarks_while_they_do_not() -> None:
    store = Store()

    async def run() -> list[str]:
        request = Request(
            PODS, None, Selector(), store.version, watching.whole, bookmarks=True, timeout_s=5, bookmark_interval_s=0.01
        )
        watchers = Watchers(store)
        seen: list[str] = []
        async for chunk in watchers.lines(request):
            seen.extend(orjson.loads(line)["type"] for line in chunk.splitlines())
            if seen.count("BOOKMARK") == 1 and len(seen) == 1:
                write(store, "a")
                write(store, "b")
            if len(seen) > 3:
                watchers.close()
        return seen

    assert asyncio.run(run()) == ["BOOKMARK", "ADDED", "ADDED", "BOOKMARK"]


def test_a_reader_slower_than_the_log_is_told_expired_and_costs_nothing() -> None:
    store = Store(log_length=3)

    async def run() -> list[dict[str, Any]]:
        lines = Watchers(store).lines(Request(PODS, None, Selector(), store.version, watching.whole, timeout_s=5))
        write(store, "first")
        chunks = [await anext(lines)]
        for number in range(10):
            write(store, f"p{number}")
        chunks.extend([chunk async for chunk in lines])
        return [orjson.loads(line) for chunk in chunks for line in chunk.splitlines()]

    events = asyncio.run(run())
    assert [event["type"] for event in events] == ["ADDED", "ERROR"]


def pages(store: Store, limit: int, between: Any = lambda: None, **more: Any) -> list[str]:
    found: list[str] = []
    token = ""
    while True:
        page = listing.page(store, PODS, listing.Query(None, more.get("selector", Selector()), limit, token))
        found.extend(one.name for one in page.items)
        assert page.items or not page.token
        token = page.token
        if not token:
            return found
        between()


@settings(deadline=None)
@given(st.integers(1, 5), st.integers(0, 12))
def test_a_list_in_pages_is_one_list_whatever_happens_meanwhile(limit: int, count: int) -> None:
    store = Store()
    for number in range(count):
        write(store, f"p{number:02}", app="web" if number % 2 else "db")
    all_names = [f"p{number:02}" for number in range(count)]

    def disturb() -> None:
        write(store, f"q{store.version}", app="web")
        write(store, "p00", app="changed")
        if store.get(PODS.storage, "default", "p01") is not None:
            remove(store, "p01")

    assert pages(store, limit, selector=selected("app=web")) == all_names[1::2]
    assert pages(store, limit, disturb) == all_names


def test_a_page_after_the_log_has_moved_on_is_expired() -> None:
    store = Store(log_length=2)
    for number in range(4):
        write(store, f"p{number}")
    first = listing.page(store, PODS, listing.Query(None, Selector(), 2))
    assert first.remaining == 2
    for _ in range(4):
        write(store, "p0")
    with pytest.raises(StatusError) as refused:
        listing.page(store, PODS, listing.Query(None, Selector(), 2, first.token))
    assert (refused.value.code, refused.value.reason) == (410, "Expired")


@pytest.mark.parametrize("token", ["x", "e30", "bnVsbA", "eyJydiI6MSwiYWZ0ZXIiOjF9", "é"])
def test_a_token_nobody_gave_is_refused(token: str) -> None:
    with pytest.raises(StatusError) as refused:
        listing.page(Store(), PODS, listing.Query(None, Selector(), 2, token))
    assert refused.value.code == 400


def test_a_list_at_a_version_is_exact_not_older_than_or_from_the_future() -> None:
    store = Store()
    write(store, "a")
    then = str(store.version)
    write(store, "b")
    exact = listing.page(store, PODS, listing.Query(None, Selector(), version=then, match="Exact"))
    assert [one.name for one in exact.items] == ["a"]
    newer = listing.page(store, PODS, listing.Query(None, Selector(), version=then, match="NotOlderThan"))
    assert [one.name for one in newer.items] == ["a", "b"]
    with pytest.raises(StatusError) as refused:
        listing.page(store, PODS, listing.Query(None, Selector(), version="999"))
    assert (refused.value.code, refused.value.reason) == (504, "Timeout")
