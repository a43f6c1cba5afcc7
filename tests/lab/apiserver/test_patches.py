"""Patches: RFC 6902, RFC 7386 and strategic merge, against their specifications and each other."""

import contextlib
import copy
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ovnk.lab.apiserver import kinds, patches, schemas

POD = schemas.of(kinds.built_in("pods"))
SERVICE = schemas.of(kinds.built_in("services"))
UNKNOWN = schemas.UNKNOWN

LEAVES = st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab", max_size=2)
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=1), inner, max_size=3)
)
OBJECTS = st.dictionaries(st.text("abc", max_size=1), JSON, max_size=3)


# The table of RFC 7386, appendix A.
@pytest.mark.parametrize(
    ("original", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch_does_as_the_rfc_shows(original: Any, patch: Any, result: Any) -> None:
    assert patches.merge_patch(original, patch) == result


@given(OBJECTS, OBJECTS)
def test_merge_patch_applied_twice_is_applied_once_and_changes_no_input(value: Any, patch: Any) -> None:
    before = copy.deepcopy((value, patch))
    once = patches.merge_patch(value, patch)
    assert patches.merge_patch(once, patch) == once
    assert (value, patch) == before


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def difference(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The merge patch that makes one of the other."""
    patch: dict[str, Any] = {key: None for key in old if key not in new}
    for key, item in new.items():
        if isinstance(item, dict) and isinstance(old.get(key), dict):
            patch[key] = difference(old[key], item)
        elif key not in old or old[key] != item or type(old[key]) is not type(item):
            patch[key] = item
    return patch


@given(OBJECTS.map(without_nulls), OBJECTS.map(without_nulls))
def test_merge_patch_of_a_difference_gives_the_other_object(old: Any, new: Any) -> None:
    assert patches.merge_patch(old, difference(old, new)) == new
    assert patches.strategic_merge(UNKNOWN, old, difference(old, new)) == new


def test_json_patch_applies_in_order_and_tells_why_it_does_not() -> None:
    value = {"a": [1, 2]}
    operations = [
        {"op": "test", "path": "/a/0", "value": 1},
        {"op": "add", "path": "/a/-", "value": 3},
        {"op": "remove", "path": "/a/0"},
    ]
    assert patches.json_patch(value, operations) == {"a": [2, 3]}
    assert value == {"a": [1, 2]}
    with pytest.raises(patches.PatchDoesNotApply):
        patches.json_patch(value, [{"op": "test", "path": "/a/0", "value": 9}])
    with pytest.raises(patches.PatchDoesNotApply):
        patches.json_patch(value, [{"op": "remove", "path": "/b"}])
    for malformed in (
        {},
        [{"op": "fly", "path": "/a"}],
        [{"op": "add"}],
        ["x"],
        [{"op": "add", "path": "a", "value": 1}],
    ):
        with pytest.raises((patches.PatchMalformed, patches.PatchDoesNotApply)):
            patches.json_patch(value, malformed)


@given(OBJECTS, JSON)
def test_any_json_is_a_json_patch_or_a_named_error(value: Any, patch: Any) -> None:
    with contextlib.suppress(patches.PatchMalformed, patches.PatchDoesNotApply):
        patches.json_patch(value, patch)


def pod(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"spec": {"containers": list(containers), **spec}}


def test_strategic_merge_merges_lists_by_their_keys() -> None:
    live = pod({"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]}, {"name": "b"})
    patch = pod({"name": "a", "image": "2", "env": [{"name": "Y", "value": "2"}]}, {"name": "c"})
    assert patches.strategic_merge(POD, live, patch) == pod(
        {"name": "a", "image": "2", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]},
        {"name": "b"},
        {"name": "c"},
    )


def test_strategic_merge_replaces_lists_without_keys() -> None:
    live, patch = pod({"name": "a", "args": ["1", "2"]}), pod({"name": "a", "args": ["3"]})
    assert patches.strategic_merge(POD, live, patch) == patch


def test_strategic_merge_obeys_its_directives() -> None:
    live = pod({"name": "a"}, {"name": "b"}, nodeSelector={"x": "1", "y": "2"})
    assert patches.strategic_merge(POD, live, pod({"name": "a", "$patch": "delete"}))["spec"]["containers"] == [
        {"name": "b"}
    ]
    replaced = patches.strategic_merge(POD, live, pod({"$patch": "replace"}, {"name": "c"}))
    assert replaced["spec"]["containers"] == [{"name": "c"}]
    selector = patches.strategic_merge(POD, live, {"spec": {"nodeSelector": {"$patch": "replace", "z": "3"}}})
    assert selector["spec"]["nodeSelector"] == {"z": "3"}
    retained = patches.strategic_merge(POD, {"spec": {"x": 1, "y": 2}}, {"spec": {"$retainKeys": ["y", "z"], "z": 3}})
    assert retained["spec"] == {"y": 2, "z": 3}
    finalizers = {"metadata": {"finalizers": ["a/1", "a/2"]}}
    dropped = patches.strategic_merge(POD, finalizers, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a/1"]}})
    assert dropped["metadata"]["finalizers"] == ["a/2"]
    added = patches.strategic_merge(POD, finalizers, {"metadata": {"finalizers": ["a/2", "a/3"]}})
    assert added["metadata"]["finalizers"] == ["a/1", "a/2", "a/3"]


def test_strategic_merge_orders_lists_as_the_patch_says_and_keeps_others_in_place() -> None:
    live = pod({"name": "a"}, {"name": "other"}, {"name": "b"})
    patch = {
        "spec": {
            "$setElementOrder/containers": [{"name": "b"}, {"name": "a"}, {"name": "c"}],
            "containers": [{"name": "c"}],
        }
    }
    names = [one["name"] for one in patches.strategic_merge(POD, live, patch)["spec"]["containers"]]
    assert set(names) == {"a", "b", "c", "other"}
    assert [name for name in names if name != "other"] == ["b", "a", "c"]


def test_strategic_merge_of_ports_goes_by_the_port_number() -> None:
    live = {"spec": {"ports": [{"port": 80, "nodePort": 30000}, {"port": 443}]}}
    merged = patches.strategic_merge(SERVICE, live, {"spec": {"ports": [{"port": 80, "name": "http"}]}})
    assert merged["spec"]["ports"] == [{"port": 80, "nodePort": 30000, "name": "http"}, {"port": 443}]


def test_strategic_merge_refuses_an_entry_without_its_key_and_a_patch_that_is_no_object() -> None:
    with pytest.raises(patches.PatchMalformed, match='merge key "name"'):
        patches.strategic_merge(POD, pod({"name": "a"}), pod({"image": "x"}))
    with pytest.raises(patches.PatchMalformed):
        patches.strategic_merge(POD, pod(), [])
    with pytest.raises(patches.PatchMalformed, match='directive "jump"'):
        patches.strategic_merge(POD, pod(), {"$patch": "jump"})


POD_PARTS = st.recursive(
    LEAVES | st.just({"name": "a"}),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                [
                    "spec",
                    "containers",
                    "name",
                    "$patch",
                    "$retainKeys",
                    "$setElementOrder/containers",
                    "metadata",
                    "$deleteFromPrimitiveList/finalizers",
                    "finalizers",
                ]
            ),
            inner,
            max_size=3,
        )
    ),
)


@example({"$setElementOrder/containers": [[]], "containers": []})
@given(POD_PARTS)
def test_any_json_is_a_strategic_merge_patch_or_malformed(patch: Any) -> None:
    live = {"metadata": {"finalizers": ["a/b"]}, **pod({"name": "a"}, {"name": "b"})}
    before = copy.deepcopy(live)
    with contextlib.suppress(patches.PatchMalformed):
        patches.strategic_merge(POD, live, patch)
    assert live == before
