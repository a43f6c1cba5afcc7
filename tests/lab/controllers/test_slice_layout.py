from hypothesis import given
from hypothesis import strategies as st

from ovnk.lab.controllers.endpointslices import layout
from ovnk.lab.controllers.resources import Object


def endpoint(uid: int, ready: bool = True) -> Object:
    return {"targetRef": {"uid": str(uid)}, "conditions": {"ready": ready}}


def held(*uids: int) -> Object:
    return {"endpoints": [endpoint(uid) for uid in uids]}


def test_a_change_of_one_endpoint_rewrites_one_slice_only() -> None:
    first, second = held(1, 2), held(3, 4)
    plan = layout([endpoint(1), endpoint(2), endpoint(3, ready=False), endpoint(4)], [first, second], limit=2)
    assert [found for value, found in plan.update if found != value["endpoints"]] == [[endpoint(3, False), endpoint(4)]]
    assert (plan.create, plan.delete) == ([], [])


def test_the_fullest_slice_takes_what_is_new_and_an_empty_one_goes() -> None:
    plan = layout([endpoint(3), endpoint(5)], [held(1, 2), held(3, 4)], limit=2)
    assert [found for _, found in plan.update] == [[endpoint(3), endpoint(5)]]
    assert plan.delete == [held(1, 2)]


def test_no_endpoints_is_one_empty_slice() -> None:
    assert layout([], []).create == [[]]
    plan = layout([], [held(1), held(2)])
    assert [found for _, found in plan.update] == [[]]
    assert len(plan.delete) == 1


@given(st.lists(st.sets(st.integers(0, 30), max_size=4), max_size=6), st.sets(st.integers(0, 30)))
def test_every_endpoint_is_in_exactly_one_slice_of_the_size_allowed(before: list[set[int]], wanted: set[int]) -> None:
    plan = layout([endpoint(uid) for uid in wanted], [held(*uids) for uids in before], limit=4)
    slices = [found for _, found in plan.update] + plan.create
    assert sorted(entry["targetRef"]["uid"] for found in slices for entry in found) == sorted(map(str, wanted))
    assert all(len(found) <= 4 for found in slices)
    assert slices
    assert all(slices) or len(slices) == 1, "only the one slice of none is empty"
    assert len(plan.update) + len(plan.delete) == len(before)
