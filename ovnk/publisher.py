"""The publisher: NodeNetworks as they should be, put together from their entries, and which of them to write.

    node_networks (Delta of NodeEntry, PodEntry) ─▶ entries by node ─▶ Write per changed node ─▶ kube.status

Many pods of a node are one write. It knows what is on record at the API server, so a start over an unchanged cluster
writes nothing, and an edit by hand is noticed and undone. No I/O; the writer is given to it.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable

from ovnk.contract import NodeNetworkSpec, PodAllocation
from ovnk.incremental.desired import Delta, Fact
from ovnk.kube.objects import NodeNetwork, Notice
from ovnk.kube.status import Write
from ovnk.translate.values import NodeEntry, PodEntry

# Versions of our own writes that the watch may still show us.
REMEMBERED = 32


class Publisher:
    """Keeps the wanted NodeNetworks and hands those that differ from the record to `submit`."""

    def __init__(self, submit: Callable[[Write], None]) -> None:
        self._submit = submit
        self._nodes: dict[str, NodeEntry] = {}
        self._pods: defaultdict[str, dict[str, PodAllocation]] = defaultdict(dict)
        self._changed: set[str] = set()
        # What is on record at the API server, as far as we know: its spec and version.
        self._records: dict[str, NodeNetwork] = {}
        self._own_versions: defaultdict[str, deque[str]] = defaultdict(lambda: deque(maxlen=REMEMBERED))
        self._pending: defaultdict[str, int] = defaultdict(int)

    def apply(self, delta: Delta) -> None:
        """Note entries that came and went."""
        for entry in delta.removed:
            if isinstance(entry, PodEntry):
                self._pods[entry.node].pop(_key(entry.allocation), None)
            elif isinstance(entry, NodeEntry):
                self._nodes.pop(entry.node, None)
            self._changed.add(entry.node)  # type: ignore[attr-defined]  # an entry of either kind has its node
        for entry in delta.added:
            if isinstance(entry, PodEntry):
                self._pods[entry.node][_key(entry.allocation)] = entry.allocation
            elif isinstance(entry, NodeEntry):
                self._nodes[entry.node] = entry
            self._changed.add(entry.node)  # type: ignore[attr-defined]  # as above

    def begin(self, entries: Iterable[Fact], records: Iterable[NodeNetwork]) -> None:
        """`entries` are wanted and `records` are all there are: what differs is to be written, the rest is not."""
        self._nodes.clear()
        self._pods.clear()
        self.apply(Delta(added=frozenset(entries)))
        self._records = {record.name: record for record in records}
        self._own_versions.clear()
        self._pending.clear()
        self._changed = {*self._records, *self._nodes}

    def flush(self) -> int:
        """Hand out what differs from the record; how many writes that makes."""
        writes = 0
        for node in sorted(self._changed):
            record, spec = self._records.get(node), self.spec(node)
            if self._pending[node] or spec != (record.spec if record is not None else None):
                entry = self._nodes.get(node)
                version = record.resource_version if record is not None else ""
                self._pending[node] += 1
                self._submit(Write(node, spec, version, entry.uid if entry is not None else ""))
                writes += 1
            elif record is not None and spec is not None:
                # Equal, but of the allocations that the graph holds already: those of the record can go.
                self._records[node] = NodeNetwork(node, spec, record.uid, record.resource_version)
        self._changed.clear()
        return writes

    def spec(self, node: str) -> NodeNetworkSpec | None:
        """The node's NodeNetwork as it should be, pods by name; None when there should be none."""
        entry = self._nodes.get(node)
        if entry is None:
            return None
        pods = self._pods[node]
        return NodeNetworkSpec(
            subnets=entry.subnets,
            management=entry.management,
            cluster_cidrs=entry.cluster_cidrs,
            service_cidrs=entry.service_cidrs,
            mtu_bytes=entry.mtu_bytes,
            pods=tuple(pods[key] for key in sorted(pods)),
        )

    def written(self, write: Write, version: str) -> None:
        """The API server has this write: "" for a NodeNetwork that is gone."""
        self._pending.pop(write.node, None)
        if write.spec is None:
            self._records.pop(write.node, None)
            return
        self._own_versions[write.node].append(version)
        self._records[write.node] = NodeNetwork(write.node, write.spec, resource_version=version)
        if write.spec != self.spec(write.node):
            self._changed.add(write.node)

    def observe(self, node: str, record: NodeNetwork | None) -> Notice | None:
        """What the watch shows. An edit by somebody else is undone by the next flush(); what to tell about it."""
        if self._pending[node] or (record is not None and record.resource_version in self._own_versions[node]):
            return None
        if record is None:
            self._records.pop(node, None)
        else:
            self._records[node] = record
        wanted = self.spec(node)
        if wanted == (record.spec if record is not None else None):
            return None
        self._changed.add(node)
        what = (
            "was deleted" if record is None else "was changed" if wanted is not None else "is of no node that has one"
        )
        return Notice(
            "NodeNetwork",
            node,
            "Restored",
            f"{what}, but not by the controller, which alone writes it; it has been put right",
            uid=record.uid if record is not None else "",
        )


def _key(allocation: PodAllocation) -> str:
    return f"{allocation.namespace}/{allocation.name}"
