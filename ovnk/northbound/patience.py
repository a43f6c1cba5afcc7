"""Patience: how long to wait before the northbound is tried again.

A northbound that lost its file comes back empty, and ovn-northd then deletes all logical flows unless the rows are
there again before it looks. It looks 1, 3, 7, 15, … s after the loss (ovs' reconnect.c, min back-off 1 s, max 8 s). So
our tries are a small part of the outage apart: few in number however long it lasts, and soon after its end.
"""

import random

FIRST_S = 0.01
MOST_S = 0.25
SHARE = 0.02


def pause_s(outage_s: float) -> float:
    """The seconds to the next try: a fiftieth of the outage so far, within bounds and with jitter; never zero."""
    return min(MOST_S, max(FIRST_S, outage_s * SHARE)) * random.uniform(0.75, 1.25)
