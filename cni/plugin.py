#!/usr/bin/python3 -ISE
"""The CNI plug-in that the container runtime executes: hands its call to the node's agent and prints the answer.

Installed by copying this one file (cni/install.py), which writes the agent's socket into SOCKET and an interpreter
that exists into the first line. Every pod waits for this process to start, so it imports nothing but two built-in
modules (10 ms; `import socket` alone would double that, `json` triple it) and never looks into the JSON it carries.
-I -S -E: the runtime's own environment, PYTHON* included, must not reach the interpreter.
"""

import _socket
import posix

SOCKET = b"/run/ovnk/cni.sock"  # cni/install.py writes this line

# kubelet gives up, and has this process killed, 240 s after it began; the agent answers within 200 s.
TIMEOUT_S = 235
# An agent that is replaced is away for a few seconds; to fail meanwhile would cost the pod 12 s more (kubelet's retry).
PATIENCE_S = 20
RETRIES_PER_S = 5
PATIENT = (b"ADD", b"DEL")
TRY_AGAIN_LATER = b"11"
VERSIONS = (b"0.3.1", b"0.4.0", b"1.0.0", b"1.1.0")
VARIABLES = (b"CNI_COMMAND", b"CNI_CONTAINERID", b"CNI_NETNS", b"CNI_IFNAME", b"CNI_ARGS", b"CNI_PATH")


def read_all() -> bytes:
    """Standard input to its end."""
    parts = []
    while part := posix.read(0, 65536):
        parts.append(part)
    return b"".join(parts)


def write_all(output: bytes) -> None:
    """All of `output` to standard output, however little the pipe takes at a time."""
    while output:
        output = output[posix.write(1, output) :]


def asked_version(config: bytes) -> bytes:
    """The text after "cniVersion": in the configuration if we speak it, else our newest; no JSON is parsed for it."""
    words = config.partition(b'"cniVersion"')[2].split(b'"', 2)
    return words[1] if len(words) > 1 and words[1] in VERSIONS else VERSIONS[-1]


def fail(config: bytes, message: bytes, details: bytes) -> int:
    """Prints the specification's error: code 11, which makes the runtime call again. Returns the exit code."""
    write_all(
        b'{"cniVersion":"%s","code":%s,"msg":"%s","details":"%s"}\n'
        % (asked_version(config), TRY_AGAIN_LATER, message, details)
    )
    return 1


def receive(connection: _socket.socket, size: int) -> bytes:
    """Exactly `size` bytes; raises OSError where the stream ends before."""
    parts = []
    while size:
        part = connection.recv(min(size, 65536))
        if not part:
            raise OSError(0, "the agent stopped while it worked")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def ask(config: bytes) -> tuple[int, bytes]:
    """The agent's (exit code, output). Raises OSError while there is no agent."""
    environment = b"\0".join(name + b"=" + posix.environ[name] for name in VARIABLES if name in posix.environ)
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    connection.settimeout(TIMEOUT_S)
    connection.connect(SOCKET)
    connection.sendall(len(environment).to_bytes(4, "big") + len(config).to_bytes(4, "big") + environment + config)
    header = receive(connection, 5)
    return header[0], receive(connection, int.from_bytes(header[1:], "big"))


def ask_patiently(config: bytes) -> tuple[int, bytes]:
    """What `ask` gives, asked again for a while where it would fail: an agent that comes back finds what was begun."""
    try:
        return ask(config)
    except TimeoutError:
        raise
    except OSError as error:
        import time  # built in, and needed on this path alone

        failure = error
    for _ in range(PATIENCE_S * RETRIES_PER_S if posix.environ.get(b"CNI_COMMAND") in PATIENT else 0):
        time.sleep(1 / RETRIES_PER_S)
        try:
            return ask(config)
        except OSError as error:
            failure = error
    raise failure


def main() -> int:
    """Returns the exit code."""
    config = read_all()
    if posix.environ.get(b"CNI_COMMAND") == b"VERSION":
        supported = b",".join(b'"%s"' % version for version in VERSIONS)
        write_all(b'{"cniVersion":"%s","supportedVersions":[%s]}\n' % (asked_version(config), supported))
        return 0
    try:
        code, output = ask_patiently(config)
    except OSError as error:
        # DEL too: an answer of success would let the runtime forget what only the agent can release; it tries
        # again until the agent is back (CNI 1.1.0, section 2, DEL and error 11).
        why = repr(error.args[-1] if error.args else "").encode("ascii", "replace")
        return fail(
            config,
            b"the ovnk node agent does not answer (%s)" % why.replace(b"\\", b"").replace(b'"', b""),
            b"is its pod on this node running? kubectl get pods -A -o wide | grep ovnk; kubelet tries again by itself",
        )
    write_all(output)
    return code


if __name__ == "__main__":
    posix._exit(main())  # noqa: SLF001  no atexit, no finalizers: 1 ms less for each pod
