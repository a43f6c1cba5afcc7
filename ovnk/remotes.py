"""Remotes: how settings name OVSDB servers, and the TLS files that go with them. Checked here, for every daemon.

Pure: nothing is connected to, and no file is opened.
"""

import re
from pathlib import PurePath

from ovnk.errors import ConfigError

FORMS = "unix:PATH, tcp:IP:PORT or ssl:IP:PORT"
TLS_SETTINGS = ("private_key", "certificate", "ca")
# A socket's path may have 107 bytes (unix(7)). Open vSwitch's libraries reach longer ones by way of their folder, but
# python's does not come back from one whose own name is too long (3.1, socket_util.make_unix_socket).
_SOCKET_NAME_BYTES = 80
_ADDRESS = re.compile(r"(\[[^\[\]]+\]|[^:\[\]]+):(\d{1,5})")


def parse(setting: str, remotes: str) -> list[str]:
    """The remotes of a comma separated list. Raises ConfigError, naming `setting`, for what no server can be."""
    parsed = [remote.strip() for remote in remotes.split(",") if remote.strip()]
    if not parsed:
        raise ConfigError(f'{setting} "{remotes}" names no remote; give {FORMS}')
    for remote in parsed:
        if why := _why_not(remote):
            raise ConfigError(f'{setting} remote "{remote}" {why}')
    return parsed


def check(setting: str, remotes: str, tls: tuple[str, str, str]) -> None:
    """Raises ConfigError where the remotes, or `tls` (private key, certificate, CA; "" if not given), cannot be."""
    parsed = parse(setting, remotes)
    names = [f"{setting}_{part}" for part in TLS_SETTINGS]
    listed = f"{names[0]}, {names[1]} and {names[2]}"
    if any(tls) != all(tls):
        raise ConfigError(f"{listed} are given together or not at all")
    secure = next((remote for remote in parsed if remote.startswith("ssl:")), "")
    if secure and not all(tls):
        raise ConfigError(f'{setting} is "{remotes}", but an ssl remote needs {listed}')


def _why_not(remote: str) -> str:
    method, _, rest = remote.partition(":")
    if method == "unix" and rest:
        if len(PurePath(rest).name.encode()) > _SOCKET_NAME_BYTES:
            return f"has a name of more than {_SOCKET_NAME_BYTES} bytes; give the socket a shorter one"
        return ""
    address = _ADDRESS.fullmatch(rest)
    if method not in ("tcp", "ssl") or address is None:
        return f"is not {FORMS}; IPv6 addresses stand in brackets"
    return "" if 0 < int(address[2]) < 65536 else f"has no port between 1 and 65535: {address[2]}"
