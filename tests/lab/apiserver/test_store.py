"""The store: versions, the log, yesterday's lists, and the file that survives anything."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovnk.errors import ConfigError
from ovnk.lab.apiserver import journal
from ovnk.lab.apiserver.kinds import Resource
from ovnk.lab.apiserver.store import Compacted, Log, Store

PODS = Resource("", "pods")


def write(store: Store, name: str, namespace: str = "default", **more: Any) -> int:
    return store.write(PODS, {"metadata": {"name": name, "namespace": namespace}, **more}).version


def remove(store: Store, name: str, namespace: str = "default") -> int:
    return store.remove(PODS, {"metadata": {"name": name, "namespace": namespace}}).version


def names(store: Store, namespace: str | None = None) -> list[str]:
    return [stored.name for stored in store.select(PODS, namespace)]


STEPS = st.lists(
    st.tuples(st.sampled_from(["write", "remove"]), st.sampled_from("abc"), st.sampled_from("xy")), max_size=30
)


def walk(store: Store, steps: list[tuple[str, str, str]]) -> dict[int, list[tuple[str, str, int]]]:
    """Do the steps; version → what there was at it (namespace, name, version of the object)."""
    seen = {store.version: look(store)}
    for number, (step, name, namespace) in enumerate(steps):
        if step == "write":
            write(store, name, namespace, number=number)
        elif store.get(PODS, namespace, name) is not None:
            remove(store, name, namespace)
        seen[store.version] = look(store)
    return seen


def look(store: Store) -> list[tuple[str, str, int]]:
    return [(one.namespace, one.name, one.version) for one in store.select(PODS)]


def test_every_write_has_a_version_of_its_own_and_lists_are_ordered() -> None:
    store = Store()
    versions = [write(store, "b"), write(store, "a"), write(store, "b"), remove(store, "a"), write(store, "c", "aaa")]
    assert versions == sorted(set(versions))
    assert names(store) == ["c", "b"]
    assert names(store, "default") == ["b"]


@given(STEPS)
def test_a_list_at_an_older_version_is_what_it_was_then(steps: list[tuple[str, str, str]]) -> None:
    store = Store()
    for version, seen in walk(store, steps).items():
        assert [(one.namespace, one.name, one.version) for one in store.at(PODS, version)] == seen


@given(STEPS, st.integers(1, 5))
def test_a_short_log_refuses_what_it_has_forgotten_and_nothing_else(
    steps: list[tuple[str, str, str]], length: int
) -> None:
    store = Store(log_length=length)
    seen = walk(store, steps)
    versions = sorted(seen)
    for version in versions:
        missed = [other for other in versions if other > version]
        try:
            events = store.log(PODS).read(store.log(PODS).position(version))
        except Compacted:
            assert len(missed) > length
        else:
            assert [event.version for event in events] == missed


@given(st.integers(1, 40), st.integers(0, 300))
def test_positions_in_a_log_stay_good_while_its_front_is_cut_off(length: int, count: int) -> None:
    store = Store(log_length=length)
    log: Log = store.log(PODS)
    position, read = log.end(), 0
    for number in range(count):
        write(store, f"p{number}")
        events = log.read(position)
        position += len(events)
        read += len(events)
    assert read == count
    assert len(log.read(log.position(log.floor))) == min(count, length)


@settings(max_examples=40, deadline=None)
@given(STEPS, st.integers(0, 200))
def test_a_file_cut_anywhere_comes_back_as_of_its_last_whole_line(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, str]], cut: int
) -> None:
    path = tmp_path_factory.mktemp("state") / "state"
    store = Store(path)
    seen = walk(store, steps)
    store.close()
    content = path.read_bytes()
    path.write_bytes(content[: max(0, len(content) - cut)])
    again = Store(path)
    assert look(again) == seen.get(again.version, [])
    assert write(again, "after") > again.log(PODS).floor
    again.close()
    assert Store(path).get(PODS, "default", "after") is not None


@given(STEPS)
def test_a_reopened_store_replays_every_event_of_its_file(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, str]]
) -> None:
    path = tmp_path_factory.mktemp("state") / "state"
    store = Store(path)
    seen = walk(store, steps)
    store.close()
    again = Store(path)
    assert again.version == max(seen)
    for version, then in seen.items():
        assert [(one.namespace, one.name, one.version) for one in again.at(PODS, version)] == then
    again.close()


def test_a_file_that_is_mostly_history_is_rewritten_and_older_versions_expire(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_LINES_MIN", 50)
    path = tmp_path / "state"
    store = Store(path)
    write(store, "steady")
    for _ in range(120):
        write(store, "busy")
    size_lines = len(path.read_bytes().splitlines())
    assert size_lines < 60
    store.close()
    again = Store(path)
    assert names(again) == ["busy", "steady"]
    assert again.version == store.version
    with pytest.raises(Compacted):
        again.log(PODS).position(2)
    again.close()
    assert not path.with_name("state.new").exists()


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "state"
    store = Store(path)
    write(store, "a")
    store.close()
    path.write_bytes(b"not json\n" + path.read_bytes())
    with pytest.raises(ConfigError, match="line 1 is not a record"):
        Store(path)


def test_subscribers_hear_of_their_resource_until_they_leave() -> None:
    store = Store()
    heard: list[str] = []
    leave = store.subscribe(PODS, lambda event: heard.append(event.type))
    write(store, "a")
    write(store, "a")
    store.write(Resource("", "nodes"), {"metadata": {"name": "n"}})
    remove(store, "a")
    leave()
    write(store, "a")
    assert heard == ["ADDED", "MODIFIED", "DELETED"]
