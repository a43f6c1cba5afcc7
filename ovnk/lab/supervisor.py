"""The lab's supervisor: starts daemons in their places, restarts those that die, and says how they are.

It runs in the lab's first process, which is init of its own process namespace: it reaps every orphan too, and when it
ends the kernel ends all the rest. One thread, one selector; it decides nothing about what the daemons do.
"""

import contextlib
import os
import selectors
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ovnk.lab.places import Place, child, close_all_but, environment

BACK_OFF_S_MIN = 0.1
BACK_OFF_S_MAX = 5.0
# A daemon that lived this long has earned a quick restart again.
SETTLED_S = 10.0


@dataclass(frozen=True)
class Daemon:
    """A process to keep alive: a command, or a function that runs in a forked child (which saves the imports).

    `after_start` runs in the daemon's place, in a child of its own, each time the daemon was started.
    `descriptors` stay open in it; all others are closed.
    """

    name: str
    place: Place
    run: tuple[str, ...] | Callable[[], object]
    environment: Mapping[str, str] = field(default_factory=dict)
    after_start: Callable[[], None] | None = None
    descriptors: tuple[int, ...] = ()


@dataclass
class Standing:
    """How a daemon is: its process while it runs, when it started, how often it was restarted and why."""

    daemon: Daemon
    process: int | None = None
    started: float = 0.0
    restarts: int = 0
    back_off_s: float = BACK_OFF_S_MIN
    wanted: bool = True
    due: float | None = None
    last_exit: str = ""
    one_shots: set[int] = field(default_factory=set)
    after_start_failed: bool = False


class Supervisor:
    """Keeps a set of daemons running. `log(daemon)` is the file for a daemon's output."""

    def __init__(self, log: Callable[[str], Path]) -> None:
        self.log = log
        self.standings: dict[str, Standing] = {}
        self.selector = selectors.DefaultSelector()
        self._wake_out, self._wake_in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._wake_in, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.selector.register(self._wake_out, selectors.EVENT_READ, self._woken)

    def start(self, daemon: Daemon) -> None:
        """Start a daemon and keep it running from now on."""
        standing = self.standings[daemon.name] = Standing(daemon)
        self._launch(standing)

    def signal(self, name: str, number: int) -> None:
        """Send a daemon a signal; KeyError when there is none of that name, ProcessLookupError when it does not run."""
        standing = self.standings[name]
        if standing.process is None:
            raise ProcessLookupError(f"{name} is not running")
        os.kill(standing.process, number)

    def hold(self, name: str) -> None:
        """Stop a daemon with SIGTERM and do not restart it."""
        standing = self.standings[name]
        standing.wanted, standing.due = False, None
        if standing.process is not None:
            os.kill(standing.process, signal.SIGTERM)

    def release(self, name: str) -> None:
        """Run a daemon again that was held, at once."""
        standing = self.standings[name]
        standing.wanted, standing.back_off_s = True, BACK_OFF_S_MIN
        if standing.process is None:
            self._launch(standing)

    def turn(self, timeout_s: float | None = None) -> None:
        """Wait for the next thing to happen, at most `timeout_s`, and handle it."""
        due = [standing.due for standing in self.standings.values() if standing.due is not None]
        now = time.monotonic()
        waits = [max(0.0, when - now) for when in due] + ([] if timeout_s is None else [timeout_s])
        for key, _ in self.selector.select(min(waits) if waits else None):
            key.data()
        now = time.monotonic()
        for standing in self.standings.values():
            if standing.due is not None and standing.due <= now:
                standing.due = None
                standing.restarts += 1
                self._launch(standing)

    def until(self, condition: Callable[[], bool], what: str, timeout_s: float = 15.0) -> None:
        """Handle what happens until `condition` holds; raises TimeoutError naming `what`."""
        end = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"{what} did not come within {timeout_s:.0f} s")
            self.turn(0.005)

    def settled(self) -> bool:
        """Whether every `after_start` has ended; raises RuntimeError for one that failed."""
        for name, standing in self.standings.items():
            if standing.after_start_failed:
                raise RuntimeError(f"what follows the start of {name} failed; see {self.log(name + '.after-start')}")
        return not any(standing.one_shots for standing in self.standings.values())

    def end(self, names: tuple[str, ...], timeout_s: float) -> None:
        """Stop these daemons in good order, for at most `timeout_s`."""
        for name in names:
            if name in self.standings:
                self.hold(name)
        held = [self.standings[name] for name in names if name in self.standings]
        end = time.monotonic() + timeout_s
        while any(standing.process for standing in held) and time.monotonic() < end:
            self.turn(0.05)

    def _launch(self, standing: Standing) -> None:
        daemon = standing.daemon
        standing.process = child(daemon.place, lambda: self._become(daemon))
        standing.started = time.monotonic()
        if daemon.after_start is not None:
            after = daemon.after_start
            standing.one_shots.add(child(daemon.place, lambda: self._become(daemon, after)))

    def _become(self, daemon: Daemon, function: Callable[[], object] | None = None) -> None:
        """In the child: take the daemon's output, descriptors, environment and program."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        log = self.log(daemon.name if function is None else f"{daemon.name}.after-start")
        log.parent.mkdir(parents=True, exist_ok=True)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(source, target)
        close_all_but({0, 1, 2, *daemon.descriptors})
        os.setsid()
        os.environ.update(environment(daemon.environment))
        run = function or daemon.run
        try:
            if callable(run):
                run()
            else:
                os.execvpe(run[0], run, os.environ)
        except SystemExit as error:
            _flush()
            os._exit(error.code if isinstance(error.code, int) else 0 if error.code is None else 1)
        except BaseException:
            traceback.print_exc()
            _flush()
            os._exit(1)
        _flush()

    def _woken(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_out, 4096)
        while True:
            try:
                process, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if process == 0:
                return
            self._ended(process, status)

    def _ended(self, process: int, status: int) -> None:
        for standing in self.standings.values():
            if process in standing.one_shots:
                standing.one_shots.discard(process)
                standing.after_start_failed = status != 0
            if standing.process != process:
                continue
            standing.process = None
            standing.last_exit = _said(status)
            if standing.wanted:
                if time.monotonic() - standing.started > SETTLED_S:
                    standing.back_off_s = BACK_OFF_S_MIN
                standing.due = time.monotonic() + standing.back_off_s
                standing.back_off_s = min(standing.back_off_s * 2, BACK_OFF_S_MAX)


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()


def _said(status: int) -> str:
    """How a process ended, for people: "exit code 1", "SIGKILL"."""
    code = os.waitstatus_to_exitcode(status)
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
