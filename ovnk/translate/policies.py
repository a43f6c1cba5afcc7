"""NetworkPolicies: ACLs on the port groups of their subjects. networking.k8s.io/v1, NetworkPolicySpec.

    subject's Port_Group ◀── ACL 10001 allow-related   one a rule (and one a number of each named port)
                         ◀── ACL 10000 drop            one a subject and direction, whatever isolates it

Allowed is the union of what all policies allow; replies pass by connection tracking. Egress is looked at after load
balancing, so that the backend decides and not the Service. The default deny is a function of its own: it stands even
where a rule cannot be made.
"""

from collections.abc import Iterator

from ovnk.incremental.graph import View
from ovnk.kube.objects import Namespace, Notice
from ovnk.kube.policy_objects import Block, NetworkPolicy, PodPeers, PolicyPort, Rule
from ovnk.northbound.facts import Fact, Member, Ref, row
from ovnk.translate import acl_matches, addressing, names
from ovnk.translate.acl_matches import SIDES
from ovnk.translate.selection_values import Guarded, NamedPort, NamedUse, NamespaceLog, Selection
from ovnk.translate.values import CLUSTER, Cluster

# What the annotation ovnk.io/log may say.
LOGS = ("", "allow", "deny", "both")
# What the API means by absent peers where a port is asked for by name: every pod there is.
EVERY_POD = PodPeers(pods=(), namespaces=())


def subject(policy: NetworkPolicy) -> Selection:
    """The pods that the policy is about."""
    return Selection(PodPeers(policy.subject, namespace=policy.namespace))


def directions(policy: NetworkPolicy) -> Iterator[tuple[str, tuple[Rule, ...]]]:
    """The directions in which the policy isolates, with their rules."""
    if policy.ingress is not None:
        yield "ingress", policy.ingress
    if policy.egress is not None:
        yield "egress", policy.egress


def isolated(policy: NetworkPolicy) -> list[tuple[str, str]]:
    """The index of policies by what they isolate: (selection, direction)."""
    return [(subject(policy).key, direction) for direction, _ in directions(policy)]


def selections(_view: View, policy: NetworkPolicy) -> Iterator[Selection]:
    """The selectors that the policy uses."""
    yield subject(policy)
    for direction, rules in directions(policy):
        for rule in rules:
            yield from map(Selection, _pod_peers(rule))
            if any(_named(rule)):
                yield from _holders(policy, direction, rule)


def guarded(_view: View, policy: NetworkPolicy) -> Iterator[Guarded]:
    """Whom the policy isolates."""
    for direction, _ in directions(policy):
        yield Guarded(subject(policy).key, direction, isolates=True)
        # Where no ACL allows anything, connections are not tracked (ovn-nb(5), ACL action), and who is isolated from
        # egress alone could not reply: the node's own access sees to it, which goes by ingress.
        yield Guarded(subject(policy).key, "ingress", isolates=False)


def named_uses(_view: View, policy: NetworkPolicy) -> Iterator[NamedUse]:
    """The ports that the policy asks for by name, and whose they are: its subjects', or for egress its peers'."""
    for direction, rules in directions(policy):
        for rule in rules:
            for port in _named(rule):
                for selection in _holders(policy, direction, rule):
                    yield NamedUse(selection.key, port.protocol, port.name)


def default_deny(view: View, guarded: Guarded) -> Iterator[Fact]:
    """What no policy allows is dropped at isolated pods. Named after the policies that isolate, as far as fits."""
    if not guarded.isolates:
        return
    policies = sorted(
        view.by(NetworkPolicy, "isolated", (guarded.selection, guarded.direction)), key=lambda policy: policy.key
    )
    if not policies:
        return
    more = f"+{len(policies) - 1}" if len(policies) > 1 else ""
    group = names.port_group(guarded.selection)
    key = f"{guarded.selection} {guarded.direction} isolated"
    yield row(
        "ACL",
        key,
        names.owner("NetworkPolicy", policies[0].key),
        "policies.default_deny",
        name=names.acl_name(f"NP:{policies[0].key}{more}", guarded.direction, "isolated"),
        direction=SIDES[guarded.direction][0],
        priority=names.ISOLATION_PRIORITY,
        match=acl_matches.both(acl_matches.subject(guarded.direction, group), "ip"),
        action="drop",
        **columns(view, guarded.direction, names.NETWORK_POLICY_TIER, _logged(view, policies, "deny")),
    )
    yield Member("Port_Group", group, "acls", Ref("ACL", key))


