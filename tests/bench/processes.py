"""A process of ours: started, listened to, measured by /proc, ended."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

PROGRAM = [sys.executable, "-c", "from ovnk.cli import main; main()"]
STOP_S = 10.0

_TICKS = os.sysconf("SC_CLK_TCK")


class Daemon:
    """An `ovnk` daemon that logs JSON lines, each of which is looked at as it comes."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.process, self.log = process, log
        self._said: set[str] = set()
        self._heard = asyncio.Condition()
        self._listening = asyncio.create_task(self._listen())

    @property
    def pid(self) -> int:
        return self.process.pid

    async def says(self, event: str, limit_s: float = 60) -> None:
        """Returns once it has logged the event; RuntimeError with its log when it ends or does not in time."""
        try:
            async with asyncio.timeout(limit_s), self._heard:
                await self._heard.wait_for(lambda: event in self._said or self._listening.done())
        except TimeoutError:
            pass
        if event not in self._said:
            raise RuntimeError(f'it never said "{event}":\n{self.log.read_text()[-3000:]}')

    def kilobytes(self, field: str) -> int:
        """VmRSS (now) or VmHWM (the most so far), as proc(5) has them."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))

    def cpu_s(self) -> float:
        """Processor time so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    async def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send the signal and wait for the end."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        try:
            async with asyncio.timeout(STOP_S):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()
        await self._listening

    async def _listen(self) -> None:
        assert self.process.stderr is not None
        with self.log.open("ab") as log:
            async for line in self.process.stderr:
                log.write(line)
                log.flush()
                event = _event(line)
                async with self._heard:
                    self._said.add(event)
                    self._heard.notify_all()
        async with self._heard:
            self._heard.notify_all()


@contextlib.asynccontextmanager
async def daemon(log: Path, *arguments: str) -> AsyncIterator[Daemon]:
    """`ovnk ARGUMENTS` for the time of the context."""
    process = await asyncio.create_subprocess_exec(
        *PROGRAM, *arguments, stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    started = Daemon(process, log)
    try:
        yield started
    finally:
        await started.end()


def _event(line: bytes) -> str:
    try:
        return str(json.loads(line).get("event", ""))
    except (ValueError, AttributeError):
        return ""
