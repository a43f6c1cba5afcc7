"""The plug-in process as the runtime executes it, against a socket of the test's own."""

import json
import os
import socket
import subprocess
import threading

import pytest

from cni import framing, install, plugin, protocol

# 50 foreign variables come with a call, PYTHON* among them (facts of containerd 1.6).
HOSTILE = {"PYTHONHOME": "/nonexistent", "PYTHONPATH": "/nonexistent", "PYTHONSTARTUP": "/x", "PYTHONWARNINGS": "error"}


def run(executable, stdin=b'{"cniVersion":"1.0.0"}', **environment):
    return subprocess.run(
        [executable], input=stdin, env=HOSTILE | environment, capture_output=True, timeout=60, check=False
    )


@pytest.fixture
def agent(tmp_path):
    """(socket path, what to reply with, requests seen): an agent that answers each request the same."""
    path = tmp_path / "cni.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(50)
    reply, seen = [b""], []

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                header = connection.recv(8, socket.MSG_WAITALL)
                sizes = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:], "big")
                parts = [connection.recv(size, socket.MSG_WAITALL) if size else b"" for size in sizes]
                seen.append((framing.decode_environment(parts[0]), parts[1]))
                connection.sendall(reply[0])

    thread = threading.Thread(target=serve)
    thread.start()
    yield path, reply, seen
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def installed(tmp_path, socket_path, patience_s=0):
    path = install.install_plugin(tmp_path / "bin", socket_path)
    before = path.read_text()
    assert "\nPATIENCE_S = 20\n" in before
    path.write_text(before.replace("\nPATIENCE_S = 20\n", f"\nPATIENCE_S = {patience_s}\n"))
    return path


def test_version_is_answered_without_an_agent(tmp_path):
    executable = installed(tmp_path, tmp_path / "nobody.sock")
    for version in protocol.VERSIONS:
        done = run(executable, json.dumps({"cniVersion": version}).encode(), CNI_COMMAND="VERSION")
        assert (done.returncode, done.stderr) == (0, b"")
        assert json.loads(done.stdout) == json.loads(protocol.encode_versions(version))


@pytest.mark.parametrize("stdin", [b"", b"{}", b'{"cniVersion', b'{"cniVersion":"9.9.9"}', b"\xff"])
def test_version_without_a_usable_configuration_gives_our_newest(tmp_path, stdin):
    done = run(installed(tmp_path, tmp_path / "nobody.sock"), stdin, CNI_COMMAND="VERSION")
    assert json.loads(done.stdout)["cniVersion"] == "1.1.0"


@pytest.mark.parametrize("command", ["ADD", "DEL", "CHECK", "STATUS", "GC"])
def test_without_an_agent_the_runtime_is_told_to_try_again(tmp_path, command):
    done = run(installed(tmp_path, tmp_path / "nobody.sock"), b'{"cniVersion":"0.4.0"}', CNI_COMMAND=command)
    answer = json.loads(done.stdout)
    assert done.returncode == 1
    assert (answer["code"], answer["cniVersion"]) == (protocol.TRY_AGAIN_LATER, "0.4.0")
    assert "kubectl" in answer["msg"] + "; " + answer["details"]


@pytest.mark.parametrize("command", ["ADD", "DEL"])
def test_an_agent_that_is_being_replaced_is_waited_for(tmp_path, agent, command):
    path, reply, seen = agent
    reply[0] = framing.encode_reply(0, b"{}")
    away = tmp_path / "cni.away"
    path.rename(away)
    executable = installed(tmp_path, path, patience_s=20)
    threading.Timer(0.3, away.rename, [path]).start()
    assert run(executable, CNI_COMMAND=command).stdout == b"{}"
    assert len(seen) == 1


def test_environment_and_configuration_arrive_and_the_reply_is_printed(tmp_path, agent):
    path, reply, seen = agent
    reply[0] = framing.encode_reply(7, b'{"printed":1}')
    done = run(installed(tmp_path, path), b'{"a":1}', CNI_COMMAND="ADD", CNI_ARGS="A=b;C=\xe9", OTHER="x")
    assert (done.returncode, done.stdout, done.stderr) == (7, b'{"printed":1}', b"")
    assert seen == [({"CNI_COMMAND": b"ADD", "CNI_ARGS": "A=b;C=\xe9".encode()}, b'{"a":1}')]


def test_megabytes_pass_both_ways(tmp_path, agent):
    path, reply, seen = agent
    reply[0] = framing.encode_reply(0, b"y" * 2_000_000)
    done = run(installed(tmp_path, path), b"x" * 3_000_000, CNI_COMMAND="ADD")
    assert done.stdout == b"y" * 2_000_000
    assert seen[0][1] == b"x" * 3_000_000


@pytest.mark.parametrize("reply_bytes", [b"", b"\0", b"\0\0\0\0\5abc"])
def test_an_agent_that_dies_while_it_works_gives_the_specifications_error(tmp_path, agent, reply_bytes):
    path, reply, _ = agent
    reply[0] = reply_bytes
    done = run(installed(tmp_path, path), CNI_COMMAND="ADD")
    assert done.returncode == 1
    assert json.loads(done.stdout)["code"] == protocol.TRY_AGAIN_LATER


@pytest.mark.parametrize("name", ["with space", "quote\"'s", "back\\slash", "new\nline", "é\u20ac", "%s {0} \\n"])
def test_a_socket_path_of_odd_characters_is_fine(tmp_path, agent, name):
    path, reply, seen = agent
    odd = tmp_path / name
    odd.symlink_to(path)
    reply[0] = framing.encode_reply(0, b"{}")
    assert run(installed(tmp_path, odd), CNI_COMMAND="ADD").stdout == b"{}"
    assert len(seen) == 1


def test_a_socket_path_that_is_not_utf8_is_fine(tmp_path, agent):
    path, reply, _ = agent
    odd = tmp_path / os.fsdecode(b"\xff\xfe")
    odd.symlink_to(path)
    reply[0] = framing.encode_reply(0, b"{}")
    assert run(installed(tmp_path, odd), CNI_COMMAND="ADD").stdout == b"{}"


def test_plugin_and_protocol_speak_the_same_versions():
    assert tuple(version.decode() for version in plugin.VERSIONS) == protocol.VERSIONS
    assert int(plugin.TRY_AGAIN_LATER) == protocol.TRY_AGAIN_LATER
