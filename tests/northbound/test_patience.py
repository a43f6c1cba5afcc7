"""Tries to connect come soon after the end of an outage, and are few however long it lasts."""

from hypothesis import given
from hypothesis import strategies as st

from ovnk.northbound import patience


@given(st.floats(0, 1e6))
def test_a_pause_is_a_small_part_of_the_outage_and_never_none(outage_s):
    pause_s = patience.pause_s(outage_s)
    assert 0 < pause_s <= max(1.25 * patience.FIRST_S, outage_s / 40)
    assert pause_s >= min(0.7 * patience.MOST_S, outage_s / 70)


def test_the_tries_of_the_first_minute_are_few():
    tries, outage_s = 0, 0.0
    while outage_s < 60:
        outage_s += patience.pause_s(outage_s)
        tries += 1
    assert tries < 600
