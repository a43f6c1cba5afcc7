"""nft(8) as a process: the one way in which the agent reads and writes nftables.

Each call is one process and one transaction, all or nothing. Who else writes is heard of by cni/nft_monitor.py.
"""

import asyncio
from collections.abc import Callable


class RulesetError(Exception):
    """nft(8) cannot be run, or refuses the rules; the message is its own."""


def ignore(_process: int) -> None:
    """For who need not know the process's id."""


async def run(*arguments: str, stdin: str | None = None, started: Callable[[int], None] = ignore) -> bytes:
    """What nft printed. `started` is told the process's id before nft has read anything. Raises RulesetError."""
    try:
        process = await asyncio.create_subprocess_exec(
            "nft",
            *arguments,
            stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise RulesetError(f"nft cannot be run ({error.strerror}); install nftables on this node") from error
    started(process.pid)
    output, complaint = await process.communicate(stdin.encode() if stdin is not None else None)
    if process.returncode:
        raise RulesetError(f"nft {arguments[0]}: {complaint.decode(errors='replace').strip()}")
    return output
