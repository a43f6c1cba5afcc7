"""The ACLs of cluster-wide policies: what cluster_policies.py leaves of each rule, on its subjects' Port_Group."""

from collections.abc import Iterator, Sequence
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from ovnk.incremental.graph import View
from ovnk.kube.objects import Node
from ovnk.kube.policy_objects import Block, Selector
from ovnk.northbound.facts import Fact, Member, Ref, row
from ovnk.translate import acl_matches, addressing, cluster_policies, names, policies, selectors
from ovnk.translate.cluster_policy_values import Part, Share
from ovnk.translate.selection_values import NamedPort, NodeSelection, Selection
from ovnk.translate.values import CLUSTER, EVERYWHERE, Cluster, NodeSubnets

ACTIONS = {"Accept": "allow-related", "Deny": "drop", "Pass": "pass"}
VERDICTS = {"Accept": "allow", "Deny": "deny", "Pass": ""}
# The router's and the node's own port in each node's subnet.
OWN_OFFSETS = (addressing.ROUTER_OFFSET, addressing.MANAGEMENT_OFFSET)


class _Matched(NamedTuple):
    """A match, the Port_Group whose ports it is about, and which of the rule's ports ("" for all that have numbers)."""

    match: str
    group: str
    where: str = ""


def acls(view: View, share: Share) -> Iterator[Fact]:
    """An ACL for the share's numbered ports, and one for each number that a named port has at some pod.

    Where there is no room for the rule it denies at the band's end, if it denies.
    """
    cluster, placed = view.get(Cluster, CLUSTER), share.rule
    if cluster is None or share.peers == ():
        return
    band = names.POLICY_BANDS[placed.tier]
    priority = cluster_policies.priority(view, share)
    if priority is None and share.action != "Deny":
        return
    index = f"{placed.index}.{share.piece}" if share.piece else f"{placed.index}"
    place = f"{placed.kind}/{placed.policy} {placed.direction} {index}"
    sets = {
        (number, family): found
        for number, part in enumerate(share.peers or ())
        for family, found in _networks(view, part)
    }
    yield from (_address_set(share, place, *at, addresses) for at, addresses in sets.items())
    families = [addressing.family(cidr) for cidr in cluster.cluster_cidrs]
    logged = placed.log in (VERDICTS[share.action], "both") and share.action != "Pass"
    for found in _matches(view, share, families, {at: names.address_set(f"{place} {at[0]}", at[1]) for at in sets}):
        key = f"{place}{found.where}"
        shown = f"{index}{found.where}" + (f" {placed.rule.name}" if placed.rule.name else "")
        yield row(
            "ACL",
            key,
            names.owner(placed.kind, placed.policy),
            "cluster_policy_acls.acls",
            name=names.acl_name(f"{names.POLICY_KINDS[placed.kind]}:{placed.policy}", placed.direction, shown),
            direction=acl_matches.SIDES[placed.direction][0],
            priority=band.last if priority is None else priority,
            match=found.match,
            action=ACTIONS[share.action],
            **policies.columns(view, placed.direction, band.tier, logged),
        )
        yield Member("Port_Group", found.group, "acls", Ref("ACL", key))
    if logged:
        yield from policies.meter_rows()


def _matches(view: View, share: Share, families: Sequence[int], sets: dict[tuple[int, int], str]) -> Iterator[_Matched]:
    """What the share's ACLs match; `sets` are the Address_Sets of its parts that have networks, by part and family."""
    direction = share.rule.direction
    group = names.port_group(Selection(share.subject).key)
    on_subject = acl_matches.subject(direction, group)
    parts = [_part(direction, families, number, part, sets) for number, part in enumerate(share.peers or ())]
    peers = "ip" if share.peers is None else acl_matches.either(*parts)
    if not peers:
        return
    numbered = None if share.ports is None else [port for port in share.ports if not port.name]
    if numbered is None or numbered:
        yield _Matched(acl_matches.both(on_subject, peers, acl_matches.ports(numbered or ())), group)
    for port in share.ports or ():
        for holder in cluster_policies.holders(share) if port.name else ():
            found = view.by(NamedPort, "use", (holder.key, port.protocol, port.name))
            for named in sorted(found, key=lambda one: one.number):
                if port.first and not port.first <= named.number <= port.last:
                    continue
                having, at = names.port_group(named.text), acl_matches.port(named.protocol, named.number)
                where = f".{named.port}={named.number}/{named.protocol.lower()} of {named.selection}"
                if direction == "ingress":
                    on_holder = acl_matches.subject(direction, having)
                    yield _Matched(acl_matches.both(on_holder, peers, at), having, where)
                    continue
                to = [
                    _part(direction, families, number, part, sets, (having,))
                    for number, part in enumerate(share.peers or ())
                    if any(Selection(one) == holder for one in part.pods)
                ]
                if any(to):
                    yield _Matched(acl_matches.both(on_subject, acl_matches.either(*to), at), group, where)


def _part(
    direction: str,
    families: Sequence[int],
    number: int,
    part: Part,
    sets: dict[tuple[int, int], str],
    groups: tuple[str, ...] = (),
) -> str:
    """The part as an expression, with other `groups` than its pods' if given; "" where nothing is of it."""
    groups = groups or tuple(names.port_group(Selection(one).key) for one in part.pods)
    found = []
    for family in families:
        conditions = [acl_matches.peers(direction, [family], groups, [NodeSelection(one).key for one in part.nodes])]
        if part.within is not None:
            if (number, family) not in sets:
                continue
            conditions.append(acl_matches.in_set(direction, family, sets[number, family]))
        found.append(acl_matches.both(*conditions))
    return acl_matches.either(*found)


def _networks(view: View, part: Part) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The networks and addresses that a part with networks names, by family. Linear in the nodes, if about any."""
    if part.within is None:
        return
    blocks = [Block(network) for network in part.within]
    if part.own_ports:
        within = [ip_network(network) for network in part.within]
        blocks = [Block(address) for address in _own_ports(view) if any(ip_address(address) in one for one in within)]
    elif part.without:
        nodes = [address for selector in part.without for address in _node_addresses(view, selector)]
        blocks = [
            Block(one.cidr, tuple(other for other in nodes if addressing.family(other) == addressing.family(one.cidr)))
            for one in blocks
        ]
    yield from acl_matches.blocks(blocks).items()


def _own_ports(view: View) -> Iterator[str]:
    for subnets in view.by(NodeSubnets, EVERYWHERE, True):
        for subnet in subnets.ranges:
            yield from (addressing.nth(subnet.cidr, offset) for offset in OWN_OFFSETS)


def _node_addresses(view: View, selector: Selector) -> Iterator[str]:
    for node in view.by(Node, EVERYWHERE, True):
        if selectors.matches(selector, dict(node.labels)):
            yield from node.addresses


def _address_set(share: Share, place: str, number: int, family: int, addresses: tuple[str, ...]) -> Fact:
    key = names.address_set(f"{place} {number}", family)
    return row(
        "Address_Set",
        key,
        names.owner(share.rule.kind, share.rule.policy),
        "cluster_policy_acls.acls",
        name=key,
        addresses=addresses,
        external_ids={"selector": f"{place} networks"},
    )
