"""The compiler at work: the graph and the allocator together, fed with changes, asked for what changed.

    Change ─▶ tables ─▶ rules ─▶ northbound, node_networks      (Desired: take() gives the Delta)
                 ▲          ├──▶ demands ─▶ Allocator ─┐
                 ├────── NodeSubnets, PodAllocation ◀──┘
                 │          └──▶ pool_demands ─▶ AddressPools ─▶ answers     (take_answers())
                 └────────── Services' status ◀── the API server ◀──┘

Synchronous and without I/O. It follows the NodeNetworks that another process writes until it is told to lead; from
then on it decides itself.
"""

from collections.abc import Iterable

import msgspec

from ovnk.address_pools import AddressPools, Answers
from ovnk.allocation import Allocator, Network
from ovnk.contract import NodeNetworkSpec, PodAllocation
from ovnk.incremental.desired import Delta
from ovnk.incremental.graph import Graph
from ovnk.kube.objects import Change, NodeNetwork, Notice, Put, Remove
from ovnk.translate import wire
from ovnk.translate.values import CLUSTER, Cluster, NodeSubnets


class Compiler:
    """`networks` are cut into the nodes' subnets; `cluster` is what every function may know."""

    def __init__(self, cluster: Cluster, networks: Iterable[Network], check: bool = False) -> None:
        self.graph = Graph(check)
        self.outputs = wire(self.graph)
        self._cluster = cluster
        self.graph.tables[Cluster].put(CLUSTER, cluster)
        self._networks = tuple(networks)
        self._allocator: Allocator | None = None
        self._pools = AddressPools()
        self._answers = Answers()
        self._records: dict[str, NodeNetwork] = {}
        # Whether all that should be told has been told; since then it is what changes.
        self._told_all = False

    @property
    def leading(self) -> bool:
        """Whether addresses are decided here."""
        return self._allocator is not None

    def apply(self, change: Change) -> None:
        """Take a change of the cluster in. Cheap: what follows from it is worked out by settle()."""
        kind = type(change.value) if isinstance(change, Put) else change.kind
        if kind is NodeNetwork:
            self._apply_record(change)
            return
        table = self.graph.tables[kind]
        if isinstance(change, Put):
            table.put(change.value.key, change.value)
        elif isinstance(change, Remove):
            table.remove(change.key)
        else:
            table.replace(change.values)

    @property
    def acl_tiers(self) -> bool:
        """Whether policies are compiled for a northbound with tiers of ACLs."""
        return self._cluster.acl_tiers

    def have_acl_tiers(self, there: bool) -> None:
        """Compile for a northbound with tiers of ACLs, or without. What was found out by looking is an input, too."""
        self._cluster = msgspec.structs.replace(self._cluster, acl_tiers=there)
        self.graph.tables[Cluster].put(CLUSTER, self._cluster)

    def lead(self, records: Iterable[NodeNetwork]) -> list[Notice]:
        """Decide from now on, beginning from `records`, which must be all NodeNetworks as they are."""
        self.graph.settle()
        self.outputs.demands.take()
        tables = self.graph.tables
        self._allocator = Allocator(self._networks, tables[NodeSubnets], tables[PodAllocation])
        notices = self._allocator.take_over(records, self.outputs.demands)
        self._pools = AddressPools()
        self.outputs.pool_demands.take()
        notices += self._answer_pools(Delta(added=frozenset(self.outputs.pool_demands)))
        self._told_all = False
        return notices

    def follow(self) -> None:
        """Decide no longer; the NodeNetworks that somebody else writes are what counts."""
        self._allocator = None
        self._answers = Answers()
        records, self._records = self._records, {}
        self.graph.tables[NodeSubnets].replace({})
        self.graph.tables[PodAllocation].replace({})
        for record in records.values():
            self._follow(record.name, record)

    def settle(self, limit: int | None = None) -> tuple[bool, list[Notice]]:
        """Work out what follows from the changes, at most `limit` derivations at once; whether all is settled now."""
        notices: list[Notice] = []
        # Demands are answered before anything is run that would have to run again for the answers.
        while self.graph.settle(limit, self.outputs.demanding):
            if self._answer(notices):
                continue
            if not self.graph.settle(limit):
                break
            if not self._answer(notices):
                asked = self.outputs.pool_demands.take()
                if self.leading and asked:
                    notices += self._answer_pools(asked)
                return True, [*notices, *self._notices()]
        return False, notices

    def _notices(self) -> list[Notice]:
        """What is to be told now. Whoever led before has told some of it; the Events' writer counts repeats."""
        added = self.outputs.notices.take().added
        if not self.leading:
            return []
        told, self._told_all = (added if self._told_all else self.outputs.notices), True
        return sorted(
            (one for one in told if isinstance(one, Notice)), key=lambda one: (one.kind, one.key, one.message)
        )

    def take_answers(self) -> Answers:
        """What address pools' answers say to be written, since it was last asked; its notices have been told."""
        answers, self._answers = self._answers, Answers()
        return answers

    def _answer_pools(self, delta: Delta) -> list[Notice]:
        found = self._pools.answer(delta)
        self._answers.statuses += found.statuses
        self._answers.pools += found.pools
        return found.notices

    def _answer(self, notices: list[Notice]) -> bool:
        """Have the demands that came answered; whether there were any."""
        demands = self.outputs.demands.take()
        if self._allocator is None or not demands:
            return False
        notices += self._allocator.answer(demands)
        return True

    def _apply_record(self, change: Change) -> None:
        if isinstance(change, Put):
            assert isinstance(change.value, NodeNetwork)
            self._follow(change.value.name, change.value)
        elif isinstance(change, Remove):
            self._follow(change.key, None)
        else:
            for name in [name for name in self._records if name not in change.values]:
                self._follow(name, None)
            for name, record in change.values.items():
                assert isinstance(record, NodeNetwork)
                self._follow(name, record)

    def _follow(self, node: str, record: NodeNetwork | None) -> None:
        """Note a NodeNetwork and, unless we decide ourselves, take what it says for decided."""
        old = self._records.pop(node, None)
        if record is not None:
            self._records[node] = record
        if self._allocator is not None:
            return
        subnets, allocations = self.graph.tables[NodeSubnets], self.graph.tables[PodAllocation]
        spec = record.spec if record is not None else NodeNetworkSpec()
        if spec.subnets:
            subnets.put(node, NodeSubnets(node, spec.subnets))
        else:
            subnets.remove(node)
        new = {_key(allocation): allocation for allocation in spec.pods}
        for gone in old.spec.pods if old is not None else ():
            # Another node's record may have the pod of that name by now.
            if _key(gone) not in new and allocations.get(_key(gone)) == gone:
                allocations.remove(_key(gone))
        for key, allocation in new.items():
            allocations.put(key, allocation)


def _key(allocation: PodAllocation) -> str:
    return f"{allocation.namespace}/{allocation.name}"
