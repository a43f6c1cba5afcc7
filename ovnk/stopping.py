"""How a daemon ends: its parts run until it is told to stop or one of them ends by itself; then all of them end."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any


async def run_until_stopped(*parts: Coroutine[Any, Any, None]) -> list[Exception]:
    """Run the parts until SIGTERM or SIGINT comes or one of them ends; what they raised, which is nothing as a rule."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    tasks = [asyncio.create_task(part) for part in (*parts, stop.wait())]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    # A task that is cancelled gives a CancelledError, which is no Exception.
    return [one for one in await asyncio.gather(*tasks, return_exceptions=True) if isinstance(one, Exception)]
