"""Membership: which pods are in which port groups and address sets. A pod's event changes members, never an ACL.

One Port_Group for each distinct selector, shared between policies; northd makes its pods' address sets itself
($NAME_ip4, $NAME_ip6; ovn-nb(5), Port_Group). Beside it an Address_Set a family for the selected pods that are in
their node's network: they have no port, and are known by the node's addresses.
"""

from collections.abc import Iterator

from ovnk.contract import PodAllocation
from ovnk.incremental.graph import View
from ovnk.kube.objects import Node, Pod
from ovnk.northbound.facts import Fact, Member, Ref, row
from ovnk.translate import addressing, names, selectors
from ovnk.translate.selection_values import GuardedNode, GuardedSet, NamedPort, NodeSelection, Selected, Selection
from ovnk.translate.values import CLUSTER, EVERYWHERE, Cluster, NodeSubnets


def groups(_view: View, selection: Selection) -> Iterator[Fact]:
    """The selection's Port_Group and its Address_Sets, empty as yet."""
    yield _port_group(names.port_group(selection.key), selection.key)
    yield from _address_sets(selection.key)


def node_groups(_view: View, selection: NodeSelection) -> Iterator[Fact]:
    """The Address_Sets of selected nodes."""
    yield from _address_sets(selection.key)


def named_group(_view: View, named: NamedPort) -> Iterator[Fact]:
    """The Port_Group and the Address_Sets of the selection's pods that have the port of that name at that number."""
    yield _port_group(names.port_group(named.text), named.text)
    yield from _address_sets(named.text)


def members(view: View, selected: Selected, pod: Pod) -> Iterator[Fact]:
    """The pod's port in the groups of every selection that matches; for host-network pods their node's addresses."""
    groups = [*selected.selections, *(named.text for named in _named(selected, pod))]
    if pod.host_network:
        for address in _node_sources(view, pod.node):
            for group in groups:
                yield Member("Address_Set", names.address_set(group, addressing.family(address)), "addresses", address)
    elif _has_port(view, pod):
        port = Ref("Logical_Switch_Port", names.pod_port(pod.namespace, pod.name))
        for group in groups:
            yield Member("Port_Group", names.port_group(group), "ports", port)


def node_members(view: View, node: Node) -> Iterator[Fact]:
    """The node's addresses in the sets of every selection of nodes that matches."""
    for selection in view.by(NodeSelection, EVERYWHERE, True):
        if selectors.matches(selection.nodes, dict(node.labels)):
            for address in node.addresses:
                key = names.address_set(selection.key, addressing.family(address))
                yield Member("Address_Set", key, "addresses", address)


def named_ports(_view: View, selected: Selected, pod: Pod) -> Iterator[NamedPort]:
    """The numbers at which the pod has ports that policies ask for by name."""
    yield from _named(selected, pod)


def guarded_node(_view: View, _guarded: GuardedSet, pod: Pod) -> Iterator[GuardedNode]:
    """The pod's node, which has something to reach there."""
    if not pod.host_network:
        yield GuardedNode(pod.node)


def node_access(view: View, guarded: GuardedNode) -> Iterator[Fact]:
    """The node a pod runs on always reaches it (its probes must), and so does the pod itself by way of a Service.

    An ACL on the node's switch, there while any pod of the node is guarded. What a hairpinned connection comes from is
    the Service's own address (ovn-nb(5), hairpin_snat_ip), which nobody else can send from.
    """
    cluster, node = view.get(Cluster, CLUSTER), view.get(Node, guarded.node)
    if node is None or view.get(NodeSubnets, node.name) is None or cluster is None:
        return
    # Not ovnk0's addresses, but in a family where the node has no other: behind them is whatever the node forwards to
    # its node ports (cni/service_table.py, masquerade), and that is not the node. It is denied as others are; and so is
    # what the node itself sends to a ClusterIP, for which its kernel picks ovnk0's address as well.
    known = {addressing.family(address) for address in node.addresses}
    instead = [one for one in _management_addresses(view, node.name) if addressing.family(one) not in known]
    sources = [*node.addresses, *instead, *cluster.service_cidrs]
    by_family = {family: [one for one in sources if addressing.family(one) == family] for family in (4, 6)}
    match = " || ".join(f"ip{family}.src == {{{', '.join(found)}}}" for family, found in by_family.items() if found)
    key = names.node_access(node.name)
    yield row(
        "ACL",
        key,
        names.owner("Node", node.name),
        "membership.node_access",
        direction="to-lport",
        priority=names.NODE_ACCESS_PRIORITY,
        match=match,
        action="allow-related",
        log=False,
    )
    yield Member("Logical_Switch", names.node_switch(node.name), "acls", Ref("ACL", key))


def _node_sources(view: View, name: str) -> list[str]:
    """What comes from a node: its own addresses, and those of ovnk0, which its kernel picks on the way to Services."""
    node = view.get(Node, name)
    return [*_management_addresses(view, name), *(node.addresses if node is not None else ())]


def _management_addresses(view: View, name: str) -> list[str]:
    subnets = view.get(NodeSubnets, name)
    return [addressing.nth(one.cidr, addressing.MANAGEMENT_OFFSET) for one in subnets.ranges] if subnets else []


def _named(selected: Selected, pod: Pod) -> Iterator[NamedPort]:
    for use in selected.uses:
        for name, protocol, number in pod.ports:
            if (name, protocol) == (use.port, use.protocol):
                yield NamedPort(use.selection, protocol, name, number)


def _has_port(view: View, pod: Pod) -> bool:
    """Whether pods.port yields: what refers to a port that is not there would be in vain."""
    allocation = view.get(PodAllocation, pod.key)
    return allocation is not None and allocation.uid == pod.uid and view.get(NodeSubnets, pod.node) is not None


def _port_group(name: str, selection: str) -> Fact:
    return row(
        "Port_Group", name, names.CLUSTER_OWNER, "membership.groups", name=name, external_ids={"selector": selection}
    )


def _address_sets(selection: str) -> Iterator[Fact]:
    for family in (4, 6):
        name = names.address_set(selection, family)
        yield row(
            "Address_Set",
            name,
            names.CLUSTER_OWNER,
            "membership.groups",
            name=name,
            external_ids={"selector": selection},
        )