def rules(view: View, policy: NetworkPolicy) -> Iterator[Fact]:
    """An ACL for each rule's numbered ports, and one for each number that a named port has at some pod."""
    cluster = view.get(Cluster, CLUSTER)
    if cluster is None:
        return
    families = [addressing.family(cidr) for cidr in cluster.cluster_cidrs]
    group = names.port_group(subject(policy).key)
    for direction, some in directions(policy):
        on_subject = acl_matches.subject(direction, group)
        for index, rule in enumerate(some):
            place = f"{policy.key} {direction} {index}"
            yield from _block_sets(policy, place, rule)
            peers = _peers(direction, families, place, rule)
            if peers is None:
                continue
            numbered = None if rule.ports is None else [port for port in rule.ports if not port.name]
            if numbered is None or numbered:
                match = acl_matches.both(on_subject, peers or "ip", acl_matches.ports(numbered or ()))
                yield from _allow(view, policy, direction, f"{index}", group, match)
            for named in _numbers(view, policy, direction, rule):
                at = acl_matches.port(named.protocol, named.number)
                holders = names.port_group(named.text)
                where = f"{index}.{named.port}={named.number}/{named.protocol.lower()}"
                stands_on = group
                if direction == "ingress":
                    # Of a group without ports on a switch ovn-controller knows nothing there, and complains.
                    stands_on = holders
                    match = acl_matches.both(acl_matches.subject(direction, holders), peers or "ip", at)
                else:
                    where += f" of {named.selection}"
                    to = acl_matches.peers(direction, families, [holders], [named.text])
                    match = acl_matches.both(on_subject, to, _within(families, place, rule, named), at)
                yield from _allow(view, policy, direction, where, stands_on, match)


def meter(view: View, policy: NetworkPolicy) -> Iterator[Fact]:
    """The bound on what ACLs log, while any may."""
    if _logged(view, [policy], "allow") or _logged(view, [policy], "deny"):
        yield from meter_rows()


def meter_rows() -> Iterator[Fact]:
    """The Meter of all that is logged, so many lines a second (ovn-nb(5), Meter)."""
    band = Ref("Meter_Band", names.ACL_METER)
    owner, rule = names.CLUSTER_OWNER, "policies.meter"
    yield row("Meter_Band", band.key, owner, rule, action="drop", rate=names.ACL_LOG_LINES_S, burst_size=0)
    # A Meter without a band is refused even within a transaction that adds one, so it is a column and no Member.
    yield row("Meter", names.ACL_METER, owner, rule, name=names.ACL_METER, unit="pktps", fair=True, bands=[band])


def complaint(_view: View, policy: NetworkPolicy) -> Iterator[Notice]:
    """A policy that cannot be understood says so; it lets nothing through."""
    if policy.invalid:
        message = f"{policy.invalid}; the policy denies all ingress and egress of its pods until it is fixed"
        yield Notice("NetworkPolicy", policy.key, "Invalid", message, policy.uid)
    yield from log_complaint("NetworkPolicy", policy.key, policy.log, policy.uid)


def namespace_log(_view: View, namespace: Namespace) -> Iterator[NamespaceLog]:
    """What a Namespace asks to be logged: a value of its own, so that its labels change nothing for policies in it."""
    if namespace.log:
        yield NamespaceLog(namespace.name, namespace.log)


def namespace_complaint(_view: View, namespace: Namespace) -> Iterator[Notice]:
    """What a Namespace asks to be logged of its policies, where that cannot be understood."""
    yield from log_complaint("Namespace", namespace.name, namespace.log, namespace.uid)


def log_complaint(kind: str, key: str, log: str, uid: str) -> Iterator[Notice]:
    """An annotation ovnk.io/log that cannot be understood is told rather than passed over."""
    if log not in LOGS:
        message = f'annotation ovnk.io/log "{log}" is none of allow, deny and both; nothing is logged until it is fixed'
        yield Notice(kind, key, "UnknownLog", message, uid)


