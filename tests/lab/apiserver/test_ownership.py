"""Field sets and server-side apply: who owns what, what conflicts, what goes when its owner lets go."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovnk.lab.apiserver import fields, kinds, ownership, schemas
from ovnk.lab.apiserver.ownership import Manager
from ovnk.lab.apiserver.status import StatusError

DEPLOYMENT = schemas.of(kinds.built_in("deployments", "apps"))
POD = schemas.of(kinds.built_in("pods"))
ALICE, BOB = Manager("alice", "Apply", "apps/v1"), Manager("bob", "Apply", "apps/v1")
EDITOR = Manager("editor", "Update", "apps/v1")

KEYS = st.sampled_from(["f:a", "f:b", "f:c", 'k:{"name":"x"}'])
NODES = st.recursive(
    st.just({}),
    lambda inner: (
        st.dictionaries(KEYS, inner, min_size=1, max_size=3)
        | st.dictionaries(KEYS, inner, min_size=1, max_size=3).map(lambda node: {".": {}, **node})
    ),
    max_leaves=8,
)
SETS = st.dictionaries(KEYS, NODES, max_size=3)


def members(tree: fields.Fields, prefix: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """The paths in a set, spelt out: the oracle of the algebra."""
    found = set()
    for key, node in tree.items():
        if key != ".":
            if not node or "." in node:
                found.add((*prefix, key))
            found |= members(node, (*prefix, key))
    return found


@given(SETS, SETS)
def test_the_algebra_of_field_sets_is_that_of_sets_of_paths(one: fields.Fields, other: fields.Fields) -> None:
    assert members(fields.union(one, other)) == members(one) | members(other)
    assert members(fields.difference(one, other)) == members(one) - members(other)
    assert members(fields.intersection(one, other)) == members(one) & members(other)
    assert fields.difference(one, one) == {}
    assert len(fields.paths(one)) == len(members(one))


VALUES = st.recursive(
    st.integers(0, 2) | st.text("ab", max_size=1),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3)


@given(OBJECTS, OBJECTS)
def test_what_changed_between_two_values_is_what_differs(old: dict[str, Any], new: dict[str, Any]) -> None:
    present, absent = fields.changed(schemas.UNKNOWN, old, new)
    assert (present == {} and absent == {}) == (old == new)
    assert members(present) <= members(fields.of(schemas.UNKNOWN, new))
    assert members(absent) <= members(fields.of(schemas.UNKNOWN, old))


@given(OBJECTS, OBJECTS)
def test_merging_the_same_again_changes_nothing(live: dict[str, Any], applied: dict[str, Any]) -> None:
    merged = fields.merge(schemas.UNKNOWN, live, applied)
    assert fields.merge(schemas.UNKNOWN, merged, applied) == merged


def deployment(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}


def containers(*items: dict[str, Any]) -> dict[str, Any]:
    return {"template": {"spec": {"containers": list(items)}}}


def applied(live: dict[str, Any], manager: Manager, wanted: dict[str, Any], *, force: bool = False) -> dict[str, Any]:
    """The live object after an apply, managedFields included."""
    managers = ownership.read(live)
    value, managers = ownership.apply(DEPLOYMENT, managers, live, wanted, manager, "now", force=force)
    return {**value, "metadata": {**value["metadata"], "managedFields": ownership.written(managers)}}


def owned(value: dict[str, Any], manager: Manager) -> set[str]:
    managers = ownership.read(value)
    return set(fields.paths(managers[manager].fields)) if manager in managers else set()


def test_an_applier_owns_what_its_manifest_says_and_entries_by_key() -> None:
    live = applied(
        {"metadata": {"name": "d"}}, ALICE, deployment(replicas=2, **containers({"name": "web", "image": "1"}))
    )
    assert owned(live, ALICE) == {
        ".spec.replicas",
        '.spec.template.spec.containers[name="web"]',
        '.spec.template.spec.containers[name="web"].image',
        '.spec.template.spec.containers[name="web"].name',
    }


def test_another_value_for_a_field_of_another_manager_is_a_conflict_unless_forced() -> None:
    live = applied({"metadata": {"name": "d"}}, ALICE, deployment(replicas=2))
    with pytest.raises(StatusError) as refused:
        applied(live, BOB, deployment(replicas=3))
    assert refused.value.code == 409
    assert refused.value.message == 'Apply failed with 1 conflict: conflict with "alice": .spec.replicas'
    forced = applied(live, BOB, deployment(replicas=3), force=True)
    assert forced["spec"]["replicas"] == 3
    assert owned(forced, ALICE) == set()
    assert owned(forced, BOB) == {".spec.replicas"}


def test_the_same_value_is_no_conflict_and_both_own_it() -> None:
    live = applied({"metadata": {"name": "d"}}, ALICE, deployment(replicas=2))
    shared = applied(live, BOB, deployment(replicas=2))
    assert owned(shared, ALICE) == owned(shared, BOB) == {".spec.replicas"}
    left = applied(shared, ALICE, deployment(paused=True))
    assert left["spec"] == {"replicas": 2, "paused": True}
    gone = applied(left, BOB, deployment())
    assert gone["spec"] == {"paused": True}


def test_what_an_applier_no_longer_says_and_nobody_else_owns_is_removed() -> None:
    both = containers({"name": "web", "image": "1"}, {"name": "side", "image": "2"})
    live = applied({"metadata": {"name": "d"}}, ALICE, deployment(replicas=2, **both))
    live = applied(live, BOB, deployment(**containers({"name": "side", "workingDir": "/x"})))
    live = applied(live, ALICE, deployment(**containers({"name": "web", "image": "1"})))
    assert live["spec"]["template"]["spec"]["containers"] == [
        {"name": "web", "image": "1"},
        {"name": "side", "workingDir": "/x"},
    ]
    assert "replicas" not in live["spec"]


def test_a_write_takes_what_it_changes_and_leaves_the_rest_to_its_owners() -> None:
    live = applied({"metadata": {"name": "d"}}, ALICE, deployment(replicas=2, paused=True))
    new = {**live, "spec": {"replicas": 5, "paused": True}}
    managers = ownership.updated(DEPLOYMENT, ownership.read(live), live, new, EDITOR, "later")
    assert fields.paths(managers[EDITOR].fields) == [".spec.replicas"]
    assert fields.paths(managers[ALICE].fields) == [".spec.paused"]


def test_a_write_that_removes_a_field_leaves_nobody_owning_it() -> None:
    live = applied({"metadata": {"name": "d"}}, ALICE, deployment(replicas=2, paused=True))
    new = {**live, "spec": {"paused": True}}
    managers = ownership.updated(DEPLOYMENT, ownership.read(live), live, new, EDITOR, "later")
    assert EDITOR not in managers
    assert fields.paths(managers[ALICE].fields) == [".spec.paused"]


def test_an_atomic_list_or_map_is_one_field() -> None:
    value = {
        "spec": {
            "tolerations": [{"key": "a"}],
            "nodeSelector": {"a": "b"},
            "containers": [{"name": "c", "args": ["x"]}],
        }
    }
    assert fields.paths(fields.of(POD, value)) == [
        '.spec.containers[name="c"]',
        '.spec.containers[name="c"].args',
        '.spec.containers[name="c"].name',
        ".spec.nodeSelector",
        ".spec.tolerations",
    ]


def test_a_port_without_protocol_is_the_tcp_port() -> None:
    ports = {"spec": {"containers": [{"name": "c", "ports": [{"containerPort": 80}]}]}}
    (container,) = fields.of(POD, ports)["f:spec"]["f:containers"].values()
    assert 'k:{"containerPort":80,"protocol":"TCP"}' in container["f:ports"]


APPLIES = st.lists(
    st.tuples(
        st.sampled_from([ALICE, BOB]),
        st.fixed_dictionaries(
            {},
            optional={
                "replicas": st.integers(1, 3),
                "paused": st.booleans(),
                "template": st.lists(st.sampled_from(["web", "side"]), unique=True).map(
                    lambda names: {"spec": {"containers": [{"name": name, "image": "1"} for name in names]}}
                ),
            },
        ),
    ),
    max_size=6,
)


@given(APPLIES)
def test_every_field_of_an_applied_object_has_an_owner_and_no_owner_a_field_that_is_not_there(
    applies: list[tuple[Manager, dict[str, Any]]],
) -> None:
    live: dict[str, Any] = {"metadata": {"name": "d"}, "spec": {}}
    last: dict[Manager, dict[str, Any]] = {}
    for manager, spec in applies:
        live = applied(live, manager, deployment(**spec), force=True)
        last[manager] = spec
    leaves = set(fields.paths(fields.of(DEPLOYMENT, {"spec": live.get("spec", {})})))
    claimed = owned(live, ALICE) | owned(live, BOB)
    for path in leaves - {".spec"}:
        assert path in claimed or any(other.startswith(path) for other in claimed), path
    if applies:
        manager, spec = applies[-1]
        assert fields.merge(DEPLOYMENT, live, deployment(**spec)) == {
            **live,
            "apiVersion": "apps/v1",
            "kind": "Deployment",
        }
