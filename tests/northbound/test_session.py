"""The connection: locks, servers that die, move, stall, refuse, or are too old."""

import json
import shutil
import socket
import subprocess

import pytest

from ovnk.errors import CommitError, ConfigError
from ovnk.northbound import changes, commits, session
from ovnk.northbound.facts import Ref
from ovnk.northbound.remotes import Tls
from ovnk.northbound.schema import Wire
from ovnk.northbound.writer import Northbound
from tests.northbound.certificates import Authority
from tests.northbound.cluster import delta, expected, pod, switch
from tests.ovsdb import NORTHBOUND, OvsdbServer, dump, older_schema, ovsdb_server

pytestmark = pytest.mark.system

FACTS = [switch(), *pod()]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# locks


def test_a_standby_does_not_write_and_takes_over_when_the_lock_is_given_away(server, open_writer):
    first = open_writer(server.remote, lock="ovnk")
    first.ready().reconcile(FACTS)
    second = open_writer(server.remote, lock="ovnk")
    standby = second.until(lambda northbound: northbound.connected)
    assert not standby.has_lock
    with pytest.raises(CommitError, match='lock "ovnk" is held by another process'):
        standby.reconcile([])
    first.northbound.stop()
    assert second.ready().reconcile(FACTS).transactions == 0


def test_a_writer_whose_lock_was_stolen_cannot_write(server, open_writer):
    writer = open_writer(server.remote, lock="ovnk")
    writer.ready().reconcile(FACTS)
    thief = socket.socket(socket.AF_UNIX)
    with thief:
        thief.connect(str(server.socket))
        thief.sendall(json.dumps({"method": "steal", "params": ["ovnk"], "id": 1}).encode())
        northbound = writer.until(lambda northbound: not northbound.has_lock)
        with pytest.raises(CommitError, match="held by another process"):
            northbound.apply(delta(FACTS, []))
    writer.ready()
    assert dump(server) == expected(FACTS)


def test_a_lock_that_is_stolen_is_ours_at_once_and_the_other_cannot_write(server, open_writer):
    first = open_writer(server.remote, lock="ovnk")
    first.ready().reconcile(FACTS)
    second = open_writer(server.remote, lock="ovnk")
    second.until(lambda northbound: northbound.contended).steal_lock()
    assert second.ready().reconcile(FACTS).transactions == 0
    with pytest.raises(CommitError, match="held by another process"):
        first.until(lambda northbound: northbound.contended).apply(delta(FACTS, []))
    second.northbound.stop()
    assert first.ready().reconcile(FACTS).transactions == 0


@pytest.mark.parametrize("name", ["ovn-k", "", "1ovnk", "ovnk "])
def test_a_lock_name_that_would_silently_never_lock_is_refused(name):
    with pytest.raises(ValueError, match="is not a name that OVSDB takes"):
        Northbound("unix:/nowhere", lock=name)


# servers that come and go


def test_a_server_that_is_killed_and_restarted_is_found_again(server, open_writer):
    writer = open_writer(server.remote, lock="ovnk")
    writer.ready().reconcile(FACTS)
    server.kill()
    lost = writer.until(lambda northbound: not northbound.connected)
    assert "was lost; connecting again" in lost.trouble
    with pytest.raises(CommitError, match="was lost"):
        lost.apply(delta(FACTS, []))
    server.start()
    found = writer.ready()
    assert not found.synced
    with pytest.raises(CommitError, match="reconcile"):
        found.apply(delta(FACTS, []))
    assert found.reconcile(FACTS).transactions == 0
    more = [*FACTS, *pod("web-1")]
    found.apply(delta(FACTS, more))
    assert dump(server) == expected(more)


def test_a_server_killed_in_the_middle_of_a_commit_leaves_nothing_half_known(server, open_writer, monkeypatch):
    writer = open_writer(server.remote, lock="ovnk")
    northbound = writer.ready()
    northbound.reconcile([switch()])
    encode, encoded = commits.operations, []

    def killing(chunk):
        encoded.append(chunk)
        if len(encoded) == 10:
            server.kill()
        return encode(chunk)

    monkeypatch.setattr(commits, "operations", killing)
    facts = [switch(), *(fact for number in range(4000) for fact in pod(f"web-{number}"))]
    with pytest.raises(CommitError, match="outcome unknown: reconcile"):
        northbound.apply(delta([switch()], facts))
    server.start()
    commit = writer.ready().reconcile(facts)
    assert 0 < commit.rows < 4000
    assert dump(server) == expected(facts)


