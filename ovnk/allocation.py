"""Allocation: which node has which subnets, which pod which addresses. The one part with a memory.

The NodeNetworks are the record; the allocator takes over from them, answers demands (translate/*.demand) by putting
NodeSubnets and PodAllocation into the graph's tables, and what it decided goes out in the next NodeNetworks. An
allocation ends with its demand, that is with its pod, by UID: nothing can leak. No I/O, no clock.

Where record and reality disagree, reality wins: an address that a running pod's status shows is that pod's.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ovnk.contract import DEFAULT_SUBNET, PodAllocation, SubnetRange
from ovnk.incremental.desired import Delta
from ovnk.incremental.table import Table
from ovnk.kube.objects import NodeNetwork, Notice
from ovnk.pool import Pool
from ovnk.ranges import Ranges
from ovnk.translate import addressing
from ovnk.translate.values import NodeDemand, NodeSubnets, PodDemand


@dataclass(frozen=True, slots=True)
class Network:
    """One of the cluster's networks and the length of the nodes' parts of it: "10.244.0.0/16", 24."""

    cidr: str
    node_prefix: int


@dataclass(slots=True)
class Place:
    """A node's pools, one a family; kept while the node exists or any pod has an address of it."""

    pools: dict[int, Pool]
    demanded: bool = True

    @property
    def empty(self) -> bool:
        """Whether no pod has an address here."""
        return not any(len(pool) for pool in self.pools.values())


