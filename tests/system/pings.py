"""Pings between two pods that go on while something happens, and how many of them were never answered."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from tests.labs import Lab

A_SECOND = 50
# A lone ping goes unanswered in one run of some, whatever happens meanwhile and though nothing else runs: two
# processors carry three nodes' userspace datapaths. An interruption of 40 ms loses two.
LONE = 1

_ANSWER = re.compile(r"bytes from .* icmp_seq=(\d+)")


class Pings:
    """What has been answered so far; may be asked at any time, and after the end."""

    def __init__(self) -> None:
        self._answered: set[int] = set()
        self._came = threading.Condition()

    @property
    def lost(self) -> int:
        """How many were not answered, of those sent before the last one that was."""
        with self._came:
            return max(self._answered, default=0) - len(self._answered)

    def more(self, count: int = 1, timeout: float = 60) -> None:
        """Wait until so many more were answered."""
        with self._came:
            enough = len(self._answered) + count
            assert self._came.wait_for(lambda: len(self._answered) >= enough, timeout), (
                f"{count} more pings were not answered within {timeout:.0f} s"
            )

    def read(self, lines: IO[str]) -> None:
        """Takes in what ping(8) says."""
        for line in lines:
            if found := _ANSWER.search(line):
                with self._came:
                    self._answered.add(int(found[1]))
                    self._came.notify_all()


@contextmanager
def pinging(lab: Lab, source: str, address: str) -> Iterator[Pings]:
    """`source` ("namespace/pod", "node/NAME") pings the address A_SECOND times a second; answers come already."""
    process = lab.popen(source, "ping", "-n", f"-i{1 / A_SECOND}", address)
    pings = Pings()
    assert process.stdout is not None
    reader = threading.Thread(target=pings.read, args=(process.stdout,))
    reader.start()
    try:
        pings.more(2)
        yield pings
        # The last one that is counted was sent after all that happened meanwhile.
        pings.more(2)
    finally:
        process.kill()
        process.wait()
        reader.join()
        process.stdout.close()
