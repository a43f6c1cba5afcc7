"""`python -m ovnk.lab.controllers --kubeconfig FILE [NAME…]`: the lab's controllers as one process."""

import argparse
import asyncio
import contextlib
import signal
import sys
from collections.abc import Collection
from pathlib import Path

import structlog

from ovnk import errors
from ovnk.kube.client import Client
from ovnk.lab import controllers


async def _serve(kubeconfig: Path, which: Collection[str]) -> None:
    """Run until SIGTERM or SIGINT."""
    log = structlog.get_logger()
    client = await Client.connect(kubeconfig)
    work = asyncio.ensure_future(
        controllers.run(client, which, synced=lambda: log.info("controllers started", which=list(which)))
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, work.cancel)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await work
    finally:
        await client.close()


def main() -> None:
    """Exit code 0 after a signal, 2 for a wrong name or kubeconfig."""
    parser = argparse.ArgumentParser(prog="ovnk.lab.controllers", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True, help="the cluster and who to be there")
    parser.add_argument("names", nargs="*", metavar="NAME", help="those to run; all when none is named")
    arguments = parser.parse_args()
    try:
        asyncio.run(_serve(arguments.kubeconfig, arguments.names or controllers.NAMES))
    except errors.ConfigError as error:
        print(f"ovnk: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
