"""The API server alone: `python -m ovnk.lab.apiserver --listen 127.0.0.1:0 --state FILE --token T`.

Prints the URL it listens on, then serves until SIGTERM or SIGINT.
"""

import argparse
import asyncio
import signal
import socket
import ssl
import sys
from pathlib import Path

from aiohttp import web

from ovnk.errors import ConfigError
from ovnk.lab.apiserver import server
from ovnk.lab.apiserver.store import LOG_LENGTH, Store


def main() -> None:
    """Parse the flags and serve."""
    parser = argparse.ArgumentParser(prog="python -m ovnk.lab.apiserver", description=__doc__)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--listen", default="127.0.0.1:0", help="address:port, port 0 for any free one")
    where.add_argument("--fd", type=int, help="a listening socket inherited from the parent")
    parser.add_argument("--state", type=Path, help="file that keeps the objects; without it they are in memory only")
    parser.add_argument("--token", help="the bearer token every request must carry")
    parser.add_argument("--tls-cert", type=Path)
    parser.add_argument("--tls-key", type=Path)
    parser.add_argument("--service-cidr", default=",".join(server.SERVICE_CIDRS), help="one a family, primary first")
    parser.add_argument("--log-length", type=int, default=LOG_LENGTH, help="events kept a resource, for watches")
    parser.add_argument("--bookmark-interval", type=float, default=server.BOOKMARK_INTERVAL_S, help="seconds")
    flags = parser.parse_args()
    try:
        asyncio.run(_serve(flags))
    except (ConfigError, OSError) as error:
        print(f"ovnk-apiserver: {error}", file=sys.stderr)
        sys.exit(2)


async def _serve(flags: argparse.Namespace) -> None:
    store = Store(flags.state, log_length=flags.log_length)
    app = server.create_app(
        store,
        token=flags.token,
        service_cidrs=tuple(flags.service_cidr.split(",")),
        bookmark_interval_s=flags.bookmark_interval,
    )
    # A client that goes away ends its watch at once, not at the next event.
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
    await runner.setup()
    listener = _listener(flags)
    context = None
    if flags.tls_cert is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(flags.tls_cert, flags.tls_key)
    await web.SockSite(runner, listener, ssl_context=context, backlog=512).start()
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    print(f"{'https' if context else 'http'}://{shown}:{port}", flush=True)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await runner.cleanup()
    store.close()


def _listener(flags: argparse.Namespace) -> socket.socket:
    if flags.fd is not None:
        return socket.socket(fileno=flags.fd)
    host, _, port = flags.listen.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdigit():
        raise ConfigError(f'--listen "{flags.listen}" is not address:port, as in 127.0.0.1:0 or [::1]:6443')
    return socket.create_server((host, int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET)


if __name__ == "__main__":
    main()
