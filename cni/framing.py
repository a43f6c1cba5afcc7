"""How the plug-in process and the agent talk over the unix socket: one request, one reply, then the end.

    request   4 bytes length of the environment, 4 bytes length of the configuration, both parts
    reply     1 byte exit code, 4 bytes length, what the plug-in prints

Big endian. The environment is "NAME=value" parted by NUL. The plug-in keeps its side open while it waits, so the end
of the stream before the reply means that it was killed. cni/plugin.py holds the other half, written out again
because it may import nothing; tests hold the two together.
"""

import asyncio

# A configuration holds the pod's annotations (at most 256 KiB, ValidateAnnotations), the environment six variables.
ENVIRONMENT_BYTES_MAX = 1 << 20
CONFIG_BYTES_MAX = 1 << 24

_LENGTH_BYTES = 4


class FramingError(Exception):
    """The peer sent what no plug-in of ours sends; the connection is of no more use."""


async def read_request(reader: asyncio.StreamReader) -> tuple[dict[str, bytes], bytes]:
    """The environment and the configuration of one request.

    Raises FramingError for a length beyond reason, asyncio.IncompleteReadError where the stream ends before.
    """
    header = await reader.readexactly(2 * _LENGTH_BYTES)
    environment_bytes = int.from_bytes(header[:_LENGTH_BYTES], "big")
    config_bytes = int.from_bytes(header[_LENGTH_BYTES:], "big")
    if environment_bytes > ENVIRONMENT_BYTES_MAX or config_bytes > CONFIG_BYTES_MAX:
        raise FramingError(f"a request of {environment_bytes} + {config_bytes} bytes is no plug-in's of ours")
    environment = await reader.readexactly(environment_bytes)
    return decode_environment(environment), await reader.readexactly(config_bytes)


def encode_request(environment: dict[str, bytes], config: bytes) -> bytes:
    """A request as the plug-in sends it."""
    joined = b"\0".join(name.encode() + b"=" + value for name, value in environment.items())
    return len(joined).to_bytes(_LENGTH_BYTES, "big") + len(config).to_bytes(_LENGTH_BYTES, "big") + joined + config


def encode_reply(exit_code: int, output: bytes) -> bytes:
    """A reply as the plug-in expects it: it prints `output` and exits with `exit_code`."""
    return bytes([exit_code]) + len(output).to_bytes(_LENGTH_BYTES, "big") + output


def decode_environment(joined: bytes) -> dict[str, bytes]:
    """The variables by name; what has no '=' or no ASCII name is none."""
    values = {}
    for part in joined.split(b"\0"):
        name, equals, value = part.partition(b"=")
        if equals and name.isascii():
            values[name.decode("ascii")] = value
    return values
