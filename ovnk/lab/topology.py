"""The logical topology as a tree: routers, the switches on them, the ports of each. Read from the northbound as it is.

It shows what is in the database, whoever put it there, not what should be.
"""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.tree import Tree

from ovnk.errors import LabError

# table → the columns that the tree shows
COLUMNS = {
    "Logical_Router": ("name", "ports"),
    "Logical_Router_Port": ("_uuid", "name", "networks"),
    "Logical_Switch": ("name", "ports"),
    "Logical_Switch_Port": ("_uuid", "name", "type", "addresses", "options", "up"),
}

Rows = Mapping[str, Sequence[Mapping[str, Any]]]


def read(northbound_socket: Path) -> Rows:
    """The rows of the four tables as OVSDB's JSON. Raises LabError when the database does not answer."""
    selects = [
        {"op": "select", "table": table, "where": [], "columns": list(columns)} for table, columns in COLUMNS.items()
    ]
    request = json.dumps(["OVN_Northbound", *selects])
    command = ["ovsdb-client", "transact", f"unix:{northbound_socket}", request]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        raise LabError(f'the northbound "{northbound_socket}" does not answer: {run.stderr.strip()}')
    return {table: result["rows"] for table, result in zip(COLUMNS, json.loads(run.stdout), strict=True)}


def tree(rows: Rows) -> Tree:
    """The tree, everything by name. Switches on no router stand beside the routers."""
    switch_ports = {_elements(port["_uuid"])[0]: port for port in rows["Logical_Switch_Port"]}
    router_ports = {_elements(port["_uuid"])[0]: port for port in rows["Logical_Router_Port"]}
    behind: dict[str, Mapping[str, Any]] = {}
    alone = []
    for switch in _by_name(rows["Logical_Switch"]):
        towards = [dict(switch_ports[port]["options"][1]).get("router-port") for port in _elements(switch["ports"])]
        routers = [name for name in towards if name]
        behind.update(dict.fromkeys(routers, switch))
        alone += [] if routers else [switch]
    root = Tree("[bold]northbound[/]")
    for router in _by_name(rows["Logical_Router"]):
        branch = root.add(f"[bold]router[/] {router['name']}")
        for port in _by_name([router_ports[port] for port in _elements(router["ports"])]):
            label = f"[bold]switch[/] {{}}  [dim]{', '.join(_elements(port['networks']))} is the router[/]"
            if port["name"] in behind:
                switch = behind[port["name"]]
                _add_ports(branch.add(label.format(switch["name"])), switch, switch_ports)
            else:
                branch.add(f"port {port['name']}")
    for switch in alone:
        _add_ports(root.add(f"[bold]switch[/] {switch['name']}"), switch, switch_ports)
    return root


def _add_ports(branch: Tree, switch: Mapping[str, Any], ports: Mapping[str, Mapping[str, Any]]) -> None:
    for port in _by_name([ports[port] for port in _elements(switch["ports"])]):
        if port["type"] == "router":
            continue
        _, _, addresses = " ".join(_elements(port["addresses"])).partition(" ")
        state = "[green]up[/]" if port["up"] is True else "[yellow]down[/]"
        branch.add(f"{port['name']}  [cyan]{addresses}[/]  {state}")


def _by_name(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted(rows, key=lambda row: str(row["name"]))


def _elements(value: Any) -> list[str]:
    """A set column's elements as OVSDB's JSON writes them (RFC 7047 §5.1), a single one or a UUID included."""
    if isinstance(value, list) and value and value[0] == "set":
        return [_elements(element)[0] for element in value[1]]
    return [value[1]] if isinstance(value, list) else [value]
