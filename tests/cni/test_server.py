"""The agent's socket: what callers may do to it, and what they are told."""

import asyncio
import json
import stat

import pytest

from cni import framing, protocol
from cni.protocol import CniError
from cni.server import Server

ENVIRONMENT = {
    "CNI_COMMAND": b"ADD",
    "CNI_CONTAINERID": b"abc",
    "CNI_NETNS": b"/n",
    "CNI_IFNAME": b"eth0",
    "CNI_ARGS": b"K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;K8S_POD_UID=u1",
}
CONFIG = b'{"cniVersion":"0.4.0","name":"ovnk","type":"ovnk"}'


async def call(path, environment=ENVIRONMENT, config=CONFIG):
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(framing.encode_request(environment, config))
    reply = await reader.read()
    writer.close()
    assert int.from_bytes(reply[1:5], "big") == len(reply) - 5
    return reply[0], reply[5:]


def serve(path, answer, scenario):
    async def main():
        server = Server(path, answer)
        await server.start()
        try:
            return await asyncio.wait_for(scenario(server), 30)
        finally:
            await server.stop()

    return asyncio.run(main())


def test_answer_is_what_the_plugin_prints(tmp_path):
    async def answer(request):
        return f"{request.command} {request.pod.name}".encode()

    path = tmp_path / "deep" / "cni.sock"
    assert serve(path, answer, lambda _: call(path)) == (0, b"ADD web-0")


def test_only_root_may_connect_and_a_stale_file_is_replaced(tmp_path):
    async def answer(_):
        return b""

    path = tmp_path / "cni.sock"
    path.write_text("stale")

    async def scenario(_):
        return path.stat().st_mode

    mode = serve(path, answer, scenario)
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600


@pytest.mark.parametrize(
    ("raised", "code"), [(CniError(11, "later", "soon"), 11), (ZeroDivisionError("bug"), protocol.INTERNAL)]
)
def test_error_is_the_specifications_json_in_the_version_asked_for(tmp_path, raised, code):
    async def answer(_):
        raise raised

    path = tmp_path / "cni.sock"
    exit_code, output = serve(path, answer, lambda _: call(path))
    document = json.loads(output)
    assert (exit_code, document["code"], document["cniVersion"]) == (1, code, "0.4.0")


def test_request_that_cannot_be_parsed_is_answered_too(tmp_path):
    async def answer(_):
        return b""

    path = tmp_path / "cni.sock"
    exit_code, output = serve(path, answer, lambda _: call(path, {"CNI_COMMAND": b"NONE"}))
    assert (exit_code, json.loads(output)["code"]) == (1, protocol.INVALID_ENVIRONMENT)


@pytest.mark.parametrize("noise", [b"", b"\0", b"\xff" * 8, b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\5\0\0\0\5abc"])
def test_noise_ends_that_connection_and_no_other(tmp_path, noise):
    async def answer(_):
        return b"fine"

    path = tmp_path / "cni.sock"

    async def scenario(_):
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(noise)
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        return await call(path)

    assert serve(path, answer, scenario) == (0, b"fine")


@pytest.mark.parametrize(("command", "broken_off"), [(b"ADD", True), (b"DEL", False)])
def test_hang_up_breaks_an_add_off_and_nothing_else(tmp_path, command, broken_off):
    path = tmp_path / "cni.sock"
    began, ended = asyncio.Event(), asyncio.Event()
    seen = []

    async def answer(_):
        began.set()
        try:
            await asyncio.sleep(0.2)
            seen.append("done")
        except asyncio.CancelledError:
            seen.append("broken off")
            raise
        finally:
            ended.set()
        return b""

    async def scenario(_):
        _, writer = await asyncio.open_unix_connection(str(path))
        writer.write(framing.encode_request(ENVIRONMENT | {"CNI_COMMAND": command}, CONFIG))
        await began.wait()
        writer.close()
        await ended.wait()

    serve(path, answer, scenario)
    assert seen == ["broken off" if broken_off else "done"]


def test_stop_undoes_what_waits_before_it_returns(tmp_path):
    path = tmp_path / "cni.sock"
    began = asyncio.Event()
    undone = []

    async def answer(_):
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            undone.append(True)

    async def scenario(server):
        waiting = asyncio.create_task(asyncio.open_unix_connection(str(path)))
        reader, writer = await waiting
        writer.write(framing.encode_request(ENVIRONMENT, CONFIG))
        await began.wait()
        await server.stop()
        assert undone == [True]
        assert await reader.read() == b""
        writer.close()

    serve(path, answer, scenario)


def test_two_hundred_callers_at_once(tmp_path):
    path = tmp_path / "cni.sock"
    everybody = asyncio.Event()
    inside = 0

    async def answer(request):
        nonlocal inside
        inside += 1
        if inside == 200:
            everybody.set()
        await everybody.wait()
        return request.container_id.encode()

    async def scenario(_):
        calls = [call(path, ENVIRONMENT | {"CNI_CONTAINERID": b"c%d" % number}) for number in range(200)]
        return await asyncio.gather(*calls)

    assert serve(path, answer, scenario) == [(0, b"c%d" % number) for number in range(200)]
