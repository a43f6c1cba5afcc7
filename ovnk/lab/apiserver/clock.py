"""The time as the API writes it."""

import datetime


def timestamp(later_s: int = 0) -> str:
    """Now, or so many seconds later, as metav1.Time writes it."""
    moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=later_s)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