def test_a_server_that_moved_is_found_at_the_other_remote(tmp_path, open_writer):
    one, other = OvsdbServer(tmp_path / "one"), OvsdbServer(tmp_path / "other")
    writer = open_writer(f"{one.remote},{other.remote}", lock="ovnk")
    try:
        one.start()
        writer.ready().reconcile(FACTS)
        one.kill()
        shutil.copy(one.database, other.database)
        other.start()
        assert writer.ready().reconcile(FACTS).transactions == 0
        writer.northbound.apply(delta(FACTS, []))
        assert dump(other) == {}
    finally:
        one.kill()
        other.kill()


def test_a_server_that_stalls_is_given_up(server, open_writer, monkeypatch):
    monkeypatch.setattr(session, "REPLY_S_MAX", 0.5)
    northbound = open_writer(server.remote).ready()
    northbound.reconcile(FACTS)
    server.freeze()
    with pytest.raises(CommitError, match=r"did not answer \(no reply in time\); outcome unknown"):
        northbound.apply(delta(FACTS, []))


def test_a_server_that_is_not_there_yet_is_waited_for(tmp_path, open_writer):
    server = OvsdbServer(tmp_path)
    writer = open_writer(server.remote)
    northbound = writer.until(lambda northbound: "cannot be reached" in northbound.trouble)
    assert f'"{server.remote}": No such file or directory' in northbound.trouble
    with pytest.raises(CommitError, match="cannot be reached"):
        northbound.reconcile(FACTS)
    try:
        server.start()
        writer.ready().reconcile(FACTS)
        assert dump(server) == expected(FACTS)
    finally:
        server.kill()


def test_a_writer_that_never_connected_can_be_stopped(tmp_path, open_writer):
    writer = open_writer(f"unix:{tmp_path}/nowhere")
    writer.northbound.stop()
    assert not writer.northbound.connected


def test_what_does_not_speak_ovsdb_is_told(open_writer):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        writer = open_writer(f"tcp:127.0.0.1:{listener.getsockname()[1]}")
        accepted, _ = listener.accept()
        accepted.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        assert writer.until(lambda northbound: "does not speak OVSDB" in northbound.trouble)
        accepted.close()


def test_a_read_only_server_gives_no_lock_and_is_told_as_such(tmp_path, open_writer):
    server = OvsdbServer(tmp_path)
    try:
        server.start(f"--sync-from=unix:{tmp_path}/nowhere")
        writer = open_writer(server.remote, lock="ovnk")
        northbound = writer.until(lambda northbound: "takes no writes" in northbound.trouble)
        assert "DB server is read only; is its server a backup?" in northbound.trouble
        with pytest.raises(CommitError, match="takes no writes"):
            northbound.reconcile(FACTS)
        server.kill()
        writer.until(lambda northbound: "takes no writes" not in northbound.trouble)
        server.start()
        writer.ready().reconcile(FACTS)
    finally:
        server.kill()


def test_a_read_only_server_is_told_as_such(tmp_path, open_writer):
    server = OvsdbServer(tmp_path)
    try:
        server.start(f"--sync-from=unix:{tmp_path}/nowhere")
        northbound = open_writer(server.remote).until(lambda northbound: northbound.connected)
        with pytest.raises(CommitError, match=r"takes no writes: not allowed.*read-only"):
            northbound.reconcile(FACTS)
        assert northbound.quarantined == {}
    finally:
        server.kill()


# schemas


def test_an_older_schema_is_refused_and_an_upgraded_server_taken(tmp_path, open_writer):
    server = OvsdbServer(tmp_path, older_schema(tmp_path, ("Logical_Router_Static_Route", "route_table")))
    try:
        server.start()
        writer = open_writer(server.remote)
        refused = writer.until(lambda northbound: "cannot be used" in northbound.trouble)
        assert 'column "Logical_Router_Static_Route.route_table" is missing' in refused.trouble
        with pytest.raises(CommitError, match=r"upgrade its server to OVN 21\.12 or newer"):
            refused.reconcile(FACTS)
        subprocess.run(["ovsdb-client", "convert", server.remote, NORTHBOUND], check=True)
        server.schema_file = NORTHBOUND
        writer.ready().reconcile(FACTS)
        assert dump(server) == expected(FACTS)
    finally:
        server.kill()


