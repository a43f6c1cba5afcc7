"""The OVSDB files a lab starts with, made by ovsdb-tool before any server runs.

A node's Open vSwitch database has br-phy in it from the start, which saves an ovs-vsctl a node; the agent sets
the rest (external_ids, br-int, ovnk0) as it does on any machine.
"""

import json
import subprocess
from pathlib import Path

from ovnk.lab.fabric import UNDERLAY_BRIDGE, UPLINK
from ovnk.lab.plan import Datapath

VSWITCH_SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
NORTHBOUND_SCHEMA = Path("/usr/share/ovn/ovn-nb.ovsschema")
SOUTHBOUND_SCHEMA = Path("/usr/share/ovn/ovn-sb.ovsschema")


def create(file: Path, schema: Path) -> None:
    """An empty database."""
    _tool("create", str(file), str(schema))


def create_vswitch(file: Path, datapath: Datapath, mac: str) -> None:
    """A node's Open vSwitch database; `mac` is br-phy's."""
    create(file, VSWITCH_SCHEMA)
    _tool("transact", str(file), json.dumps(["Open_vSwitch", *_first_rows(datapath, mac)]))


def _first_rows(datapath: Datapath, mac: str) -> list[dict[str, object]]:
    if datapath is Datapath.SYSTEM:
        return [{"op": "insert", "table": "Open_vSwitch", "row": {}}]
    ports = {UNDERLAY_BRIDGE: "internal", UPLINK: ""}
    operations: list[dict[str, object]] = []
    for number, (name, kind) in enumerate(ports.items()):
        interface = {"name": name, "type": kind}
        port = {"name": name, "interfaces": ["named-uuid", f"interface{number}"]}
        operations.append({"op": "insert", "table": "Interface", "uuid-name": f"interface{number}", "row": interface})
        operations.append({"op": "insert", "table": "Port", "uuid-name": f"port{number}", "row": port})
    bridge = {
        "name": UNDERLAY_BRIDGE,
        "datapath_type": str(datapath),
        "other_config": ["map", [["hwaddr", mac]]],
        "ports": ["set", [["named-uuid", f"port{number}"] for number in range(len(ports))]],
    }
    operations.append({"op": "insert", "table": "Bridge", "uuid-name": "bridge", "row": bridge})
    operations.append({"op": "insert", "table": "Open_vSwitch", "row": {"bridges": ["named-uuid", "bridge"]}})
    return operations


def _tool(*arguments: str) -> None:
    done = subprocess.run(["ovsdb-tool", *arguments], capture_output=True, text=True, check=False)
    # ovsdb-tool reports a refused transaction on stdout, with exit code 0.
    if done.returncode or '"error"' in done.stdout:
        raise RuntimeError(f"ovsdb-tool {arguments[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
