"""Puts the plug-in and the network's configuration where the container runtime looks for them.

The configuration file makes the node Ready, so the agent installs it once it can serve an ADD, and never removes
it: without one, pods on the node could not even be deleted (containerd: "cni plugin not initialized").
"""

import json
import os
import sys
import tempfile
from pathlib import Path

from cni import plugin, protocol
from ovnk.errors import ConfigError

PLUGIN = "ovnk"
NETWORK = "ovnk"
CONFLIST = "10-ovnk.conflist"

# sockaddr_un.sun_path is 108 bytes with its NUL; ".new" is bound first (cni/server.py).
_SOCKET_PATH_BYTES_MAX = 103


def install_plugin(directory: Path, socket: Path) -> Path:
    """The installed plug-in: our file with the agent's socket and an interpreter that exists written in.

    Raises ConfigError where the socket's path is too long for a socket, OSError where the directory is not writable.
    """
    path = os.fsencode(socket)
    if len(path) > _SOCKET_PATH_BYTES_MAX:
        raise ConfigError(
            f'--cni-socket "{socket}" has {len(path)} bytes; a unix socket takes {_SOCKET_PATH_BYTES_MAX}'
        )
    lines = Path(plugin.__file__).read_bytes().splitlines(keepends=True)
    shebang, line = f"#!{_interpreter()} -ISE\n".encode(), f"SOCKET = {path!r}\n".encode()
    written = [line if original.startswith(b"SOCKET = ") else original for original in lines[1:]]
    return _write(directory, PLUGIN, b"".join([shebang, *written]), mode=0o755)


def install_conflist(directory: Path, version: str) -> Path:
    """The installed network configuration, in `version` (1.0.0 is the newest that containerd 1.6 takes).

    Capabilities are declared as they are served: the runtime tells a plug-in of host ports only where it asks.
    """
    conflist = {
        "cniVersion": version,
        "name": NETWORK,
        "plugins": [{"type": PLUGIN, "capabilities": {"portMappings": True}}],
    }
    return _write(directory, CONFLIST, json.dumps(conflist, indent=2).encode() + b"\n", mode=0o644)


def check_socket(socket: Path) -> None:
    """Raises ConfigError for a path that the runtime's working directory would change, or too long for a socket."""
    size = len(os.fsencode(socket))
    if size > _SOCKET_PATH_BYTES_MAX:
        raise ConfigError(f'--cni-socket "{socket}" has {size} bytes; a unix socket takes {_SOCKET_PATH_BYTES_MAX}')
    if not socket.is_absolute():
        raise ConfigError(f'--cni-socket "{socket}" must be an absolute path; the runtime starts plug-ins anywhere')


def check_version(version: str) -> None:
    """Raises ConfigError for a cniVersion we do not speak."""
    if version not in protocol.VERSIONS:
        raise ConfigError(f'--cni-version "{version}" is not one of {", ".join(protocol.VERSIONS)}')


def _interpreter() -> str:
    """The system's Python, which starts fastest; else the one that runs us."""
    system = "/usr/bin/python3"
    return system if os.access(system, os.X_OK) else os.path.realpath(sys.executable)


def _write(directory: Path, name: str, content: bytes, mode: int) -> Path:
    """Replaces the file at once; leaves it alone where it is the same already.

    The temporary file is in the same directory: containerd does not notice a rename from another one. Its name must
    not end as a configuration's does (.conf, .conflist, .json), or it would be read half written.
    """
    target = directory / name
    directory.mkdir(parents=True, exist_ok=True)
    if target.is_file() and target.read_bytes() == content and target.stat().st_mode & 0o777 == mode:
        return target
    descriptor, temporary = tempfile.mkstemp(prefix=f".{name}.", suffix=".new", dir=directory)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(temporary).rename(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return target