def test_a_schema_that_changes_under_us_is_checked_again(server, open_writer, tmp_path):
    writer = open_writer(server.remote)
    writer.ready().reconcile(FACTS)
    lesser = older_schema(tmp_path, ("Logical_Router_Static_Route", "route_table"))
    subprocess.run(["ovsdb-client", "convert", server.remote, lesser], check=True)
    assert writer.until(lambda northbound: "cannot be used" in northbound.trouble)
    subprocess.run(["ovsdb-client", "convert", server.remote, NORTHBOUND], check=True)
    assert writer.ready().reconcile(FACTS).transactions == 0


def test_an_optional_column_that_is_not_there_is_left_out(tmp_path, open_writer):
    with ovsdb_server(tmp_path, older_schema(tmp_path, ("ACL", "options"))) as server:
        northbound = open_writer(server.remote).ready()
        assert any("ACL.options" in line for line in northbound.absent)
        northbound.reconcile(FACTS)
        assert dump(server) == expected(FACTS)


# tcp and ssl


def test_tcp(tmp_path, open_writer):
    server, port = OvsdbServer(tmp_path), free_port()
    try:
        server.start(f"--remote=ptcp:{port}:127.0.0.1")
        open_writer(f"tcp:127.0.0.1:{port}").ready().reconcile(FACTS)
        assert dump(server) == expected(FACTS)
    finally:
        server.kill()


def with_tls(server: OvsdbServer, tls: Tls, port: int) -> str:
    server.start(
        f"--remote=pssl:{port}:127.0.0.1",
        f"--private-key={tls.private_key}",
        f"--certificate={tls.certificate}",
        f"--ca-cert={tls.ca}",
    )
    return f"ssl:127.0.0.1:{port}"


def test_ssl_with_more_than_a_record_holds(tmp_path, open_writer):
    authority, server = Authority.made(tmp_path / "ca"), OvsdbServer(tmp_path)
    try:
        remote = with_tls(server, authority.party("server"), free_port())
        facts = [switch(), *(fact for number in range(2000) for fact in pod(f"web-{number}"))]
        writer = open_writer(remote, tls=authority.party("client"), lock="ovnk")
        writer.ready().reconcile(facts)
        assert writer.northbound.reconcile(facts).transactions == 0
        assert dump(server) == expected(facts)
    finally:
        server.kill()


def test_a_server_of_another_authority_is_not_talked_to(tmp_path, open_writer):
    server = OvsdbServer(tmp_path)
    try:
        remote = with_tls(server, Authority.made(tmp_path / "theirs").party("server"), free_port())
        writer = open_writer(remote, tls=Authority.made(tmp_path / "ours").party("client"))
        assert writer.until(lambda northbound: "is its certificate signed by the given CA?" in northbound.trouble)
    finally:
        server.kill()


@pytest.mark.parametrize("remotes", ["", "unix:", "tcp", "http:127.0.0.1:80", "unix:/a,bogus:/b"])
def test_a_remote_that_cannot_be_is_a_configuration_error(remotes):
    with pytest.raises(ConfigError, match="unix:PATH, tcp:IP:PORT or ssl:IP:PORT"):
        Northbound(remotes)


def test_ssl_without_keys_is_a_configuration_error():
    with pytest.raises(ConfigError, match="needs a private key, a certificate and a CA certificate"):
        Northbound("ssl:127.0.0.1:6641")


def test_keys_that_cannot_be_read_are_a_configuration_error(tmp_path):
    with pytest.raises(ConfigError, match="cannot be used together"):
        Northbound("ssl:127.0.0.1:6641", tls=Tls(tmp_path / "key", tmp_path / "certificate", tmp_path / "ca"))


def test_references_need_no_look_up(server, open_writer):
    """The UUID follows from the key, so another process computes the same."""
    open_writer(server.remote).ready().reconcile(FACTS)
    assert ("Logical_Switch", str(Ref("Logical_Switch", "node-1").uuid)) in dump(server)


class Ended:
    """A connection that was ended before anything could be sent: which moment that is cannot be arranged for."""

    def commit(self, _commands):
        return []


def test_what_waited_when_the_connection_ended_is_told_as_unknown():
    (unit,) = changes.units(changes.of_delta(delta([], [switch()]), Wire()).changes)
    with pytest.raises(CommitError, match="the connection was closed"):
        commits.send(Ended(), [[unit]], set())
