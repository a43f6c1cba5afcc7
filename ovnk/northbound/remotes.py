"""Where the server is: remotes, TLS, and the first question asked of it, its schema.

The Idl needs the schema before it exists, so it is fetched here over a connection of its own. Everything after that
is the replica's.
"""

import errno
import os
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ovs.jsonrpc
import ovs.poller
import ovs.stream

from ovnk import remotes
from ovnk.errors import CommitError, ConfigError


@dataclass(frozen=True, slots=True)
class Tls:
    """The PEM files for "ssl:" remotes: our key and certificate, and the CA that signed the servers'."""

    private_key: Path
    certificate: Path
    ca: Path

    def install(self) -> None:
        """Makes python-ovs use the files, for every "ssl:" connection of this process; raises ConfigError."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.load_cert_chain(self.certificate, self.private_key)
            context.load_verify_locations(self.ca)
        except OSError as error:  # ssl.SSLError is one
            raise ConfigError(
                f'TLS of the northbound: private key "{self.private_key}", certificate "{self.certificate}" and CA '
                f'"{self.ca}" cannot be used together: {error}; give PEM files that belong together'
            ) from error
        ovs.stream.Stream.ssl_set_private_key_file(str(self.private_key))
        ovs.stream.Stream.ssl_set_certificate_file(str(self.certificate))
        ovs.stream.Stream.ssl_set_ca_cert_file(str(self.ca))


def parse(given: str, tls: Tls | None) -> list[str]:
    """The remotes of a comma separated list; raises ConfigError for one that cannot be connected to."""
    parsed = remotes.parse("northbound", given)
    for remote in parsed:
        if remote.startswith("ssl:") and tls is None:
            raise ConfigError(f'northbound remote "{remote}" needs a private key, a certificate and a CA certificate')
    return parsed


def fetch_schema(parsed: list[str], database: str, timeout_s: float) -> Mapping[str, Any]:
    """The schema of `database` from the first remote that gives it.

    `timeout_s` is for each remote. Raises CommitError, naming every remote and its reason, when none does.
    """
    reasons = []
    for remote in parsed:
        try:
            reply = _ask(remote, database, time.monotonic() + timeout_s)
        except OSError as error:
            reasons.append(f'"{remote}": {error.strerror or error}')
            continue
        if isinstance(reply.result, dict):
            return reply.result
        reasons.append(f'"{remote}": has no database "{database}"')
    raise CommitError(f"the northbound cannot be reached: {', '.join(reasons)}; still trying")


def _ask(remote: str, database: str, deadline: float) -> Any:
    error, stream = ovs.stream.Stream.open_block(
        ovs.stream.Stream.open(remote), timeout=int((deadline - time.monotonic()) * 1000)
    )
    if error:
        raise _failure(remote, error)
    connection = ovs.jsonrpc.Connection(stream)
    try:
        connection.send(ovs.jsonrpc.Message.create_request("get_schema", [database]))
        while time.monotonic() < deadline:
            connection.run()
            error, message = connection.recv()
            if message is not None and message.type in (ovs.jsonrpc.Message.T_REPLY, ovs.jsonrpc.Message.T_ERROR):
                return message
            if error not in (0, errno.EAGAIN):
                raise _failure(remote, error)
            poller = ovs.poller.Poller()
            connection.wait(poller)
            connection.recv_wait(poller)
            poller.timer_wait(max(1, int((deadline - time.monotonic()) * 1000)))
            poller.block()
        raise TimeoutError(errno.ETIMEDOUT, "no answer in time")
    finally:
        connection.close()


def _failure(remote: str, error: int) -> OSError:
    if error == ovs.jsonrpc.EOF:
        return OSError(errno.ECONNRESET, "the server closed the connection")
    if error == errno.EPROTO:
        return OSError(error, "does not speak OVSDB")
    if remote.startswith("ssl:") and error in (errno.EPERM, errno.EPIPE):
        return OSError(error, "the TLS handshake failed; is its certificate signed by the given CA?")
    return OSError(error, os.strerror(error))
