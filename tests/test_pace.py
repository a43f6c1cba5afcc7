"""The pace of turns in a burst."""

import pytest

from ovnk import pace


def turns(given: list[tuple[float, float, bool]]) -> list[float]:
    """The waits after turns of (begin, end, whether more had come)."""
    found, pacing = [], pace.Pace()
    for began, ended, more in given:
        pacing.turn_begins(began)
        found.append(pacing.turn_ends(ended, more))
    return found


def test_a_lone_change_waits_for_nothing_and_makes_nothing_wait():
    assert turns([(100.0, 100.002, False), (107.0, 107.002, False)]) == [0.0, 0.0]


def test_the_wait_grows_with_the_burst_up_to_a_bound():
    waits = turns([(100 + number * 0.04, 100 + number * 0.04 + 0.01, True) for number in range(100)])
    assert waits == sorted(waits)
    assert waits[0] == pace.LEAST_S
    assert waits[25] == pytest.approx(pace.SHARE * 1.01)
    assert waits[-1] == pace.MOST_S


def test_a_burst_is_over_after_a_quiet_time():
    before, after = turns([(100.0, 101.0, True), (102.0, 102.01, True)])
    assert before > after == pace.LEAST_S