def columns(view: View, direction: str, tier: int, logged: bool) -> dict[str, object]:
    """Columns that all ACLs of policies have: when they are looked at, their tier, and whether they log."""
    cluster = view.get(Cluster, CLUSTER)
    found: dict[str, object] = {"log": logged}
    if direction == "egress":
        found["options"] = {"apply-after-lb": "true"}
    if cluster is not None and cluster.acl_tiers:
        found["tier"] = tier
    if logged:
        found |= {"severity": "info", "meter": names.ACL_METER}
    return found


def _allow(view: View, policy: NetworkPolicy, direction: str, rule: str, group: str, match: str) -> Iterator[Fact]:
    key = f"{policy.key} {direction} {rule}"
    yield row(
        "ACL",
        key,
        names.owner("NetworkPolicy", policy.key),
        "policies.rules",
        name=names.acl_name(f"NP:{policy.key}", direction, rule),
        direction=SIDES[direction][0],
        priority=names.NETWORK_POLICY_PRIORITY,
        match=match,
        action="allow-related",
        **columns(view, direction, names.NETWORK_POLICY_TIER, _logged(view, [policy], "allow")),
    )
    yield Member("Port_Group", group, "acls", Ref("ACL", key))


def _logged(view: View, policies: list[NetworkPolicy], verdict: str) -> bool:
    """Whether a policy, or its namespace where it says nothing itself, asks for this verdict to be logged."""
    for policy in policies:
        namespace = view.get(NamespaceLog, policy.namespace)
        asked = policy.log or (namespace.log if namespace is not None else "")
        if asked in (verdict, "both"):
            return True
    return False


def _pod_peers(rule: Rule) -> Iterator[PodPeers]:
    return (peer for peer in rule.peers or () if isinstance(peer, PodPeers))


def _named(rule: Rule) -> Iterator[PolicyPort]:
    return (port for port in rule.ports or () if port.name)


def _holders(policy: NetworkPolicy, direction: str, rule: Rule) -> list[Selection]:
    """Whose the rule's named ports are. Whatever is in a block or, without peers, anywhere, may be a pod with one."""
    if direction == "ingress":
        return [subject(policy)]
    anywhere = rule.peers is None or any(isinstance(peer, Block) for peer in rule.peers)
    peers = {*_pod_peers(rule), *([EVERY_POD] if anywhere else [])}
    return sorted(map(Selection, peers), key=lambda selection: selection.key)


def _within(families: list[int], place: str, rule: Rule, named: NamedPort) -> str:
    """Where the holders of an egress rule's named port must be: those that only a block makes peers are in it."""
    if named.selection != Selection(EVERY_POD).key or EVERY_POD in (rule.peers or (EVERY_POD,)):
        return ""
    return acl_matches.peers("egress", families, [], [place])


def _numbers(view: View, policy: NetworkPolicy, direction: str, rule: Rule) -> Iterator[NamedPort]:
    for port in _named(rule):
        for selection in _holders(policy, direction, rule):
            found = view.by(NamedPort, "use", (selection.key, port.protocol, port.name))
            yield from sorted(found, key=lambda named: named.number)


def _peers(direction: str, families: list[int], place: str, rule: Rule) -> str | None:
    """The rule's peers as an expression; "" for all there are, None for none at all."""
    if rule.peers is None:
        return ""
    pods = [Selection(peer).key for peer in rule.peers if isinstance(peer, PodPeers)]
    sets = [*pods, *([place] if any(isinstance(peer, Block) for peer in rule.peers) else [])]
    return acl_matches.peers(direction, families, [names.port_group(key) for key in pods], sets) or None


def _block_sets(policy: NetworkPolicy, place: str, rule: Rule) -> Iterator[Fact]:
    """The Address_Sets of the rule's ipBlocks, one a family; both, so that the ACL can name them."""
    given = [peer for peer in rule.peers or () if isinstance(peer, Block)]
    if not given:
        return
    networks = acl_matches.blocks(given)
    for family in (4, 6):
        key = names.address_set(place, family)
        yield row(
            "Address_Set",
            key,
            names.owner("NetworkPolicy", policy.key),
            "policies.rules",
            name=key,
            addresses=networks.get(family),
            external_ids={"selector": f"{place} blocks"},
        )
