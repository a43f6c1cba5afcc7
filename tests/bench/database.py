"""What ovsdb-server itself can take: operations encoded before the clock runs, a few in flight, and no replica."""

import socket
from collections import deque
from collections.abc import Iterable, Sequence

import orjson

from ovnk.northbound.framing import Framer
from tests.ovsdb import OvsdbServer

WINDOW = 4


def encoded(database: str, transactions: Iterable[Sequence[object]]) -> list[bytes]:
    """The transactions as JSON-RPC requests (RFC 7047 §4.1.3)."""
    return [
        orjson.dumps({"method": "transact", "params": [database, *operations], "id": number})
        for number, operations in enumerate(transactions)
    ]


def send(server: OvsdbServer, requests: Sequence[bytes]) -> None:
    """Send all of them, WINDOW in flight, and wait for the last reply. Raises RuntimeError for a refusal."""
    waiting, framer, flying = deque(requests), Framer(), 0
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(server.socket))
        while waiting or flying:
            while waiting and flying < WINDOW:
                connection.sendall(waiting.popleft())
                flying += 1
            for message in framer.feed(connection.recv(1 << 20)):
                if message["error"] or any(result and "error" in result for result in message["result"]):
                    raise RuntimeError(f"ovsdb-server refused what was to be its own rate: {str(message)[:400]}")
                flying -= 1
