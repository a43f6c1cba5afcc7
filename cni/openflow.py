"""ovs-ofctl as a process: hears of the integration bridge's flows and puts ours beside ovn-controller's.

One process listens for as long as the agent runs; another writes when something is to be written. A bridge that is made
anew, or an ovn-controller that starts and clears it, is heard of like any change. What is written is cni/affinity.py's
business.
"""

import asyncio
from pathlib import Path

import structlog

from cni import affinity
from cni.affinity import Flows

# The bridge comes and goes with ovs-vswitchd, and nobody says when it is there again.
_RETRY_S = 1.0
_CHUNK_BYTES = 1 << 16
# It would outlive an agent that is killed, and listen for nobody.
_NOT_WITHOUT_US = ("setpriv", "--pdeathsig", "KILL")

log = structlog.get_logger(__name__)


class FlowKeeper:
    """Keeps our flows on one bridge. `ovs` is where the database is; the bridge's own socket is beside it."""

    def __init__(self, ovs: str, bridge: str) -> None:
        kind, _, path = ovs.partition(":")
        self._bridge = f"unix:{Path(path).parent / bridge}.mgmt" if kind == "unix" else bridge
        self._trouble = ""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._follow()
            except OSError as error:
                self._say(f"ovs-ofctl: {error.strerror}")
            await asyncio.sleep(_RETRY_S)

    async def _follow(self) -> None:
        """While the bridge is there. Raises OSError where it cannot be run."""
        monitor = await asyncio.create_subprocess_exec(
            *_NOT_WITHOUT_US,
            "ovs-ofctl",
            "monitor",
            self._bridge,
            affinity.WATCH,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        assert monitor.stdout is not None
        flows, rest = Flows(), b""
        try:
            while chunk := await monitor.stdout.read(_CHUNK_BYTES):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    flows.take(line.decode(errors="replace"))
                if commands := flows.commands():
                    await self._write(commands)
        finally:
            if monitor.returncode is None:
                monitor.kill()
            await monitor.wait()

    async def _write(self, commands: str) -> None:
        process = await asyncio.create_subprocess_exec(
            "ovs-ofctl",
            "--bundle",
            "add-flows",
            self._bridge,
            "-",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        _, complaint = await process.communicate(commands.encode())
        if process.returncode:
            self._say(complaint.decode(errors="replace").strip())
        else:
            self._trouble = ""

    def _say(self, trouble: str) -> None:
        if trouble != self._trouble:
            log.warning("clients of services with session affinity lose their first packets", why=trouble)
        self._trouble = trouble
