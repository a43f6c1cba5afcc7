"""The databases of a lab as they are, row by row, and what the northbound should be."""

import json
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ovnk import manifests
from ovnk.compiler import Compiler
from ovnk.kube import decode
from ovnk.kube.objects import NodeNetwork, Put
from ovnk.settings import ClusterSettings
from ovsdb_schemas.northbound import TABLES
from tests import ovsdb
from tests.labs import Lab
from tests.northbound.cluster import expected

Rows = list[dict[str, Any]]
Dump = dict[tuple[str, str], dict[str, Any]]


def select(socket: Path, database: str, *tables: str) -> dict[str, Rows]:
    """Rows by table, as the server writes them."""
    operations = [{"op": "select", "table": table, "where": []} for table in tables]
    command = ["ovsdb-client", "transact", f"unix:{socket}", json.dumps([database, *operations])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {table: result["rows"] for table, result in zip(tables, json.loads(done.stdout), strict=True)}


def versions(lab: Lab) -> dict[tuple[str, str], str]:
    """The version of each row that is ours, by table and name (UUID where there is none); it changes with the row."""
    found = select(lab.northbound_socket, "OVN_Northbound", *TABLES)
    return {
        (table, row.get("name") or row["_uuid"][1]): row["_version"][1]
        for table, rows in found.items()
        for row in rows
        if not TABLES[table].singleton
    }


def row(lab: Lab, table: str, name: str) -> dict[str, Any]:
    """The one row of that name."""
    (found,) = [row for row in select(lab.northbound_socket, "OVN_Northbound", table)[table] if row["name"] == name]
    return found


def uuids(lab: Lab) -> dict[tuple[str, str], str]:
    """The UUID of each northbound row that has a name, by table and name."""
    found = select(lab.northbound_socket, "OVN_Northbound", *TABLES)
    return {(table, row["name"]): row["_uuid"][1] for table, rows in found.items() for row in rows if row.get("name")}


def interface_ids(lab: Lab, node: str) -> set[str]:
    """The logical ports on the node's integration bridge: the iface-ids of its Interfaces."""
    said = lab.exec(f"node/{node}", "ovs-vsctl", "--format=json", "--columns=external_ids", "list", "Interface").stdout
    ids = [dict(row[0][1]).get("iface-id") for row in json.loads(said)["data"]]
    return {one for one in ids if one}


def actual(lab: Lab) -> Dump:
    """The rows of the tables that are ours, with the columns that are ours and not empty, by (table, UUID)."""
    return {
        (table, uuid): {name: value for name, value in columns.items() if not TABLES[table].columns[name].written_by}
        for (table, uuid), columns in ovsdb.dump(Reached(lab.northbound_socket)).items()
        if table in TABLES and not TABLES[table].singleton
    }


def wanted(lab: Lab, cluster_cidrs: Sequence[str], service_cidrs: Sequence[str], told: bool = False) -> Dump:
    """What a fresh compile of the API's objects gives, as `actual` has it.

    AssertionError where the objects are nothing to be content with, unless it is known that something is `told`.
    """
    settings = ClusterSettings(tuple(cluster_cidrs), tuple(service_cidrs))
    kinds = ",".join(kind.lower() for kind in (*decode.KINDS, *decode.OPTIONAL_KINDS))
    values, invalid = manifests.load(lab.kubectl("get", kinds, "--all-namespaces", "--output=json"))
    assert not invalid
    compiler = Compiler(settings.cluster, settings.networks)
    for value in values:
        if not isinstance(value, NodeNetwork):
            compiler.apply(Put(value))
    notices = compiler.lead(value for value in values if isinstance(value, NodeNetwork))
    settled, more = compiler.settle()
    assert settled
    assert not compiler.graph.failures
    assert told or not [*notices, *more]
    facts: Iterable[Any] = compiler.outputs.northbound
    return {seat: columns for seat, columns in expected(facts).items() if not TABLES[seat[0]].singleton}


class Reached(ovsdb.OvsdbServer):
    """A server that somebody else runs."""

    def __init__(self, socket: Path) -> None:
        self.schema_file, self.socket = ovsdb.NORTHBOUND, socket
