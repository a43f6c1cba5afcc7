"""OVN_Northbound: the tables and columns we write or watch, as ovn-nb(5) describes them.

A column that is not stated here is not ours: it is neither compared nor reset on our rows, so that an operator may
use it. `since` is the OVN release that brought a column; columns without one are older than OVN 20.03.
"""

from dataclasses import replace

from ovsdb_schemas.columns import (
    BOOLEAN,
    INTEGER,
    OPTIONAL_BOOLEAN,
    OPTIONAL_INTEGER,
    OPTIONAL_STRING,
    STRING,
    STRING_MAP,
    STRINGS,
    Table,
    Tables,
    strong,
    weak,
    written_by,
)

DATABASE = "OVN_Northbound"

_DAEMON = "ovn-northd"

TABLES: Tables = {
    "NB_Global": Table(
        singleton=True,
        columns={
            "name": STRING,
            "nb_cfg": INTEGER,
            "sb_cfg": written_by(_DAEMON, INTEGER),
            "hv_cfg": written_by(_DAEMON, INTEGER),
            "options": STRING_MAP,
            "external_ids": STRING_MAP,
        },
    ),
    "Logical_Switch": Table(
        columns={
            "name": STRING,
            "ports": strong("Logical_Switch_Port"),
            "acls": strong("ACL"),
            "load_balancer": weak("Load_Balancer"),
            "load_balancer_group": replace(strong("Load_Balancer_Group"), since="21.12"),
            "other_config": STRING_MAP,
            "external_ids": STRING_MAP,
        }
    ),
    "Logical_Switch_Port": Table(
        root=False,
        columns={
            "name": STRING,
            "type": STRING,
            "options": STRING_MAP,
            "parent_name": OPTIONAL_STRING,
            "tag_request": OPTIONAL_INTEGER,
            "addresses": STRINGS,
            "port_security": STRINGS,
            "enabled": OPTIONAL_BOOLEAN,
            "external_ids": STRING_MAP,
            "up": written_by(_DAEMON, OPTIONAL_BOOLEAN),
            "tag": written_by(_DAEMON, OPTIONAL_INTEGER),
            "dynamic_addresses": written_by(_DAEMON, OPTIONAL_STRING),
        },
    ),
    "Logical_Router": Table(
        columns={
            "name": STRING,
            "ports": strong("Logical_Router_Port"),
            "static_routes": strong("Logical_Router_Static_Route"),
            "policies": strong("Logical_Router_Policy"),
            "load_balancer": weak("Load_Balancer"),
            "load_balancer_group": replace(strong("Load_Balancer_Group"), since="21.12"),
            "enabled": OPTIONAL_BOOLEAN,
            "options": STRING_MAP,
            "external_ids": STRING_MAP,
        }
    ),
    "Logical_Router_Port": Table(
        root=False,
        columns={
            "name": STRING,
            "mac": STRING,
            "networks": STRINGS,
            "peer": OPTIONAL_STRING,
            "enabled": OPTIONAL_BOOLEAN,
            "options": STRING_MAP,
            "ipv6_ra_configs": STRING_MAP,
            "external_ids": STRING_MAP,
            "ipv6_prefix": written_by(_DAEMON, STRINGS),
            "status": written_by(
                _DAEMON,
                replace(
                    STRING_MAP,
                    since="23.09",
                    without="the chassis that hosts a gateway port is read from the southbound",
                ),
            ),
        },
    ),
    "Logical_Router_Static_Route": Table(
        root=False,
        columns={
            "route_table": replace(STRING, since="21.12"),
            "ip_prefix": STRING,
            "policy": OPTIONAL_STRING,
            "nexthop": STRING,
            "output_port": OPTIONAL_STRING,
            "options": STRING_MAP,
            "external_ids": STRING_MAP,
        },
    ),
    "Logical_Router_Policy": Table(
        root=False,
        columns={
            "priority": INTEGER,
            "match": STRING,
            "action": STRING,
            "nexthops": replace(STRINGS, since="21.03"),
            "options": STRING_MAP,
            "external_ids": STRING_MAP,
        },
    ),
    "Load_Balancer": Table(
        columns={
            "name": STRING,
            "vips": STRING_MAP,
            "protocol": OPTIONAL_STRING,
            "selection_fields": replace(STRINGS, since="20.06"),
            "options": STRING_MAP,
            "external_ids": STRING_MAP,
        }
    ),
    "Load_Balancer_Group": Table(
        since="21.12",
        columns={
            "name": STRING,
            "load_balancer": weak("Load_Balancer"),
        },
    ),
    "ACL": Table(
        root=False,
        columns={
            "name": OPTIONAL_STRING,
            "priority": INTEGER,
            "direction": STRING,
            "match": STRING,
            "action": STRING,
            "log": BOOLEAN,
            "severity": OPTIONAL_STRING,
            "meter": OPTIONAL_STRING,
            "options": replace(STRING_MAP, since="22.03", without="replies to a logged packet are not logged"),
            "tier": replace(INTEGER, since="23.06", without="tiers are folded into priorities"),
            "external_ids": STRING_MAP,
        },
    ),
    "Port_Group": Table(
        columns={
            "name": STRING,
            "ports": weak("Logical_Switch_Port"),
            "acls": strong("ACL"),
            "external_ids": STRING_MAP,
        }
    ),
    "Address_Set": Table(
        columns={
            "name": STRING,
            "addresses": STRINGS,
            "external_ids": STRING_MAP,
        }
    ),
    "Meter": Table(
        columns={
            "name": STRING,
            "unit": STRING,
            "bands": strong("Meter_Band"),
            "fair": replace(OPTIONAL_BOOLEAN, since="20.12"),
            "external_ids": STRING_MAP,
        }
    ),
    "Meter_Band": Table(
        root=False,
        columns={
            "action": STRING,
            "rate": INTEGER,
            "burst_size": INTEGER,
            "external_ids": STRING_MAP,
        },
    ),
}
