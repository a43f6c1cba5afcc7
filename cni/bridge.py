"""Pods' ports on the integration bridge: added, removed, and awaited until OVN's flows are in place.

Adds and removals that arrive while a transaction is under way form the next one: ovs-vswitchd looks at the whole
bridge for each transaction, so 200 pods at once cost it a few looks, not 200. The Interface rows are the agent's
only record; it is read from the replica in memory. Ports that go though nobody asked us to take them off (somebody
deleted the port, the bridge, the database) are kept in mind, so that they can be put back (cni/verbs.py).
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ovsdbapp.backend.ovs_idl import command, idlutils

from cni import attachment
from cni.attachment import Attachment
from cni.protocol import INTERNAL, TRY_AGAIN_LATER, CniError
from cni.vswitch import Interface, VSwitch
from ovnk.errors import CommitError

# A transaction of this many ports takes ovsdb-server some 5 ms; more would only make the first wait longer.
_BATCH_MAX = 64


@dataclass(frozen=True, slots=True)
class Change:
    """Ports to remove by name and, after that, at most one to add."""

    add: Attachment | None
    remove: frozenset[str]


class Bridge:
    """The ports of pods on `bridge`. All methods belong to the event loop's thread."""

    def __init__(self, vswitch: VSwitch, bridge: str) -> None:
        self._vswitch = vswitch
        self._bridge = bridge
        self._attachments: dict[str, Attachment] = {}
        self._by_sandbox: dict[tuple[str, str], str] = {}
        self._lost: dict[str, Attachment] = {}
        # Names that we take off, until that is done.
        self._leaving: set[str] = set()
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._queue: list[tuple[Change, asyncio.Future[None]]] = []
        self._flushing: asyncio.Task[None] | None = None

    @property
    def attachments(self) -> Mapping[str, Attachment]:
        """All pods' ports by name."""
        return self._attachments

    @property
    def lost(self) -> Mapping[str, Attachment]:
        """The ports by name that somebody else took off the bridge."""
        return self._lost

    def forget(self, name: str) -> None:
        """A lost port is of no use any more."""
        self._lost.pop(name, None)

    def changed(self, name: str, interface: Interface | None) -> None:
        """Takes what the replica says of one interface, and wakes who waits for it."""
        known = self._attachments.pop(name, None)
        if known is not None and self._by_sandbox.get((known.container_id, known.ifname)) == name:
            del self._by_sandbox[known.container_id, known.ifname]
        now = attachment.read(name, interface.external_ids) if interface else None
        if now is not None:
            self._attachments[name] = now
            self._by_sandbox[now.container_id, now.ifname] = name
            self.forget(name)
        elif known is not None and name not in self._leaving:
            self._lost[name] = known
        self._wake(name, interface)

    async def known(self, timeout_s: float) -> None:
        """Returns once all ports are known (VSwitch.known)."""
        await self._vswitch.known(timeout_s)

    def find(self, container_id: str, ifname: str) -> Attachment | None:
        """The port of a sandbox's interface, if it has one."""
        name = self._by_sandbox.get((container_id, ifname))
        return self._attachments[name] if name else None

    def free_name(self, container_id: str, ifname: str) -> int:
        """The attempt (see attachment.host_interface) whose name no other sandbox's port has: nearly always 0."""
        attempt = 0
        while (holder := self._attachments.get(attachment.host_interface(container_id, ifname, attempt))) and (
            holder.container_id,
            holder.ifname,
        ) != (container_id, ifname):
            attempt += 1
        return attempt

    async def add(self, port: Attachment) -> list[str]:
        """Puts the port on the bridge; returns the names of the ports it replaced.

        It replaces those of the same logical port: an earlier sandbox's, whether of this pod or of one that had its
        name. Two Interfaces with one iface-id would make ovn-controller choose. Raises CommitError.
        """
        older = frozenset(
            name
            for name, other in self._attachments.items()
            if other.interface_id == port.interface_id or name == port.host_interface
        )
        for name in {name for name, other in self._lost.items() if other.interface_id == port.interface_id}:
            if name != port.host_interface:
                self.forget(name)
        await self._submit(Change(port, older))
        return sorted(older - {port.host_interface})

    async def remove(self, names: Iterable[str]) -> None:
        """Takes ports off the bridge; those that are gone already are fine. Raises CommitError."""
        gone = frozenset(names)
        for name in gone:
            self.forget(name)
        await self._submit(Change(None, gone))

    async def installed(self, name: str, timeout_s: float) -> None:
        """Returns when ovn-controller says that the port's flows are in place.

        Raises CniError 11 after `timeout_s`, and at once where ovs-vswitchd cannot use the device or the port was
        taken away.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[name] = future
        try:
            if interface := self._vswitch.get(name):
                self._wake(name, interface)
            async with asyncio.timeout(timeout_s):
                await future
        except TimeoutError:
            raise CniError(
                TRY_AGAIN_LATER,
                f"OVN did not connect the pod's port within {timeout_s:.0f} s: ovn-controller on this node has not "
                "installed its flows",
                "is ovn-controller running here and connected to the southbound database, and the ovnk controller "
                "to the northbound? see: kubectl get pods -A -o wide | grep -e ovn",
            ) from None
        finally:
            self._waiting.pop(name, None)

    def _wake(self, name: str, interface: Interface | None) -> None:
        future = self._waiting.get(name)
        if future is None or future.done():
            return
        if interface is None:
            future.set_exception(
                CniError(TRY_AGAIN_LATER, "the pod's port was taken off the bridge while it was added")
            )
        elif interface.installed:
            future.set_result(None)
        elif interface.error:
            future.set_exception(CniError(INTERNAL, f"Open vSwitch cannot use the pod's interface: {interface.error}"))

    async def _submit(self, change: Change) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        added = {change.add.host_interface} if change.add else set()
        leaving = change.remove - added
        self._leaving = (self._leaving | leaving) - added
        self._queue.append((change, future))
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())
        try:
            await asyncio.shield(future)
        except asyncio.CancelledError:
            # What was asked may be done already; who undoes it must come after it.
            await asyncio.wait([future])
            raise
        # Where it failed, they are to go all the same: whoever asked asks again.
        self._leaving -= leaving

    async def _flush(self) -> None:
        while self._queue:
            batch, self._queue = self._queue[:_BATCH_MAX], self._queue[_BATCH_MAX:]
            await self._commit(batch)
        self._flushing = None

    async def _commit(self, batch: list[tuple[Change, asyncio.Future[None]]]) -> None:
        """One transaction; if it is refused, each change alone, so that one bad port does not fail the others."""
        try:
            await self._vswitch.commit(ChangePorts(self._vswitch.api, self._bridge, [change for change, _ in batch]))
        except CommitError as error:
            if len(batch) > 1:
                for one in batch:
                    await self._commit([one])
            else:
                batch[0][1].set_exception(error)
        except Exception as error:  # a bug of ours: who asked reports it, and the queue goes on
            for _, future in batch:
                future.set_exception(error)
        else:
            for _, future in batch:
                future.set_result(None)


class ChangePorts(command.BaseCommand):  # type: ignore[misc]  # ovsdbapp has no types
    """Removes and adds ports, in one transaction, by the replica as it is when the transaction is composed.

    Raw operations (RFC 7047 §5.2): python-ovs would replicate and rewrite the whole Bridge.ports for each change.
    """

    def __init__(self, api: Any, bridge: str, changes: list[Change]) -> None:
        super().__init__(api)
        self._bridge = bridge
        self._changes = changes

    def run_idl(self, txn: Any) -> None:
        """Composes the operations. Composed again after a lost connection, it finds what was done and skips it."""
        removed, added = [], []
        for number, change in enumerate(self._changes):
            in_place = change.add is not None and self._has(change.add)
            for name in change.remove:
                if not (in_place and change.add and name == change.add.host_interface):
                    removed += self._port_uuid(name)
            if change.add is None or in_place:
                continue
            external_ids = sorted(change.add.external_ids().items())
            interface = {"name": change.add.host_interface, "external_ids": ["map", external_ids]}
            port = {"name": change.add.host_interface, "interfaces": ["named-uuid", f"interface{number}"]}
            txn.add_op({"op": "insert", "table": "Interface", "row": interface, "uuid-name": f"interface{number}"})
            txn.add_op({"op": "insert", "table": "Port", "row": port, "uuid-name": f"port{number}"})
            added.append(["named-uuid", f"port{number}"])
        mutations = [
            ["ports", mutator, ["set", ports]] for mutator, ports in (("delete", removed), ("insert", added)) if ports
        ]
        if mutations:
            bridge = idlutils.row_by_value(self.api.idl, "Bridge", "name", self._bridge, None)
            if bridge is None:
                # A Port that no Bridge has is accepted, and dropped without a word (RFC 7047 §3.2).
                raise RuntimeError(f'there is no bridge "{self._bridge}"')
            where = [["_uuid", "==", ["uuid", str(bridge.uuid)]]]
            # The rows of a port that its bridge lets go are collected by the server (RFC 7047 §3.2, "isRoot").
            txn.add_op({"op": "mutate", "table": "Bridge", "where": where, "mutations": mutations})

    def _has(self, port: Attachment) -> bool:
        row = idlutils.row_by_value(self.api.idl, "Interface", "name", port.host_interface, None)
        return row is not None and attachment.read(port.host_interface, row.external_ids) == port

    def _port_uuid(self, name: str) -> list[list[str]]:
        row = idlutils.row_by_value(self.api.idl, "Port", "name", name, None)
        return [] if row is None else [["uuid", str(row.uuid)]]
