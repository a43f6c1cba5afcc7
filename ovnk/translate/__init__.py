"""Cluster objects → facts: pure functions, one file a topic, and here the wiring of all of them.

Cluster ─────────────────────────────▶ nodes.cluster_router ──────────────┐
Node ──┬─▶ nodes.demand ─▶ demands     nodes.switch, .management_port,    │
       │      ▲ allocator ▼            .egress, .addresses ───────────────┼──▶ northbound
       │   NodeSubnets ───────────────▶                                   │
Pod ───┼─▶ pods.demand ─▶ demands      pods.port ─────────────────────────┘
       │      ▲ allocator ▼
       │   PodAllocation ─────────────▶ pods.entry ─┐
       └──────────────────────────────▶ nodes.network ──▶ node_networks

Node ─▶ Place ─▶ Zone ────────────────▶ service_groups ─┬─▶ northbound
Service, EndpointSlice ───────────────▶ services ───────┘
                                        service_notices ──▶ notices
AddressPool, Service, Node ───────────▶ pool_demands ─────▶ pool_demands

ClusterNetworkPolicy, AdminNetworkPolicy, … ─▶ PlacedRule ─▶ Share ─▶ cluster_policy_acls; Share ─▶ Selection … below

NetworkPolicy ─▶ Selection ─▶ Reach ─┐ ┌──▶ membership.groups ─────────────┐
      │   │                          ├─▶ Match ─▶ Selected ─▶ .members ────┤
Pod ──┼───┼────▶ LabelSet ───────────┘    └─▶ NamedPort ─▶ .named_group ───┼──▶ northbound
      │   ├────▶ NamedUse ─────────────────▲     ╰──▶ policies.rules ──────┤
      │   └────▶ Guarded ────────────────────▶ .default_deny, .node_access ┘
"""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from ovnk.contract import PodAllocation
from ovnk.errors import Conflict
from ovnk.incremental.desired import Desired
from ovnk.incremental.graph import Graph
from ovnk.kube.objects import Namespace, Node, Pod
from ovnk.kube.policy_objects import (
    AdminNetworkPolicy,
    BaselineAdminNetworkPolicy,
    ClusterNetworkPolicy,
    NetworkPolicy,
)
from ovnk.kube.pool_objects import AddressPool
from ovnk.kube.service_objects import EndpointSlice, Service
from ovnk.northbound.facts import Fact, Member, Row
from ovnk.translate import (
    cluster_policies,
    cluster_policy_acls,
    matching,
    membership,
    nodes,
    pods,
    policies,
    pool_demands,
    selectors,
    service_groups,
    service_notices,
    services,
)
from ovnk.translate.cluster_policy_values import ClusterWide, Concerned, Height, Meeting, PlacedRule, Share, Start
from ovnk.translate.selection_values import (
    Guarded,
    GuardedNode,
    GuardedSet,
    LabelSet,
    Match,
    Matched,
    NamedPort,
    NamedUse,
    NamespaceLog,
    NodeSelection,
    Reach,
    Selected,
    Selection,
)
from ovnk.translate.values import CLUSTER, EVERYWHERE, Cluster, NodeSubnets, Place, SubnetSize, Zone

# Whatever may be put into the graph from outside.
Input = (
    Cluster
    | Namespace
    | Node
    | Pod
    | NodeSubnets
    | PodAllocation
    | Service
    | EndpointSlice
    | AddressPool
    | NetworkPolicy
    | ClusterNetworkPolicy
    | AdminNetworkPolicy
    | BaselineAdminNetworkPolicy
)


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where facts go: into the northbound, to the allocator, into NodeNetwork objects, and to the objects' owners."""

    northbound: Desired
    demands: Desired
    node_networks: Desired
    notices: Desired
    # What Services ask of address pools, and what those have.
    pool_demands: Desired
    # How cluster-wide policies stand, for their conditions.
    standings: Desired
    # So many rules, the first that were made, yield the demands.
    demanding: int


