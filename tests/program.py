"""The `ovnk` program in this very process: what it imports is paid once, and not for each call."""

import contextlib
import io
import sys
from dataclasses import dataclass
from unittest import mock

import structlog

from ovnk.cli import main


@dataclass(frozen=True)
class Ran:
    """What came of a call, named as subprocess names it."""

    returncode: int
    stdout: str
    stderr: str


def ovnk(*arguments: str) -> Ran:
    """The call's end; what the program does not answer by itself (a traceback, then) is raised."""
    output, complaint, code = io.StringIO(), io.StringIO(), 0
    with (
        mock.patch.object(sys, "argv", ["ovnk", *arguments]),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(complaint),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        finally:
            # A daemon's logs would go on into what was standard error.
            structlog.reset_defaults()
    return Ran(code, output.getvalue(), complaint.getvalue())
