"""The pace of turns: while changes come in a burst, how long to wait for more of them before the next turn.

Each turn costs a transaction, wakes northd and hands on NodeNetworks, whatever the number of changes in it. A lone
change waits for nothing; in a burst the wait grows with what it has lasted already, so that it is made longer by a
small part at most, however long it is. Nothing waits here: it says how long.
"""

# A burst is over when there was nothing to do for so long.
QUIET_S = 0.05
# The wait's part of what the burst has lasted, and its bounds.
SHARE = 1 / 60
LEAST_S, MOST_S = 0.005, 0.05


class Pace:
    """Told when a turn begins and ends, in seconds of any clock that goes steadily."""

    def __init__(self) -> None:
        self._burst_began = self._turn_ended = float("-inf")

    def turn_begins(self, now_s: float) -> None:
        """Something is to be done."""
        if now_s - self._turn_ended > QUIET_S:
            self._burst_began = now_s

    def turn_ends(self, now_s: float, more: bool) -> float:
        """How long to wait before the next turn; 0 unless there is `more` to be done already."""
        self._turn_ended = now_s
        return min(max(LEAST_S, SHARE * (now_s - self._burst_began)), MOST_S) if more else 0.0
