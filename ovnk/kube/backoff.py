"""How long to wait before the next try: twice as long each time, with jitter, up to a bound.

Jitter, because a thousand agents lose their API server in the same moment and must not come back in one.
"""

import random


class Backoff:
    """Delays for one series of tries; `reset` after a success begins anew."""

    def __init__(self, first_s: float, most_s: float) -> None:
        self._first_s, self._most_s = first_s, most_s
        self._failures = 0

    @property
    def failures(self) -> int:
        """How many delays were asked for since the last reset."""
        return self._failures

    def next_s(self) -> float:
        """The next delay in seconds, never zero: between half of first_s · 2^failures and all of it, at most most_s."""
        # The exponent is bounded so that a week of failures does not become a number too big for a float.
        delay_s = min(self._most_s, self._first_s * 2.0 ** min(self._failures, 30))
        self._failures += 1
        return delay_s * random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """It worked: the next delay is a short one."""
        self._failures = 0
