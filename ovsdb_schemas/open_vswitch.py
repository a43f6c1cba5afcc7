"""Open_vSwitch: the tables and columns a node's agent uses, as ovs-vswitchd.conf.db(5) describes them."""

from dataclasses import replace

from ovsdb_schemas.columns import (
    BOOLEAN,
    INTEGER,
    OPTIONAL_INTEGER,
    OPTIONAL_STRING,
    STRING,
    STRING_MAP,
    STRINGS,
    Table,
    Tables,
    strong,
    written_by,
)

DATABASE = "Open_vSwitch"

_DAEMON = "ovs-vswitchd"

TABLES: Tables = {
    "Open_vSwitch": Table(
        singleton=True,
        columns={
            "bridges": strong("Bridge"),
            "external_ids": STRING_MAP,
            "other_config": STRING_MAP,
            "next_cfg": INTEGER,
            "cur_cfg": written_by(_DAEMON, INTEGER),
            "ovs_version": OPTIONAL_STRING,
            "datapath_types": written_by(
                _DAEMON, replace(STRINGS, since="2.3", without="the datapath type must be given by hand")
            ),
            "iface_types": written_by(
                _DAEMON, replace(STRINGS, since="2.3", without="encapsulations are not checked beforehand")
            ),
        },
    ),
    "Bridge": Table(
        root=False,
        columns={
            "name": STRING,
            "ports": strong("Port"),
            "datapath_type": STRING,
            "fail_mode": OPTIONAL_STRING,
            "mcast_snooping_enable": BOOLEAN,
            "other_config": STRING_MAP,
            "external_ids": STRING_MAP,
        },
    ),
    "Port": Table(
        root=False,
        columns={
            "name": STRING,
            "interfaces": strong("Interface"),
            "other_config": STRING_MAP,
            "external_ids": STRING_MAP,
        },
    ),
    "Interface": Table(
        root=False,
        columns={
            "name": STRING,
            "type": STRING,
            "options": STRING_MAP,
            "mac": OPTIONAL_STRING,
            "mtu_request": replace(
                OPTIONAL_INTEGER, since="2.6", without="an internal port's MTU is set with rtnetlink alone"
            ),
            "external_ids": STRING_MAP,
            "ofport": written_by(_DAEMON, OPTIONAL_INTEGER),
            "mac_in_use": written_by(_DAEMON, OPTIONAL_STRING),
            "error": written_by(_DAEMON, OPTIONAL_STRING),
        },
    ),
}
