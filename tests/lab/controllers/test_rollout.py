import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovnk.lab.controllers import rollout
from ovnk.lab.controllers.rollout import Size


def test_percentages_of_surge_round_up_and_of_unavailability_down() -> None:
    assert rollout.bounds({}, 10) == (3, 2)
    assert rollout.bounds({"maxSurge": "1%", "maxUnavailable": 0}, 3) == (1, 0)
    assert rollout.bounds({"maxSurge": 0, "maxUnavailable": "1%"}, 3) == (0, 1), "never both nothing"


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        pytest.param(Size(0, 0), [Size(4, 4)], (1, [3]), id="starts by one more and one fewer"),
        pytest.param(Size(1, 0), [Size(3, 3)], (2, [3]), id="grows where there is room, keeps what must be available"),
        pytest.param(Size(2, 2), [Size(3, 3)], (2, [1]), id="takes away what the new ones have made up for"),
        pytest.param(Size(4, 4), [Size(0, 0)], (4, [0]), id="done"),
        pytest.param(
            Size(1, 0), [Size(4, 2)], (1, [3]), id="of what is not available only as many as the bounds allow"
        ),
    ],
)
def test_a_rolling_update_of_four(new: Size, old: list[Size], expected: tuple[int, list[int]]) -> None:
    spec = {"replicas": 4, "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}}
    assert rollout.step(spec, new, old, 0) == expected


def test_recreate_waits_for_the_last_old_pod() -> None:
    spec = {"replicas": 3, "strategy": {"type": "Recreate"}}
    assert rollout.step(spec, Size(0, 0), [Size(3, 3)], occupied=3) == (0, [0])
    assert rollout.step(spec, Size(0, 0), [Size(0, 0)], occupied=1) == (0, [0])
    assert rollout.step(spec, Size(0, 0), [Size(0, 0)], occupied=0) == (3, [0])


@given(replicas=st.integers(0, 12), surge=st.integers(0, 4), unavailable=st.integers(0, 4), start=st.integers(0, 12))
def test_a_rollout_keeps_its_bounds_and_ends(replicas: int, surge: int, unavailable: int, start: int) -> None:
    """Whatever is asked, with Pods that become available a step later: within the bounds from the second step on."""
    spec = {
        "replicas": replicas,
        "strategy": {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}},
    }
    surge, unavailable = rollout.bounds(spec["strategy"]["rollingUpdate"], replicas)
    new, old = Size(0, 0), [Size(start, start)]
    for _ in range(60):
        grown, left = rollout.step(spec, new, old, 0)
        assert grown <= replicas
        assert grown + sum(size.replicas for size in old) <= max(replicas + surge, start)
        kept = new.available + sum(min(size.available, n) for size, n in zip(old, left, strict=True))
        assert kept >= min(replicas - unavailable, new.available + sum(size.available for size in old))
        new = Size(grown, min(new.replicas, grown))
        old = [Size(n, min(n, size.available)) for size, n in zip(old, left, strict=True)]
    assert (new, old) == (Size(replicas, replicas), [Size(0, 0)])
