"""The command line: one file a command group, imported only when it is asked for.

A daemon must not pay for the lab's imports, nor `ovnk version` for Kubernetes', so commands are found by name in
a table and their modules loaded on use.
"""

import importlib
import sys
from typing import Any

import click
import typer

from ovnk import __version__, errors

# command → its one-line help; the module is ovnk.cli.<command>, holding `app` (a group) or `command` (a function)
COMMANDS = {
    "compile": "Turn manifests into northbound text; no cluster and no server needed.",
    "controller": "Run the controller: the Kubernetes API in, the OVN northbound out.",
    "lab": "A whole cluster on this machine: real OVS and OVN, nodes as network namespaces.",
    "node": "Run the node agent: answers the CNI plug-in and sets the node up.",
    "version": "Print the version.",
}


class Commands(click.Group):
    """A click group whose commands are loaded from their modules when named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command's click object, or None when there is no such command."""
        if cmd_name not in COMMANDS:
            return None
        if cmd_name == "version":
            return click.Command("version", callback=lambda: print(__version__), help=COMMANDS[cmd_name])
        module = importlib.import_module(f"ovnk.cli.{cmd_name}")
        app = getattr(module, "app", None)
        if app is None:
            app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
            app.command(cmd_name, help=module.command.__doc__)(module.command)
        loaded: Any = typer.main.get_command(app)
        loaded.name = cmd_name
        return loaded  # type: ignore[no-any-return]  # typer's stubs call it Any

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table itself is the help: listing must not import every command."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def main() -> None:
    """The `ovnk` program. Exit code 2 and one line on stderr for what the user can mend."""
    group = Commands("ovnk", help="Kubernetes networking on OVN: plans, explains and rebuilds what it programs.")
    try:
        group.main()
    except (errors.ConfigError, errors.InvalidObject) as error:
        print(f"ovnk: {error}", file=sys.stderr)
        sys.exit(2)
