"""A northbound of three servers: the writer follows the leader, and its own commits are no drift there either."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.northbound.cluster import delta, pod, switch
from tests.northbound.test_session import free_port
from tests.ovsdb import NORTHBOUND

pytestmark = pytest.mark.system

DATABASE = "OVN_Northbound"


class Cluster:
    """Three ovsdb-servers on loopback, by number."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.members: dict[str, subprocess.Popen[bytes]] = {}
        first = f"tcp:127.0.0.1:{free_port()}"
        self._start("0", "create-cluster", NORTHBOUND, first)
        for number in ("1", "2"):
            self._start(number, "join-cluster", DATABASE, f"tcp:127.0.0.1:{free_port()}", first)

    @property
    def remotes(self) -> str:
        return ",".join(f"unix:{self.folder}/{number}.sock" for number in "012")

    def kill(self, number: str) -> None:
        member = self.members.pop(number)
        member.kill()
        member.wait()

    def _start(self, number: str, how: str, *arguments: object) -> None:
        database, socket = self.folder / f"{number}.db", self.folder / f"{number}.sock"
        subprocess.run(["ovsdb-tool", "-vconsole:off", how, database, *map(str, arguments)], check=True)
        options = [f"--remote=punix:{socket}", f"--unixctl={self.folder}/{number}.ctl", "-vconsole:off", "--no-chdir"]
        self.members[number] = subprocess.Popen(["ovsdb-server", *options, str(database)])
        wait = ["ovsdb-client", "--timeout=20", "-vconsole:off", "wait", f"unix:{socket}", DATABASE, "connected"]
        subprocess.run(wait, check=True)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    running = Cluster(tmp_path)
    yield running
    for number in list(running.members):
        running.kill(number)


def test_the_writer_follows_the_leader_and_knows_its_own_commits(cluster, open_writer):
    writer = open_writer(cluster.remotes, lock="ovnk")
    northbound = writer.ready()
    facts = [switch(), *(fact for number in range(1000) for fact in pod(f"web-{number}"))]
    assert northbound._session.link.idl.clustered
    northbound.reconcile([])
    northbound.apply(delta([], facts))
    northbound.apply(delta(facts, facts[:1]))
    assert not northbound.drift()
    leader = Path(northbound._session.link.idl.session_name()).stem
    cluster.kill(leader)
    writer.until(lambda northbound: not northbound.connected)
    writer.ready()
    assert Path(northbound._session.link.idl.session_name()).stem != leader
    assert northbound.reconcile(facts[:1]).transactions == 0
    northbound.apply(delta(facts[:1], facts))
    assert northbound.reconcile(facts).transactions == 0
