"""A real control plane from binaries the user has: etcd, kube-apiserver, and the rest where it is found.

    folder/  ca.crt  server.crt server.key  accounts.key  tokens.csv  admin.kubeconfig  …  etcd/

`write_credentials` makes the files, `kube_commands` says what to run, purely, so that the lab's supervisor can run it
inside its namespaces; `running` runs it for those who have no supervisor (tests). Nothing is downloaded, and no
binary is looked for outside the one folder. Nodes are not made here: a kubelet, real or the lab's, brings them.
"""

import contextlib
import ipaddress
import json
import os
import secrets
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from ovnk import errors
from ovnk.lab import linux
from ovnk.lab.apiserver import credentials

ADMIN, CONTROLLER_MANAGER, SCHEDULER = "admin", "controller-manager", "scheduler"
# user → (name, group) of the token file. The controller manager is an administrator: its controllers share one
# identity, and system:kube-controller-manager alone may not do what each of them needs.
USERS: Mapping[str, tuple[str, str]] = {
    ADMIN: ("admin", "system:masters"),
    CONTROLLER_MANAGER: ("system:kube-controller-manager", "system:masters"),
    SCHEDULER: ("system:kube-scheduler", "system:authenticated"),
}
STOP_S = 10.0


@dataclass(frozen=True, slots=True)
class Command:
    """A process to keep running. `ready_url` answers 200 once it serves; "" where there is nothing to ask."""

    name: str
    argv: tuple[str, ...]
    ready_url: str = ""
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the servers listen. `advertise` is what the Service default/kubernetes leads to; it is not a loopback."""

    api_host: str = "127.0.0.1"
    api_port: int = 6443
    etcd_port: int = 2379
    etcd_peer_port: int = 2380
    advertise: str = ""

    @property
    def server(self) -> str:
        """The API server's URL on this host."""
        return f"https://127.0.0.1:{self.api_port}"


def found(folder: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The folder with the binaries: the given one, else KUBEBUILDER_ASSETS, else None. ConfigError: it lacks one."""
    source = "--kube-bin"
    if folder is None:
        if not environ.get("KUBEBUILDER_ASSETS"):
            return None
        source, folder = "KUBEBUILDER_ASSETS", Path(environ["KUBEBUILDER_ASSETS"])
    for name in ("etcd", "kube-apiserver"):
        if not os.access(folder / name, os.X_OK):
            raise errors.ConfigError(f'{source} "{folder}" has no executable {name}; it needs etcd and kube-apiserver')
    return folder


def replaces(bin_dir: Path) -> frozenset[str]:
    """The lab's controllers that real binaries of that folder stand in for: "scheduler", "*" for all others."""
    real = set()
    if (bin_dir / "kube-scheduler").exists():
        real.add("scheduler")
    if (bin_dir / "kube-controller-manager").exists():
        real.add("*")
    return frozenset(real)


def write_credentials(
    folder: Path, addresses: Addresses, service_cidrs: Sequence[str], hosts: Sequence[str] = ()
) -> Path:
    """Certificates, tokens and kubeconfigs in `folder`, made anew; the administrator's kubeconfig.

    `hosts` are further names and addresses under which the server is reached (a relay's, a node network's).
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
    names.append("kubernetes.default.svc.cluster.local")
    first = [str(ipaddress.ip_network(cidr)[1]) for cidr in service_cidrs]
    own = [address for address in (addresses.api_host, addresses.advertise) if address]
    made = credentials.serving_certificate([*names, "127.0.0.1", "::1", *own, *first, *hosts])
    _write_private(folder / "ca.crt", made.ca)
    _write_private(folder / "server.crt", made.certificate)
    _write_private(folder / "server.key", made.key)
    _write_account_keys(folder / "accounts.key", folder / "accounts.pub")
    tokens = {user: secrets.token_hex(16) for user in USERS}
    lines = [f'{tokens[user]},{name},{user},"{group}"\n' for user, (name, group) in USERS.items()]
    _write_private(folder / "tokens.csv", "".join(lines).encode())
    for user, token in tokens.items():
        config = credentials.kubeconfig(addresses.server, token, made.ca)
        _write_private(kubeconfig(folder, user), json.dumps(config, indent=2).encode())
    return kubeconfig(folder, ADMIN)


def kubeconfig(folder: Path, user: str) -> Path:
    """Where `write_credentials` puts that user's kubeconfig."""
    return folder / f"{user}.kubeconfig"


def kube_commands(
    bin_dir: Path, folder: Path, service_cidrs: Sequence[str], addresses: Addresses | None = None
) -> list[Command]:
    """What to run, in this order, each once the one before is ready. `folder` has been given its credentials."""
    addresses = addresses or Addresses()
    real = replaces(bin_dir)
    commands = [_etcd(bin_dir, folder, addresses), _api_server(bin_dir, folder, service_cidrs, addresses, real)]
    if "*" in real:
        commands.append(_controller_manager(bin_dir, folder))
    if "scheduler" in real:
        commands.append(_scheduler(bin_dir, folder))
    return commands


@contextlib.contextmanager
def running(bin_dir: Path, folder: Path, service_cidrs: Sequence[str], without: Sequence[str] = ()) -> Iterator[Path]:
    """A control plane on free ports of the loopback for the time of the context; the administrator's kubeconfig.

    `without` names commands to leave out. Each command's output goes to folder/NAME.log.
    Raises RuntimeError when one ends or does not serve within a minute, with the end of its log.
    """
    ports = _free_ports(3)
    addresses = Addresses(api_port=ports[0], etcd_port=ports[1], etcd_peer_port=ports[2])
    admin = write_credentials(folder, addresses, service_cidrs)
    with contextlib.ExitStack() as stack:
        for command in kube_commands(bin_dir, folder, service_cidrs, addresses):
            if command.name in without:
                continue
            log = folder / f"{command.name}.log"
            output = stack.enter_context(log.open("ab"))
            process = subprocess.Popen(
                command.argv,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **command.env},
                # A test run that is killed must not leave servers behind.
                preexec_fn=linux.die_with_parent,
            )
            stack.callback(_stop, process)
            _await_ready(process, command, folder / "ca.crt", log)
        yield admin


