"""The lab's API server: the embedded one, or a real kube-apiserver with its etcd from a folder of binaries.

Either way there are two ways in: a socket on the machine's loopback, opened before the namespaces were entered, and
port 6443 at the centre of the nodes' network. The embedded server accepts on both; a real one cannot be handed a
socket, so a relay does.
"""

import asyncio
import json
import secrets
import signal
import socket
import ssl
from functools import partial
from pathlib import Path

from aiohttp import web

from ovnk.lab import apiserver, kubebin, programs, relay
from ovnk.lab.apiserver import credentials
from ovnk.lab.places import Place
from ovnk.lab.plan import API_PORT, Plan, bracketed
from ovnk.lab.state import State
from ovnk.lab.supervisor import Daemon

API_SERVER = "api-server"
LOOPBACK = "127.0.0.1"
BACKLOG = 1024


def embedded(plan: Plan, state: State, central: Place, machine_socket: int) -> list[Daemon]:
    """The embedded API server, its credentials written; `machine_socket` is the descriptor of the loopback's socket."""
    token = secrets.token_hex(16)
    names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost", LOOPBACK]
    made = credentials.serving_certificate([*names, *plan.central().values(), plan.first_service_address])
    folder = state.folder / "credentials"
    folder.mkdir(mode=0o700)
    for name, content in (("server.crt", made.certificate), ("server.key", made.key)):
        (folder / name).write_bytes(content)
    port = _port(machine_socket)
    for file, host, number in (
        (state.kubeconfig, LOOPBACK, port),
        (state.inner_kubeconfig, bracketed(plan.central()[plan.versions[0]]), API_PORT),
    ):
        _write_private(file, json.dumps(credentials.kubeconfig(f"https://{host}:{number}", token, made.ca), indent=2))
    addresses = list(plan.central().values())
    inner = [_listen(address) for address in addresses]
    descriptors = (machine_socket, *(listener.detach() for listener in inner))
    run = partial(_serve, plan, state, folder, token, descriptors)
    after = partial(programs.bootstrap, plan, state, True)
    return [Daemon(API_SERVER, central, run, descriptors=descriptors, after_start=after)]


def real(plan: Plan, state: State, central: Place, machine_socket: int, binaries: Path) -> list[Daemon]:
    """etcd, kube-apiserver and what else is found in `binaries`, and the relay; in the order they need each other."""
    folder = state.folder / "kubernetes"
    inner = list(plan.central().values())
    addresses = kubebin.Addresses(api_host="::", api_port=API_PORT, advertise=inner[0])
    services = plan.service_cidrs.split(",")
    admin = json.loads(kubebin.write_credentials(folder, addresses, services, inner).read_text())
    for file, host, number in (
        (state.kubeconfig, LOOPBACK, _port(machine_socket)),
        (state.inner_kubeconfig, bracketed(inner[0]), API_PORT),
    ):
        admin["clusters"][0]["cluster"]["server"] = f"https://{host}:{number}"
        _write_private(file, json.dumps(admin, indent=2))
    daemons = [
        Daemon(command.name, central, command.argv, command.env)
        for command in kubebin.kube_commands(binaries, folder, services, addresses)
    ]
    forward = partial(_relay, machine_socket)
    after = partial(programs.bootstrap, plan, state, False)
    return [*daemons, Daemon("api-relay", central, forward, descriptors=(machine_socket,), after_start=after)]


def controllers_wanted(plan: Plan) -> tuple[str, ...]:
    """The lab's controllers that no real program stands in for."""
    from ovnk.lab import controllers

    real_ones = kubebin.replaces(plan.kube_bin) if plan.kube_bin else frozenset[str]()
    if "*" in real_ones:
        return () if "scheduler" in real_ones else ("scheduler",)
    return tuple(name for name in controllers.NAMES if name not in real_ones)


def _serve(plan: Plan, state: State, folder: Path, token: str, descriptors: tuple[int, ...]) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "server.crt", folder / "server.key")

    async def serve() -> None:
        store = apiserver.Store(plan.api_state or state.folder / "api-server.journal")
        app = apiserver.create_app(store, token=token, service_cidrs=tuple(plan.service_cidrs.split(",")))
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        for descriptor in descriptors:
            await web.SockSite(runner, socket.socket(fileno=descriptor), ssl_context=tls, backlog=BACKLOG).start()
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        await stop.wait()
        await runner.cleanup()

    asyncio.run(serve())


def _relay(machine_socket: int) -> None:
    asyncio.run(relay.relay(socket.socket(fileno=machine_socket), LOOPBACK, API_PORT))


def _listen(address: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address, API_PORT), family=family, backlog=BACKLOG)


def _port(descriptor: int) -> int:
    duplicate = socket.socket(fileno=descriptor)
    port: int = duplicate.getsockname()[1]
    duplicate.detach()
    return port


def _write_private(file: Path, text: str) -> None:
    file.touch(mode=0o600)
    file.write_text(text + "\n")
