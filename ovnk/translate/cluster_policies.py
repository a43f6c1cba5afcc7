"""Cluster-wide policies: which rules there are, where each stands, what is left to each. policy.networking.k8s.io.

    subject's Port_Group ◀── ACLs of the Admin band     Accept: allow-related, Deny: drop; either decides
                         ◀── ACLs of NetworkPolicies    (policies.py)
                         ◀── ACLs of the Baseline band

Where the server has tiers, Pass is an ACL too, which goes on to the next tier. Where not, what passes is taken out of
the rules behind it (residues.py); a Pass at a named port denies there, for "no such port" cannot be said positively.

Pods in their node's network are neither subjects nor peers. The ACLs themselves: cluster_policy_acls.py.
"""

from collections.abc import Iterable, Iterator

import msgspec

from ovnk.incremental.graph import View
from ovnk.kube.objects import Notice
from ovnk.kube.policy_objects import ClusterPolicy, PodPeers, Standing
from ovnk.translate import policies, precedence, residues
from ovnk.translate.cluster_policy_values import ClusterWide, Concerned, Height, Meeting, PlacedRule, Share, Start
from ovnk.translate.selection_values import Guarded, NamedUse, NodeSelection, Selection
from ovnk.translate.values import CLUSTER, EVERYWHERE, Cluster

BY_NAME = "passes by the name of a port, which OVN before 23.06 cannot do; it denies there instead"
INTRICATE = "is behind rules that pass too much in too many ways for OVN before 23.06"


def cluster_network_policy(_view: View, policy: ClusterPolicy) -> Iterator[ClusterWide]:
    """A ClusterNetworkPolicy as one of all kinds."""
    yield ClusterWide(policy)


def admin_network_policy(_view: View, policy: ClusterPolicy) -> Iterator[ClusterWide]:
    """An AdminNetworkPolicy as one of all kinds."""
    yield ClusterWide(policy)


def baseline_admin_network_policy(_view: View, policy: ClusterPolicy) -> Iterator[ClusterWide]:
    """A BaselineAdminNetworkPolicy as one of all kinds."""
    yield ClusterWide(policy)


def placed_rules(_view: View, wide: ClusterWide) -> Iterator[PlacedRule]:
    """The policy's rules, each where it stands; those that match nothing stand nowhere."""
    policy = wide.policy
    for direction, rules in (("ingress", policy.ingress), ("egress", policy.egress)):
        for index, (rule, slot) in enumerate(zip(rules, precedence.slots(rules), strict=True)):
            if rule.peers != ():
                place = (direction, index, policy.tier, policy.priority, slot)
                yield PlacedRule(wide.kind, policy.name, *place, policy.subject, rule, policy.log)


def passing(placed: PlacedRule) -> Iterable[tuple[tuple[str, str], PodPeers]]:
    """The index of rules that pass something, by line and subject."""
    return ((placed.line, placed.subject),) if placed.rule.action == "Pass" else ()


def concerned(view: View, placed: PlacedRule) -> Iterator[Concerned]:
    """Whom the rule is about, where it matters who else is: on a server without tiers."""
    cluster = view.get(Cluster, CLUSTER)
    if cluster is not None and not cluster.acl_tiers:
        yield Concerned(placed.line, placed.subject, placed.rule.action == "Pass")


def meetings(_view: View, passing: Concerned, concerned: Concerned) -> Iterator[Meeting]:
    """Whether some pod may be of both subjects, so that rules about the one must know what the other passes."""
    if residues.meet(concerned.subject, passing.subject):
        yield Meeting(concerned.line, concerned.subject, passing.subject)


def heights(_view: View, placed: PlacedRule) -> Iterator[Height]:
    """So many slots the rule needs of its priority."""
    yield Height(placed.tier, placed.direction, placed.priority, placed.slot + 1)


def starts(view: View, _cluster: Cluster) -> Iterator[Start]:
    """Where priorities begin, once one is too high for the grid. Linear in the priorities that are used."""
    yield from precedence.packed(view.by(Height, EVERYWHERE, True))


def subjects(_view: View, placed: PlacedRule) -> Iterator[Selection]:
    """The pods that the rule is about, whatever is left of it."""
    yield Selection(placed.subject)


def guarded(_view: View, placed: PlacedRule) -> Iterator[Guarded]:
    """Whom the rule is about, whichever the direction: connections are tracked once an ACL allows (ovn-nb(5))."""
    yield Guarded(Selection(placed.subject).key, "ingress", isolates=False)


