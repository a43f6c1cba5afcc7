"""The node's rows in OVSDB besides its pods' ports: the chassis' settings, the bridge, the management port.

One Command that writes what differs and nothing else, so that an agent's restart writes nothing.
"""

from typing import Any

from ovsdbapp.backend.ovs_idl import command, idlutils

from cni.settings import Management, Tls, Vswitch
from ovnk.contract import MANAGEMENT_INTERFACE


def seen(tables: Any, bridge: str, kernel_datapath: bool) -> Vswitch:
    """What the replica says of Open vSwitch itself."""
    root = next(iter(tables["Open_vSwitch"].rows.values()), None)
    datapath = next((row.datapath_type for row in tables["Bridge"].rows.values() if row.name == bridge), "")
    return Vswitch(tuple(root.datapath_types) if root else (), kernel_datapath, datapath)


class Settle(command.BaseCommand):  # type: ignore[misc]  # ovsdbapp has no types
    """Makes the rows as given; what others set beside ours stays."""

    def __init__(
        self,
        api: Any,
        external_ids: dict[str, str],
        defaults: dict[str, str],
        bridge: str,
        datapath: str,
        management: Management | None,
        tls: Tls | None,
    ) -> None:
        super().__init__(api)
        self._external_ids = external_ids
        self._defaults = defaults
        self._bridge = bridge
        self._datapath = datapath
        self._management = management
        self._tls = tls

    def run_idl(self, txn: Any) -> None:
        """Composes the operations from the replica as it is now."""
        root = next(iter(self.api.idl.tables["Open_vSwitch"].rows.values()), None)
        if root is None:
            # `ovs-vsctl init` makes this row; the next change, which brings it to us, goes on from here.
            txn.add_op({"op": "insert", "table": "Open_vSwitch", "row": {"external_ids": _map(self._external_ids)}})
            return
        absent = {key: value for key, value in self._defaults.items() if key not in root.external_ids}
        _set_keys(txn, "Open_vSwitch", root, self._external_ids | absent)
        if self._tls is not None:
            self._settle_tls(txn, root, self._tls)
        bridge = idlutils.row_by_value(self.api.idl, "Bridge", "name", self._bridge, None)
        if bridge is None:
            self._add_bridge(txn, root)
            return
        if self._datapath == "netdev":
            _settle_capabilities(txn, root)
        wanted = {"datapath_type": self._datapath, "fail_mode": "secure"}
        has = {"datapath_type": bridge.datapath_type, "fail_mode": "".join(bridge.fail_mode)}
        _update(txn, "Bridge", bridge, wanted, has)
        if self._management is not None:
            self._settle_management(txn, bridge, self._management)

    def _add_bridge(self, txn: Any, root: Any) -> None:
        """The bridge with the internal port of its own name; ports of ours follow in a transaction that finds it."""
        local = {"name": self._bridge, "type": "internal"}
        port = {"name": self._bridge, "interfaces": ["named-uuid", "local_interface"]}
        bridge = {
            "name": self._bridge,
            "datapath_type": self._datapath,
            "fail_mode": "secure",
            "ports": ["named-uuid", "local_port"],
        }
        txn.add_op({"op": "insert", "table": "Interface", "row": local, "uuid-name": "local_interface"})
        txn.add_op({"op": "insert", "table": "Port", "row": port, "uuid-name": "local_port"})
        txn.add_op({"op": "insert", "table": "Bridge", "row": bridge, "uuid-name": "bridge"})
        _mutate(txn, "Open_vSwitch", root, [["bridges", "insert", ["named-uuid", "bridge"]]])

    def _settle_management(self, txn: Any, bridge: Any, management: Management) -> None:
        external_ids = {"iface-id": management.interface_id, "attached-mac": management.mac}
        wanted = {"type": "internal", "mac": management.mac, "mtu_request": management.mtu_bytes}
        interface = idlutils.row_by_value(self.api.idl, "Interface", "name", MANAGEMENT_INTERFACE, None)
        if interface is not None:
            has = {"type": interface.type, "mac": _one(interface.mac), "mtu_request": _one(interface.mtu_request)}
            _update(txn, "Interface", interface, wanted, has)
            _set_keys(txn, "Interface", interface, external_ids)
            return
        row = wanted | {"name": MANAGEMENT_INTERFACE, "external_ids": _map(external_ids)}
        port = {"name": MANAGEMENT_INTERFACE, "interfaces": ["named-uuid", "management_interface"]}
        txn.add_op({"op": "insert", "table": "Interface", "row": row, "uuid-name": "management_interface"})
        txn.add_op({"op": "insert", "table": "Port", "row": port, "uuid-name": "management_port"})
        _mutate(txn, "Bridge", bridge, [["ports", "insert", ["named-uuid", "management_port"]]])

    def _settle_tls(self, txn: Any, root: Any, tls: Tls) -> None:
        """ovn-controller started without TLS files of its own takes them from here (ovn-controller(8))."""
        wanted = {"private_key": tls.private_key, "certificate": tls.certificate, "ca_cert": tls.ca_cert}
        if root.ssl:
            row = root.ssl[0]
            _update(txn, "SSL", row, wanted, {column: getattr(row, column) for column in wanted})
            return
        txn.add_op({"op": "insert", "table": "SSL", "row": wanted, "uuid-name": "tls"})
        txn.add_op(
            {"op": "update", "table": "Open_vSwitch", "where": _where(root), "row": {"ssl": ["named-uuid", "tls"]}}
        )


def _settle_capabilities(txn: Any, root: Any) -> None:
    """Takes "ct_zero_snat" off what the userspace datapath says it can do.

    ovn-controller would commit each connection with a translation to its own source. Open vSwitch before 3.2 keeps a
    second entry for that, which never expires by itself: a packet with the ports of a connection that has ended and is
    not swept yet finds that entry alone, and ovs-vswitchd aborts (lib/conntrack.c, conn_update_state). A client that
    asked from one port every half a minute was enough to leave a node's pods without network for two seconds each time.
    ovs-vswitchd says it anew at each start, and we hear of that.
    """
    row = root.datapaths.get("netdev")
    if row is not None and row.capabilities.get("ct_zero_snat") == "true":
        _set_keys(txn, "Datapath", row, {"ct_zero_snat": "false"}, "capabilities")


def _set_keys(txn: Any, table: str, row: Any, wanted: dict[str, str], column: str = "external_ids") -> None:
    """Sets keys of a map; an insert alone leaves a key that is there as it is (RFC 7047 §5.1)."""
    present = getattr(row, column)
    differing = {key: value for key, value in wanted.items() if present.get(key) != value}
    if differing:
        deletion = [column, "delete", ["set", sorted(differing)]]
        _mutate(txn, table, row, [deletion, [column, "insert", _map(differing)]])


def _update(txn: Any, table: str, row: Any, wanted: dict[str, Any], has: dict[str, Any]) -> None:
    differing = {column: value for column, value in wanted.items() if has[column] != value}
    if differing:
        txn.add_op({"op": "update", "table": table, "where": _where(row), "row": differing})


def _mutate(txn: Any, table: str, row: Any, mutations: list[list[Any]]) -> None:
    txn.add_op({"op": "mutate", "table": table, "where": _where(row), "mutations": mutations})


def _where(row: Any) -> list[list[Any]]:
    return [["_uuid", "==", ["uuid", str(row.uuid)]]]


def _map(values: dict[str, str]) -> list[Any]:
    return ["map", sorted(values.items())]


def _one(values: list[Any]) -> Any:
    """An optional column's value, or None."""
    return values[0] if values else None
