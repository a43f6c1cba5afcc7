"""A relay from a listening socket to a server's address: TCP in, TCP out, bytes as they come.

A real kube-apiserver cannot be handed a socket, and the one that the machine reaches was opened before the lab's
namespaces were entered; this process holds that socket and connects from inside. It knows no protocol: TLS passes
through, so the server's certificate must name the address on the machine's side too.
"""

import argparse
import asyncio
import contextlib
import socket

CHUNK_BYTES = 1 << 16


async def relay(listener: socket.socket, host: str, port: int) -> None:
    """Relay every connection of `listener` to that address until cancelled; a refused one is closed at once."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.closing(writer):
                far_reader, far_writer = await asyncio.open_connection(host, port)
                with contextlib.closing(far_writer):
                    await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
        except OSError:
            # Either side went away in mid-stream: the other is closed, which is all that can be told.
            pass

    async with await asyncio.start_server(connected, sock=listener) as server:
        await server.serve_forever()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until the end of the stream, then end the other direction's too, which leaves the way back open."""
    while chunk := await reader.read(CHUNK_BYTES):
        writer.write(chunk)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


def main() -> None:
    """`python -m ovnk.lab.relay --fd 3 --to 127.0.0.1:6443`: the descriptor is a listening socket, inherited."""
    parser = argparse.ArgumentParser(prog="ovnk.lab.relay", description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="the descriptor of the listening socket")
    parser.add_argument("--to", required=True, metavar="HOST:PORT", help="where to connect for each connection")
    arguments = parser.parse_args()
    host, _, port = arguments.to.rpartition(":")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(relay(socket.socket(fileno=arguments.fd), host.strip("[]"), int(port)))


if __name__ == "__main__":
    main()