def shares(view: View, placed: PlacedRule) -> Iterator[Share]:
    """What is left of the rule: all of it, unless the server has no tiers and something before passes part of it.

    Linear in the rules that pass for pods that it may be about, on a server without tiers.
    """
    cluster = view.get(Cluster, CLUSTER)
    if cluster is None:
        return
    if cluster.acl_tiers:
        yield residues.whole(placed, placed.rule.action)
        return
    instead = ""
    if placed.rule.action == "Pass":
        named = tuple(port for port in placed.rule.ports or () if port.name)
        if not named:
            return
        placed, instead = _with(placed, action="Deny", ports=named), BY_NAME
    before = [
        one
        for meeting in view.by(Meeting, "subject", (placed.line, placed.subject))
        for one in view.by(PlacedRule, "passing", (placed.line, meeting.passed))
        if _is_before(one, placed)
    ]
    try:
        for share in residues.shares(placed, sorted(before, key=lambda one: one.key), cluster.cluster_cidrs):
            yield msgspec.structs.replace(share, instead=instead)
    except residues.TooIntricate:
        # What cannot be said is denied: nothing is accepted, and what should have passed is denied with the rest.
        if placed.rule.action == "Deny":
            yield residues.whole(placed, "Deny", f"{INTRICATE}; it denies all the same what they pass")
        else:
            yield residues.whole(_with(placed, peers=()), "Accept", f"{INTRICATE}; it accepts nothing")


def _is_before(one: PlacedRule, other: PlacedRule) -> bool:
    """Whether it is tried first. Rules of a policy that do the same share a slot, and are tried in their order."""
    if (one.kind, one.policy) == (other.kind, other.policy):
        return one.index < other.index
    return (one.priority, one.slot) < (other.priority, other.slot)


def _with(placed: PlacedRule, **changed: object) -> PlacedRule:
    """The same place with another rule in it."""
    return msgspec.structs.replace(placed, rule=msgspec.structs.replace(placed.rule, **changed))


def selections(_view: View, share: Share) -> Iterator[Selection]:
    """The pods that the share's ACL names."""
    yield Selection(share.subject)
    for part in share.peers or ():
        yield from map(Selection, part.pods)


def node_selections(_view: View, share: Share) -> Iterator[NodeSelection]:
    """The nodes that the share's ACL names."""
    for part in share.peers or ():
        for nodes in part.nodes:
            yield NodeSelection(nodes)


def named_uses(_view: View, share: Share) -> Iterator[NamedUse]:
    """The ports that the share asks for by name, and whose they are."""
    for port in share.ports or ():
        if port.name:
            for selection in holders(share):
                yield NamedUse(selection.key, port.protocol, port.name)


def holders(share: Share) -> list[Selection]:
    """Whose the share's named ports are: its subject's, or for egress its peers'."""
    if share.rule.direction == "ingress":
        return [Selection(share.subject)]
    return [Selection(one) for part in share.peers or () for one in part.pods]


def complaint(view: View, wide: ClusterWide) -> Iterator[Notice]:
    """What of the policy is not as it was written, or could not be read: an Event each."""
    policy = wide.policy
    for message in _faults(view, wide):
        yield Notice(wide.kind, policy.name, "Invalid", message, policy.uid)
    yield from policies.log_complaint(wide.kind, policy.name, policy.log, policy.uid)


def standing(view: View, wide: ClusterWide) -> Iterator[Standing]:
    """The same as the policy's condition says it."""
    policy = wide.policy
    yield Standing(wide.kind, policy.name, policy.version, policy.generation, tuple(_faults(view, wide)))


def _faults(view: View, wide: ClusterWide) -> list[str]:
    """What of the policy is not as it was written, or could not be read, a sentence each."""
    found = list(wide.policy.invalid)
    for share in sorted(view.by(Share, "policy", wide.key), key=lambda share: share.key):
        rule = f"spec.{share.rule.direction}[{share.rule.index}]"
        if share.instead:
            found.append(f"{rule} {share.instead}")
        elif priority(view, share) is None:
            what = "it denies last of all" if share.action == "Deny" else "it is left out"
            found.append(f"{rule} stands behind more rules than OVN has priorities for; {what}")
    return list(dict.fromkeys(found))


def priority(view: View, share: Share) -> int | None:
    """The priority of the share's ACLs; None where there is no room for it."""
    placed = share.rule
    start = view.get(Start, (placed.tier, placed.direction, placed.priority))
    return precedence.acl_priority(placed.tier, placed.priority, placed.slot, start.place if start else None)