def wire(graph: Graph) -> Outputs:
    """Make the tables and rules of the whole translation in `graph`."""
    demands = Desired("demands")
    graph.table(Cluster)
    graph.table(PodAllocation)
    graph.table(Namespace, footholds=lambda one: selectors.labelled(one.labels))
    graph.table(Pod, label_set=matching.label_set)
    graph.table(Node, **{EVERYWHERE: lambda _: (True,)})
    graph.table(
        NodeSubnets, network=lambda one: tuple(part.cidr for part in one.ranges), **{EVERYWHERE: lambda _: (True,)}
    )
    graph.derive(Node, nodes.demand, into=demands)
    graph.derive(Pod, pods.demand, into=demands)
    northbound = Desired("northbound", identity)
    outputs = Outputs(
        northbound=northbound,
        demands=demands,
        node_networks=Desired("node networks"),
        notices=Desired("notices"),
        pool_demands=Desired("pool demands"),
        standings=Desired("standings"),
        demanding=len(graph.rules),
    )
    graph.derive(Cluster, nodes.cluster_router, into=outputs.northbound)
    graph.derive(Node, nodes.switch, into=outputs.northbound)
    graph.derive(Node, nodes.management_port, into=outputs.northbound)
    graph.derive(Node, nodes.egress, into=outputs.northbound)
    graph.derive(Node, nodes.addresses, into=outputs.northbound)
    graph.derive(Node, nodes.network, into=outputs.node_networks)
    graph.derive(Pod, pods.port, into=outputs.northbound)
    graph.derive(Pod, pods.entry, into=outputs.node_networks)
    _wire_services(graph, outputs)
    _wire_policies(graph, outputs)
    return outputs


def _wire_services(graph: Graph, outputs: Outputs) -> None:
    graph.table(Place, **{EVERYWHERE: lambda _: (True,)})
    graph.table(Zone, **{EVERYWHERE: lambda _: (True,)})
    graph.table(Service, claim=service_notices.claims)
    graph.table(EndpointSlice, service=lambda one: (one.service,) if one.service else ())
    graph.derive(Node, service_groups.place, into=Place)
    graph.derive(Place, service_groups.zone, into=Zone)
    graph.derive(Cluster, service_groups.cluster_group, into=outputs.northbound)
    graph.derive(Zone, service_groups.zone_group, into=outputs.northbound)
    graph.derive(Place, service_groups.switch, into=outputs.northbound)
    graph.derive(Service, services.load_balancer, into=outputs.northbound)
    graph.derive(Service, service_notices.overlap, into=outputs.notices)
    graph.table(SubnetSize, **{EVERYWHERE: lambda _: (True,)})
    graph.derive(NodeSubnets, service_notices.subnet_sizes, into=SubnetSize)
    graph.derive(EndpointSlice, service_notices.endpoints, into=outputs.notices)
    graph.table(AddressPool, **{EVERYWHERE: lambda _: (True,)})
    graph.derive(AddressPool, pool_demands.offer, into=outputs.pool_demands)
    graph.derive(Service, pool_demands.demand, into=outputs.pool_demands)
    graph.derive(Node, pool_demands.node_addresses, into=outputs.pool_demands)
    graph.derive(AddressPool, pool_demands.overlap, into=outputs.notices)


def _wire_policies(graph: Graph, outputs: Outputs) -> None:
    graph.table(NetworkPolicy, isolated=policies.isolated)
    graph.table(Selection, namespaces=matching.namespace_footholds)
    graph.table(Reach, footholds=matching.reach_footholds)
    graph.table(LabelSet, footholds=matching.label_set_footholds)
    graph.table(Match, label_set=lambda one: (one.label_set,), matched=lambda one: (Matched(one.label_set),))
    graph.table(Matched)
    graph.table(
        Selected,
        label_set=lambda one: (one.label_set,),
        named=lambda one: (one.label_set,) if one.uses else (),
    )
    graph.table(NamedUse, selection=lambda one: (one.selection,))
    graph.table(NamedPort, use=lambda one: ((one.selection, one.protocol, one.port),))
    graph.table(Guarded, ingress=lambda one: (one.selection,) if one.direction == "ingress" else ())
    graph.table(GuardedSet, label_set=lambda one: (one.label_set,))
    graph.table(GuardedNode)
    graph.table(NamespaceLog)
    graph.table(NodeSelection, **{EVERYWHERE: lambda _: (True,)})
    graph.derive(Namespace, policies.namespace_log, into=NamespaceLog)
    graph.derive(NetworkPolicy, policies.selections, into=Selection)
    graph.derive(NetworkPolicy, policies.named_uses, into=NamedUse)
    graph.derive(NetworkPolicy, policies.guarded, into=Guarded)
    _wire_cluster_policies(graph)
    graph.distinct(Pod, "label_set", into=LabelSet)
    graph.derive(Selection, matching.reach, into=Reach)
    graph.join((Selection, "namespaces"), (Namespace, "footholds"), matching.reach_by_labels, into=Reach)
    graph.join((Reach, "footholds"), (LabelSet, "footholds"), matching.match, into=Match)
    graph.distinct(Match, "matched", into=Matched)
    graph.derive(Matched, matching.selected, into=Selected)
    graph.derive(Matched, matching.guarded_set, into=GuardedSet)
    graph.join((Selected, "named"), (Pod, "label_set"), membership.named_ports, into=NamedPort)
    graph.derive(Selection, membership.groups, into=outputs.northbound)
    graph.derive(NamedPort, membership.named_group, into=outputs.northbound)
    graph.join((Selected, "label_set"), (Pod, "label_set"), membership.members, into=outputs.northbound)
    graph.join((GuardedSet, "label_set"), (Pod, "label_set"), membership.guarded_node, into=GuardedNode)
    graph.derive(GuardedNode, membership.node_access, into=outputs.northbound)
    graph.derive(Guarded, policies.default_deny, into=outputs.northbound)
    graph.derive(NetworkPolicy, policies.rules, into=outputs.northbound)
    graph.derive(NetworkPolicy, policies.meter, into=outputs.northbound)
    graph.derive(NetworkPolicy, policies.complaint, into=outputs.notices)
    graph.derive(Namespace, policies.namespace_complaint, into=outputs.notices)
    graph.derive(NodeSelection, membership.node_groups, into=outputs.northbound)
    graph.derive(Node, membership.node_members, into=outputs.northbound)
    graph.derive(Share, cluster_policy_acls.acls, into=outputs.northbound)
    graph.derive(ClusterWide, cluster_policies.complaint, into=outputs.notices)
    graph.derive(ClusterWide, cluster_policies.standing, into=outputs.standings)


