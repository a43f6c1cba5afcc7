"""Membership: which pods are in which port groups and address sets. A pod's event changes members, never an ACL.

One Port_Group for each distinct selector, shared between policies; northd makes its pods' address sets itself
($NAME_ip4, $NAME_ip6; ovn-nb(5), Port_Group). Beside it an Address_Set a family for the selected pods that are in
their node's network: they have no port, and are known by the node's addresses.
"""

from collections.abc import Iterator

from ovnk.contract import PodAllocation
from ovnk.incremental.graph import View
from ovnk.kube.objects import Namespace, Node, Pod
from ovnk.northbound.facts import Fact, Member, Ref, row
from ovnk.translate import addressing, names, selectors
from ovnk.translate.selection_values import (
    ANYWHERE,
    Guarded,
    LabelSet,
    Match,
    NamedPort,
    NamedUse,
    NodeSelection,
    Selection,
)
from ovnk.translate.values import CLUSTER, EVERYWHERE, Cluster, NodeSubnets


def label_set(_view: View, pod: Pod) -> Iterator[LabelSet]:
    """What selectors see of a pod that is on a node and not over."""
    if pod.node and not pod.finished:
        yield LabelSet(pod.namespace, pod.labels)


def matches(view: View, label_set: LabelSet) -> Iterator[Match]:
    """The selections that match. Linear in those of its namespace and those of no one namespace."""
    labels = dict(label_set.labels)
    for selection in view.by(Selection, "scope", label_set.namespace):
        if selectors.matches(selection.peers.pods, labels):
            yield Match(selection.key, label_set.key)
    elsewhere = [one for one in view.by(Selection, "scope", ANYWHERE) if selectors.matches(one.peers.pods, labels)]
    if not elsewhere:
        return
    namespace = view.get(Namespace, label_set.namespace)
    if namespace is None:
        return
    namespace_labels = dict(namespace.labels)
    for selection in elsewhere:
        if selectors.matches(selection.peers.namespaces or (), namespace_labels):
            yield Match(selection.key, label_set.key)


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


def members(view: View, pod: Pod) -> Iterator[Fact]:
    """The pod's port in the groups of every selection that matches; for host-network pods their node's addresses."""
    if not pod.node or pod.finished:
        return
    if pod.host_network:
        matches = _matches(view, pod)
        addresses = _node_sources(view, pod.node) if matches else []
        for match in matches:
            for of in (match.selection, *(named.text for named in _named(view, pod, match))):
                for address in addresses:
                    yield Member("Address_Set", names.address_set(of, addressing.family(address)), "addresses", address)
    elif _has_port(view, pod):
        port = Ref("Logical_Switch_Port", names.pod_port(pod.namespace, pod.name))
        for match in _matches(view, pod):
            yield Member("Port_Group", names.port_group(match.selection), "ports", port)
            for named in _named(view, pod, match):
                yield Member("Port_Group", names.port_group(named.text), "ports", port)


def node_members(view: View, node: Node) -> Iterator[Fact]:
    """The node's addresses in the sets of every selection of nodes that matches."""
    for selection in view.by(NodeSelection, EVERYWHERE, True):
        if selectors.matches(selection.nodes, dict(node.labels)):
            for address in node.addresses:
                key = names.address_set(selection.key, addressing.family(address))
                yield Member("Address_Set", key, "addresses", address)


def named_ports(view: View, pod: Pod) -> Iterator[NamedPort]:
    """The numbers at which the pod has ports that policies ask for by name."""
    if pod.ports and pod.node and not pod.finished:
        for match in _matches(view, pod):
            yield from _named(view, pod, match)


def node_access(view: View, pod: Pod) -> Iterator[Fact]:
    """The node a pod runs on always reaches it (its probes must), and so does the pod itself by way of a Service.

    An ACL on the node's switch, there while any pod of the node is guarded. What a hairpinned connection comes from is
    the Service's own address (ovn-nb(5), hairpin_snat_ip), which nobody else can send from.
    """
    if pod.host_network or not _has_port(view, pod):
        return
    if not any(_guarded(view, match.selection) for match in _matches(view, pod)):
        return
    cluster = view.get(Cluster, CLUSTER)
    if view.get(Node, pod.node) is None or cluster is None:
        return
    sources = [*_node_sources(view, pod.node), *cluster.service_cidrs]
    by_family = {family: [one for one in sources if addressing.family(one) == family] for family in (4, 6)}
    match = " || ".join(f"ip{family}.src == {{{', '.join(found)}}}" for family, found in by_family.items() if found)
    key = names.node_access(pod.node)
    yield row(
        "ACL",
        key,
        names.owner("Node", pod.node),
        "membership.node_access",
        direction="to-lport",
        priority=names.NODE_ACCESS_PRIORITY,
        match=match,
        action="allow-related",
        log=False,
    )
    yield Member("Logical_Switch", names.node_switch(pod.node), "acls", Ref("ACL", key))


def _matches(view: View, pod: Pod) -> list[Match]:
    return list(view.by(Match, "label_set", (pod.namespace, pod.labels)))


def _node_sources(view: View, name: str) -> list[str]:
    """What a node sends from: its own addresses, and those of ovnk0, which its kernel picks on the way to pods."""
    subnets, node = view.get(NodeSubnets, name), view.get(Node, name)
    own = [addressing.nth(one.cidr, addressing.MANAGEMENT_OFFSET) for one in subnets.ranges] if subnets else []
    return [*own, *(node.addresses if node is not None else ())]


def _named(view: View, pod: Pod, match: Match) -> Iterator[NamedPort]:
    if not pod.ports:
        return
    for use in view.by(NamedUse, "selection", match.selection):
        for name, protocol, number in pod.ports:
            if (name, protocol) == (use.port, use.protocol):
                yield NamedPort(match.selection, protocol, name, number)


def _guarded(view: View, selection: str) -> bool:
    return any(view.get(Guarded, (selection, "ingress", isolates)) for isolates in (True, False))


def _has_port(view: View, pod: Pod) -> bool:
    """Whether pods.port yields: what refers to a port that is not there would be in vain."""
    allocation = view.get(PodAllocation, pod.key)
    return (
        bool(pod.node)
        and not pod.finished
        and allocation is not None
        and allocation.uid == pod.uid
        and view.get(NodeSubnets, pod.node) is not None
    )


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
