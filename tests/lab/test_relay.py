"""The relay: bytes pass both ways, and an end is passed on."""

import asyncio
import socket

from ovnk.lab import relay


def test_bytes_pass_both_ways_until_both_sides_have_ended() -> None:
    async def echo_reversed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Answers only when the asker has ended: the relay must pass a half-close on, and keep the way back open.
        writer.write((await reader.read())[::-1])
        await writer.drain()
        writer.close()

    async def ask(port: int, question: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(question)
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        return answer

    async def scenario() -> list[bytes]:
        server = await asyncio.start_server(echo_reversed, "127.0.0.1", 0)
        listener = socket.create_server(("127.0.0.1", 0))
        port = server.sockets[0].getsockname()[1]
        task = asyncio.create_task(relay.relay(listener, "127.0.0.1", port))
        answers = await asyncio.gather(*(ask(listener.getsockname()[1], bytes([n]) * 200_000 + b"!") for n in range(5)))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        server.close()
        return answers

    assert asyncio.run(scenario()) == [b"!" + bytes([n]) * 200_000 for n in range(5)]


def test_nobody_behind_the_relay_closes_the_connection() -> None:
    async def scenario() -> bytes:
        nobody = socket.create_server(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        nobody.close()
        listener = socket.create_server(("127.0.0.1", 0))
        task = asyncio.create_task(relay.relay(listener, "127.0.0.1", port))
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.getsockname()[1])
        answer = await reader.read()
        writer.close()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return answer

    assert asyncio.run(scenario()) == b""