def _wire_cluster_policies(graph: Graph) -> None:
    graph.table(ClusterWide)
    graph.table(PlacedRule, passing=cluster_policies.passing)
    graph.table(Concerned, line=lambda one: (one.line,), passing=lambda one: (one.line,) if one.passing else ())
    graph.table(Meeting, subject=lambda one: ((one.line, one.subject),))
    graph.table(Height, **{EVERYWHERE: lambda _: (True,)})
    graph.table(Start)
    graph.table(Share, policy=lambda one: (one.policy,))
    for kind, wide in (
        (ClusterNetworkPolicy, cluster_policies.cluster_network_policy),
        (AdminNetworkPolicy, cluster_policies.admin_network_policy),
        (BaselineAdminNetworkPolicy, cluster_policies.baseline_admin_network_policy),
    ):
        graph.table(kind)
        graph.derive(kind, wide, into=ClusterWide)
    graph.derive(ClusterWide, cluster_policies.placed_rules, into=PlacedRule)
    graph.derive(PlacedRule, cluster_policies.heights, into=Height)
    graph.derive(Cluster, cluster_policies.starts, into=Start)
    graph.derive(PlacedRule, cluster_policies.concerned, into=Concerned)
    graph.join((Concerned, "passing"), (Concerned, "line"), cluster_policies.meetings, into=Meeting)
    graph.derive(PlacedRule, cluster_policies.shares, into=Share)
    graph.derive(PlacedRule, cluster_policies.subjects, into=Selection)
    graph.derive(PlacedRule, cluster_policies.guarded, into=Guarded)
    graph.derive(Share, cluster_policies.selections, into=Selection)
    graph.derive(Share, cluster_policies.node_selections, into=NodeSelection)
    graph.derive(Share, cluster_policies.named_uses, into=NamedUse)


def identity(fact: Fact) -> Hashable | None:
    """What a northbound fact is about: a row, or an entry of a map column. Elements of sets are only themselves."""
    if isinstance(fact, Row):
        return (fact.table, fact.key)
    if isinstance(fact, Member) and isinstance(fact.element, tuple):
        return (fact.table, fact.key, fact.column, fact.element[0])
    return None


def key_of(value: Input) -> str:
    """The key under which an input is put into its table."""
    if isinstance(value, Cluster):
        return CLUSTER
    if isinstance(value, NodeSubnets):
        return value.node
    if isinstance(value, PodAllocation):
        return f"{value.namespace}/{value.name}"
    return value.key


def compile_cluster(inputs: Iterable[Input]) -> frozenset[Fact]:
    """The northbound that these inputs mean: the meaning of the whole program, and the oracle of its tests.

    Raises Conflict where two functions contradict each other, and whatever a function raises: bugs of ours.
    """
    graph = Graph()
    outputs = wire(graph)
    for value in inputs:
        graph.tables[type(value)].put(key_of(value), value)
    graph.settle()
    for failure in graph.failures.values():
        raise failure.error
    outputs.northbound.take()
    for found in outputs.northbound.contradictions():
        raise Conflict(f"{found.identity}: {found.kept} and {sorted(found.refused, key=repr)}")
    return frozenset(outputs.northbound)  # type: ignore[arg-type]  # the northbound holds Facts alone