class Allocator:
    """Answers demands out of `networks`; what it decides is in the two tables, what should be told is returned."""

    def __init__(
        self,
        networks: Iterable[Network],
        subnets: Table[NodeSubnets],
        allocations: Table[PodAllocation],
    ) -> None:
        self._ranges = {
            addressing.family(network.cidr): Ranges(network.cidr, network.node_prefix) for network in networks
        }
        self._subnets, self._allocations = subnets, allocations
        self._places: dict[str, Place] = {}
        self._held: dict[str, tuple[str, PodAllocation]] = {}
        self._waiting_nodes: dict[str, NodeDemand] = {}
        # Nodes whose podCIDRs wait until no pod has an address of what the node has.
        self._ignored: dict[str, NodeDemand] = {}
        self._waiting_pods: dict[str, dict[str, PodDemand]] = defaultdict(dict)
        self._told: set[tuple[str, str]] = set()
        self._recorded: dict[str, tuple[SubnetRange, ...]] = {}
        self._recorded_pods: dict[tuple[str, str, str], PodAllocation] = {}

    def take_over(self, records: Iterable[NodeNetwork], demands: Iterable[object]) -> list[Notice]:
        """Begin from the record: what is on it and still demanded stands, unless a running pod's status says else."""
        for record in records:
            self._recorded[record.name] = record.spec.subnets
            for allocation in record.spec.pods:
                key = f"{allocation.namespace}/{allocation.name}"
                self._recorded_pods[record.name, key, allocation.uid] = allocation
        notices = self.answer(Delta(added=frozenset(demands)))
        for gone in [node for node in self._subnets if node not in self._places]:
            self._subnets.remove(gone)
        for gone in [key for key in self._allocations if key not in self._held]:
            self._allocations.remove(gone)
        return notices

    def answer(self, delta: Delta) -> list[Notice]:
        """Answer the demands that came and end what those that went had got; what should be told about it.

        Demands that cannot be met are waited for, and met when something is given back.
        """
        notices: list[Notice] = []
        renewed = {demand.key: demand for demand in delta.added if isinstance(demand, PodDemand)}
        drained = {
            self._release(gone)
            for gone in delta.removed
            if isinstance(gone, PodDemand) and not self._stands(gone, renewed)
        }
        nodes = {demand.node: demand for demand in delta.added if isinstance(demand, NodeDemand)}
        for gone in delta.removed:
            if isinstance(gone, NodeDemand) and gone.node not in nodes:
                self._leave(gone.node)
                drained.add(gone.node)
        if [node for node in drained if self._forget_if_over(node)]:
            nodes.update(self._waiting_nodes)
        for node in drained & self._ignored.keys():
            if (place := self._places.get(node)) is not None and place.empty:
                nodes.setdefault(node, self._ignored[node])
        new = [demand for _, demand in sorted(renewed.items())]
        if self._settle_nodes(nodes, new, notices) and (others := self._waiting_nodes.keys() - nodes.keys()):
            # What one node gave back for its podCIDRs may be what another waits for: as when they are given out anew.
            again = {node: self._waiting_nodes[node] for node in others}
            self._settle_nodes(again, new, notices)
            nodes |= again
        for demand in new:
            self._waiting_pods[demand.node][demand.key] = demand
        for node in drained | set(nodes) | {demand.node for demand in new}:
            if node in self._places and self._places[node].demanded:
                self._serve(node, notices)
        self._recorded, self._recorded_pods = {}, {}
        return notices

    # -- nodes

    def _settle_nodes(self, nodes: Mapping[str, NodeDemand], pods: list[PodDemand], notices: list[Notice]) -> bool:
        """Subnets for the nodes: what is on record first, then what Kubernetes gave, then where pods run, then any.

        Whether one of them gave back what it had.
        """
        had = self._places.keys() & nodes.keys()
        running: dict[str, list[str]] = defaultdict(list)
        for pod in pods if nodes else ():
            running[pod.node] += pod.running_with or self._record_of(pod)
        undecided = [
            demand for _, demand in sorted(nodes.items()) if not self._keep(demand, bool(running[demand.node]), notices)
        ]
        undecided.sort(key=lambda demand: (not demand.pod_cidrs, not running[demand.node]))
        for demand in undecided:
            if demand.pod_cidrs:
                cidrs = self._claim_given(demand, notices)
            else:
                cidrs = self._claim_around(demand.node, running[demand.node]) or self._cut(demand, notices)
            if cidrs:
                self._settle(demand.node, cidrs)
            else:
                self._waiting_nodes[demand.node] = demand
        return any(demand.node in had for demand in undecided)

    def _keep(self, demand: NodeDemand, busy: bool, notices: list[Notice]) -> bool:
        """Whether the node keeps what it has, or is on record as having."""
        place = self._places.get(demand.node)
        if place is not None:
            had, in_use = tuple(pool.cidr for pool in place.pools.values()), not place.empty
        else:
            had, in_use = tuple(subnet.cidr for subnet in self._recorded.get(demand.node, ())), busy
        self._ignored.pop(demand.node, None)
        if not had:
            return False
        if demand.pod_cidrs and demand.pod_cidrs != had:
            if not in_use:
                self._drop(demand.node)
                return False
            self._ignored[demand.node] = demand
            notices.append(
                _about_node(
                    demand.node,
                    "PodCIDRIgnored",
                    f"spec.podCIDRs {_quoted(demand.pod_cidrs)} is not used while pods have addresses of "
                    f"{_quoted(had)}; drain the node to have it changed",
                )
            )
        if place is not None:
            place.demanded = True
            self._settle(demand.node, had)
            return True
        if any(self._claim(cidr, demand.node) for cidr in had):
            self._give_back(demand.node, had)
            return False
        self._settle(demand.node, had)
        return True

    def _claim_given(self, demand: NodeDemand, notices: list[Notice]) -> tuple[str, ...]:
        for cidr in demand.pod_cidrs:
            if why := self._claim(cidr, demand.node):
                self._give_back(demand.node, demand.pod_cidrs)
                notices.append(
                    _about_node(
                        demand.node,
                        "PodCIDRRefused",
                        f'spec.podCIDRs "{cidr}" {why}; the node has no pod network until that is mended',
                    )
                )
                return ()
        return demand.pod_cidrs

    def _claim_around(self, node: str, ips: list[str]) -> tuple[str, ...]:
        """The ranges in which the node's pods run already, where the record of them is lost."""
        around: dict[int, str] = {}
        for ip in ips:
            family = addressing.family(ip)
            if family in self._ranges and (cidr := self._ranges[family].around(ip)):
                around.setdefault(family, cidr)
        if set(around) != set(self._ranges) or any(self._claim(cidr, node) for cidr in around.values()):
            self._give_back(node, around.values())
            return ()
        return tuple(around[family] for family in self._ranges)

    def _cut(self, demand: NodeDemand, notices: list[Notice]) -> tuple[str, ...]:
        cidrs = {family: ranges.take(demand.node) for family, ranges in self._ranges.items()}
        if all(cidrs.values()):
            return tuple(cidr for cidr in cidrs.values() if cidr)
        self._give_back(demand.node, tuple(cidr for cidr in cidrs.values() if cidr))
        full = next(ranges.network for family, ranges in self._ranges.items() if not cidrs[family])
        notices.append(
            _about_node(
                demand.node,
                "ClusterNetworkFull",
                f'the cluster\'s network "{full}" has no range left; the node has no pod network until another node '
                "goes or the network is made larger",
            )
        )
        return ()

    def _claim(self, cidr: str, node: str) -> str | None:
        ranges = self._ranges.get(addressing.family(cidr))
        return ranges.claim(cidr, node) if ranges else "is of a family that the cluster's networks have not"

    def _give_back(self, node: str, cidrs: Iterable[str]) -> None:
        for cidr in cidrs:
            if ranges := self._ranges.get(addressing.family(cidr)):
                ranges.release(cidr, node)

    def _settle(self, node: str, cidrs: tuple[str, ...]) -> None:
        self._waiting_nodes.pop(node, None)
        if node not in self._places:
            self._places[node] = Place({addressing.family(cidr): Pool(cidr) for cidr in cidrs})
        self._subnets.put(
            node,
            NodeSubnets(
                node,
                tuple(
                    SubnetRange(DEFAULT_SUBNET, cidr, addressing.nth(cidr, addressing.ROUTER_OFFSET)) for cidr in cidrs
                ),
            ),
        )

    def _leave(self, node: str) -> None:
        """The node is gone; its ranges are free once no pod has an address of them."""
        self._waiting_nodes.pop(node, None)
        self._ignored.pop(node, None)
        self._subnets.remove(node)
        if node in self._places:
            self._places[node].demanded = False

    def _forget_if_over(self, node: str) -> bool:
        place = self._places.get(node)
        if place is None or place.demanded or not place.empty:
            return False
        self._drop(node)
        return True

    def _drop(self, node: str) -> None:
        place = self._places.pop(node, None)
        if place is not None:
            self._give_back(node, [pool.cidr for pool in place.pools.values()])
            self._subnets.remove(node)

    # -- pods

    def _serve(self, node: str, notices: list[Notice]) -> None:
        """Addresses for those who wait: first whoever runs with one, then whoever is on record, then the others."""
        waiting = self._waiting_pods[node]
        for evidence in (_running_with, self._record_of):
            for demand in list(waiting.values()):
                wish = evidence(demand)
                if wish and self._reclaim(demand, wish, notices):
                    del waiting[demand.key]
        for demand in list(waiting.values()):
            if self._take(demand, notices):
                del waiting[demand.key]
        if not waiting:
            del self._waiting_pods[node]

    def _reclaim(self, demand: PodDemand, wish: tuple[str, ...], notices: list[Notice]) -> bool:
        """Whether the pod has the very addresses of `wish` now."""
        pools = self._places[demand.node].pools
        if not all(_has(pools, ip) and pools[addressing.family(ip)].claim(ip, demand.uid) for ip in wish):
            _release_all(pools, wish, demand.uid)
            if wish == demand.running_with:
                self._tell(notices, demand, "AddressLost", _lost(wish, pools))
            return False
        recorded = self._record_of(demand)
        if recorded and recorded != wish:
            message = (
                f'NodeNetwork "{demand.node}" said {_quoted(recorded)}, but the pod runs with {_quoted(wish)}; '
                "the pod keeps what it runs with"
            )
            self._tell(notices, demand, "AddressRestored", message)
        self._hold(demand, wish)
        return True

    def _take(self, demand: PodDemand, notices: list[Notice]) -> bool:
        """Whether the pod has an address of each family now, whichever they are."""
        pools = self._places[demand.node].pools
        full = next((pool for pool in pools.values() if len(pool) >= pool.size), None)
        if full is not None:
            message = (
                f'subnet "{full.cidr}" of node "{demand.node}" has no address left of {full.size}; the pod gets one '
                "as soon as another pod there is deleted or finishes"
            )
            self._tell(notices, demand, "SubnetFull", message)
            return False
        taken = [pool.take(demand.uid) for pool in pools.values()]
        self._hold(demand, tuple(ip for ip in taken if ip))
        return True

    def _hold(self, demand: PodDemand, ips: tuple[str, ...]) -> None:
        namespace, _, name = demand.key.partition("/")
        allocation = PodAllocation(namespace, name, demand.uid, ips, addressing.mac(ips[0]))
        # Where it is known already, from a record, it is held once.
        if (known := self._allocations.get(demand.key)) == allocation:
            allocation = known
        self._held[demand.key] = (demand.node, allocation)
        self._allocations.put(demand.key, allocation)

    def _tell(self, notices: list[Notice], demand: PodDemand, reason: str, message: str) -> None:
        """Once a pod and reason: a pod that waits is not told again each time that another one goes first."""
        if (demand.uid, reason) not in self._told:
            self._told.add((demand.uid, reason))
            notices.append(Notice("Pod", demand.key, reason, message, demand.uid))

    def _stands(self, gone: PodDemand, renewed: dict[str, PodDemand]) -> bool:
        """Whether only the pod's status has changed, and to what was decided: then nothing is done."""
        now, (_, held) = renewed.get(gone.key), self._held.get(gone.key, ("", None))
        if now is None or held is None or now.uid != held.uid or now.node != gone.node:
            return False
        if now.running_with and set(now.running_with) != set(held.ips):
            self._recorded_pods[gone.node, gone.key, gone.uid] = held
            return False
        del renewed[gone.key]
        return True

    def _release(self, gone: PodDemand) -> str:
        """End what the demand had got; the node that has something to give again, or ""."""
        self._waiting_pods[gone.node].pop(gone.key, None)
        if not self._waiting_pods[gone.node]:
            del self._waiting_pods[gone.node]
        self._told = {told for told in self._told if told[0] != gone.uid} if self._told else self._told
        node, allocation = self._held.get(gone.key, ("", None))
        if allocation is None or allocation.uid != gone.uid or node != gone.node:
            return ""
        _release_all(self._places[node].pools, allocation.ips, gone.uid)
        del self._held[gone.key]
        self._allocations.remove(gone.key)
        return node

    def _record_of(self, demand: PodDemand) -> tuple[str, ...]:
        """The addresses that the pod is on record with."""
        recorded = self._recorded_pods.get((demand.node, demand.key, demand.uid))
        return recorded.ips if recorded is not None else ()


def _running_with(demand: PodDemand) -> tuple[str, ...]:
    return demand.running_with


def _has(pools: Mapping[int, Pool], ip: str) -> bool:
    return addressing.family(ip) in pools


def _release_all(pools: Mapping[int, Pool], ips: Iterable[str], holder: str) -> None:
    for ip in ips:
        if _has(pools, ip):
            pools[addressing.family(ip)].release(ip, holder)


def _lost(wish: tuple[str, ...], pools: Mapping[int, Pool]) -> str:
    taken = [ip for ip in wish if _has(pools, ip) and pools[addressing.family(ip)].holder(ip) is not None]
    nets = _quoted(pool.cidr for pool in pools.values())
    why = f'"{taken[0]}" is another pod\'s' if taken else f"the node's subnets are {nets}"
    return f"the pod runs with {_quoted(wish)}, but {why}; delete the pod so that it starts with an address of its own"


def _quoted(texts: Iterable[str]) -> str:
    return ", ".join(f'"{text}"' for text in texts)


def _about_node(node: str, reason: str, message: str) -> Notice:
    return Notice("Node", node, reason, message)
