"""A northbound server and writers to it; everything is stopped at the end of a test."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ovnk.northbound.remotes import Tls
from ovnk.northbound.writer import Northbound
from tests.ovsdb import OvsdbServer, ovsdb_server


class Writer:
    """A Northbound whose events can be waited for."""

    def __init__(self, remotes: str, tls: Tls | None = None, lock: str | None = None) -> None:
        self.northbound = Northbound(remotes, tls=tls, lock=lock)
        self._changed = threading.Event()
        self.northbound.start(self._changed.set)

    def until(self, holds: Callable[[Northbound], object], timeout_s: float = 30) -> Northbound:
        """The Northbound, once `holds` does; looked at after every event."""
        deadline = time.monotonic() + timeout_s
        while True:
            self._changed.clear()
            if holds(self.northbound):
                return self.northbound
            assert self._changed.wait(deadline - time.monotonic()), (
                f"never came to be; {self.northbound.trouble or 'connected'}"
            )

    def ready(self) -> Northbound:
        """The Northbound, once it may write."""
        return self.until(lambda northbound: northbound.has_lock)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OvsdbServer]:
    with ovsdb_server(tmp_path / "nb") as running:
        yield running


@pytest.fixture
def open_writer() -> Iterator[Callable[..., Writer]]:
    """Opens writers: open_writer(remotes, tls=…, lock=…)."""
    writers: list[Writer] = []

    def opened(*arguments: object, **options: object) -> Writer:
        writers.append(Writer(*arguments, **options))  # type: ignore[arg-type]
        return writers[-1]

    yield opened
    for writer in writers:
        writer.northbound.stop()


@pytest.fixture
def northbound(server: OvsdbServer, open_writer: Callable[..., Writer]) -> Northbound:
    """A Northbound that is connected to `server` and holds the lock."""
    return open_writer(server.remote, lock="ovnk").ready()
