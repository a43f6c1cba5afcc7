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


class Bridge:
    """One bridge, to which ovs-ofctl speaks. `ovs` is where the database is; the bridge's own socket is beside it."""

    def __init__(self, ovs: str, name: str) -> None:
        kind, _, path = ovs.partition(":")
        self.target = f"unix:{Path(path).parent / name}.mgmt" if kind == "unix" else name

    async def command(self, command: str, *arguments: str, stdin: str = "") -> str:
        """Runs `ovs-ofctl COMMAND BRIDGE ARGUMENTS`, options before the command; its complaint, "" if all is well."""
        try:
            process = await asyncio.create_subprocess_exec(
                "ovs-ofctl",
                *command.split(),
                self.target,
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            return f"ovs-ofctl: {error.strerror}"
        _, complaint = await process.communicate(stdin.encode())
        return complaint.decode(errors="replace").strip() or "ovs-ofctl failed" if process.returncode else ""


class FlowKeeper:
    """Keeps our flows on one bridge."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
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
            self._bridge.target,
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
                    self._say(await self._bridge.command("--bundle add-flows", "-", stdin=commands))
        finally:
            if monitor.returncode is None:
                monitor.kill()
            await monitor.wait()

    def _say(self, trouble: str) -> None:
        """Once for each trouble; "" is its end."""
        if trouble and trouble != self._trouble:
            log.warning("clients of services with session affinity lose their first packets", why=trouble)
        self._trouble = trouble