def _etcd(bin_dir: Path, folder: Path, addresses: Addresses) -> Command:
    clients = f"http://127.0.0.1:{addresses.etcd_port}"
    peers = f"http://127.0.0.1:{addresses.etcd_peer_port}"
    flags = {
        "name": "lab",
        "data-dir": folder / "etcd",
        "listen-client-urls": clients,
        "advertise-client-urls": clients,
        "listen-peer-urls": peers,
        "initial-advertise-peer-urls": peers,
        "initial-cluster": f"lab={peers}",
    }
    return Command("etcd", _argv(bin_dir / "etcd", flags), f"{clients}/health")


def _api_server(
    bin_dir: Path, folder: Path, service_cidrs: Sequence[str], addresses: Addresses, real: frozenset[str]
) -> Command:
    flags = {
        "etcd-servers": f"http://127.0.0.1:{addresses.etcd_port}",
        "bind-address": addresses.api_host,
        "secure-port": addresses.api_port,
        "cert-dir": folder,
        "tls-cert-file": folder / "server.crt",
        "tls-private-key-file": folder / "server.key",
        "token-auth-file": folder / "tokens.csv",
        "authorization-mode": "Node,RBAC",
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-key-file": folder / "accounts.pub",
        "service-account-signing-key-file": folder / "accounts.key",
        "service-cluster-ip-range": ",".join(service_cidrs),
        "allow-privileged": "true",
        # for kubectl exec and logs: a lab's node names are in no DNS
        "kubelet-preferred-address-types": "InternalIP",
        "profiling": "false",
    }
    if addresses.advertise:
        flags["advertise-address"] = addresses.advertise
    if "*" not in real:
        # Without the controller manager nobody makes the accounts that pods would be given, and nobody takes
        # away the not-ready taint that new nodes get from TaintNodesByCondition.
        flags["disable-admission-plugins"] = "ServiceAccount,TaintNodesByCondition"
    return Command("kube-apiserver", _argv(bin_dir / "kube-apiserver", flags), f"{addresses.server}/readyz")


def _controller_manager(bin_dir: Path, folder: Path) -> Command:
    flags = {
        "kubeconfig": kubeconfig(folder, CONTROLLER_MANAGER),
        "service-account-private-key-file": folder / "accounts.key",
        "root-ca-file": folder / "ca.crt",
        "controllers": "*",
        "leader-elect": "false",
        # nobody asks for its metrics; a port less to collide
        "secure-port": 0,
    }
    return Command("kube-controller-manager", _argv(bin_dir / "kube-controller-manager", flags))


def _scheduler(bin_dir: Path, folder: Path) -> Command:
    flags = {"kubeconfig": kubeconfig(folder, SCHEDULER), "leader-elect": "false", "secure-port": 0}
    return Command("kube-scheduler", _argv(bin_dir / "kube-scheduler", flags))


def _argv(binary: Path, flags: Mapping[str, object]) -> tuple[str, ...]:
    return (str(binary), *(f"--{name}={value}" for name, value in flags.items()))


def _write_account_keys(private: Path, public: Path) -> None:
    """The key pair that service accounts' tokens are signed and checked with."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    encoding = serialization.Encoding.PEM
    _write_private(
        private,
        key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
    _write_private(public, key.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo))


def _write_private(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in listeners]


def _await_ready(
    process: subprocess.Popen[bytes], command: Command, authority: Path, log: Path, limit_s: float = 60
) -> None:
    """Return once the command serves. Its server has no way to tell us, so it is asked."""
    deadline = time.monotonic() + limit_s
    trusting = ssl.create_default_context(cafile=str(authority))
    while command.ready_url:
        if process.poll() is not None or time.monotonic() > deadline:
            end = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
            raise RuntimeError(f'{command.name} does not serve "{command.ready_url}"; the end of "{log}":\n{end}')
        with contextlib.suppress(OSError), urllib.request.urlopen(command.ready_url, timeout=5, context=trusting):
            return
        time.sleep(0.05)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
