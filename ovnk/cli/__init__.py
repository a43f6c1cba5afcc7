"""The command line: one file a command group, imported only when it is asked for.

A daemon must not pay for the lab's imports, nor `ovnk version` for Kubernetes', so commands are found by name in
a table and their modules loaded on use.
"""

import importlib
import importlib.util
import sys

import typer

from ovnk import __version__
from ovnk.errors import ConfigError, InvalidObject, LabError

# command → its one-line help; the module is ovnk.cli.<command>, holding `app` (a group) or `command` (a function)
COMMANDS = {
    "compile": "turn manifests into northbound text; no cluster and no server needed",
    "controller": "run the controller: the Kubernetes API in, the OVN northbound out",
    "demo": "boot a lab, start pods, show who reaches whom, and take it down again",
    "lab": "a whole cluster on this machine: real OVS and OVN, nodes as network namespaces",
    "node": "run the node agent: answers the CNI plug-in and sets the node up",
    "version": "print the version",
}
# What only these commands need: the rest of ovnk is installed without the extra "lab".
LAB_COMMANDS = ("demo", "lab")
LAB_PACKAGES = ("cryptography", "jsonpatch")


def main() -> None:
    """The `ovnk` program. Exit code 2 and one line on stderr for what the user can mend."""
    name, arguments = (sys.argv[1:2] or ["--help"])[0], sys.argv[2:]
    if name in ("version", "--version"):
        print(__version__)
    elif name in ("help", "--help", "-h"):
        print(_help())
    elif name not in COMMANDS:
        print(f'ovnk: there is no command "{name}"\n\n{_help()}', file=sys.stderr)
        sys.exit(2)
    else:
        try:
            _program(name)(args=arguments, prog_name=f"ovnk {name}")
        except (ConfigError, InvalidObject, LabError) as error:
            print(f"ovnk: {error}", file=sys.stderr)
            sys.exit(2)


def _program(name: str) -> typer.Typer:
    missing = [one for one in LAB_PACKAGES if importlib.util.find_spec(one) is None] if name in LAB_COMMANDS else ()
    if missing:
        raise ConfigError(f"ovnk {name} needs {' and '.join(missing)}; pip install 'ovnk[lab]' brings what is missing")
    module = importlib.import_module(f"ovnk.cli.{name}")
    app: typer.Typer | None = getattr(module, "app", None)
    if app is None:
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command()(module.command)
    return app


def _help() -> str:
    commands = "\n".join(f"  {name:<12}{what}" for name, what in COMMANDS.items())
    return (
        "Kubernetes networking on OVN: plans, explains and rebuilds what it programs.\n\n"
        f"usage: ovnk COMMAND …        ovnk COMMAND --help\n\n{commands}"
    )
