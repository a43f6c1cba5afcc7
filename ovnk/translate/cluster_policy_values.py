"""Values between cluster-wide policies and ACLs: all derived, none an input.

    ClusterNetworkPolicy       ┐                            ┌─▶ Height ─▶ Start ────────┐
    AdminNetworkPolicy         ├─▶ ClusterWide ─▶ PlacedRule ─▶ Concerned ─▶ Meeting ┐  ├─▶ ACLs
    BaselineAdminNetworkPolicy ┘                            └─▶ Share ◀──────────────┴──┘

Height and Start are about where rules stand (precedence.py), the others about what is left to each (residues.py).
"""

from msgspec import Struct

from ovnk.kube.policy_objects import ClusterPolicy, PodPeers, PolicyPort, Rule, Selector


class ClusterWide(Struct, frozen=True):
    """A cluster-wide policy of any kind."""

    policy: ClusterPolicy

    @property
    def kind(self) -> str:
        """The API's kind."""
        return type(self.policy).__name__

    @property
    def key(self) -> tuple[str, str]:
        """Kind and name."""
        return (self.kind, self.policy.name)


class PlacedRule(Struct, frozen=True):
    """A rule and where it stands among all: by tier, direction, `priority` (0 first) and `slot` (0 first).

    `kind` and `policy` name the object, `index` the rule in its direction, `log` is the policy's annotation.
    """

    kind: str
    policy: str
    direction: str
    index: int
    tier: str
    priority: int
    slot: int
    subject: PodPeers
    rule: Rule
    log: str

    @property
    def key(self) -> tuple[str, str, str, int]:
        """Whose rule it is."""
        return (self.kind, self.policy, self.direction, self.index)

    @property
    def line(self) -> tuple[str, str]:
        """The line that it stands in: tier and direction."""
        return (self.tier, self.direction)


class Concerned(Struct, frozen=True):
    """Some rule of the line (tier and direction) is about these pods; `passing`: it passes what it matches."""

    line: tuple[str, str]
    subject: PodPeers
    passing: bool

    @property
    def key(self) -> tuple[tuple[str, str], PodPeers, bool]:
        """All of it."""
        return (self.line, self.subject, self.passing)


class Meeting(Struct, frozen=True):
    """Rules of the line are about `subject`, others pass for `passed`, and some pods may be of both."""

    line: tuple[str, str]
    subject: PodPeers
    passed: PodPeers

    @property
    def key(self) -> tuple[tuple[str, str], PodPeers, PodPeers]:
        """All of it."""
        return (self.line, self.subject, self.passed)


class Height(Struct, frozen=True):
    """Some policy has so many slots at this priority."""

    tier: str
    direction: str
    priority: int
    slots: int

    @property
    def key(self) -> tuple[str, str, int, int]:
        """All of it."""
        return (self.tier, self.direction, self.priority, self.slots)


class Start(Struct, frozen=True):
    """At which place of its line a priority begins, where the grid does not do."""

    tier: str
    direction: str
    priority: int
    place: int

    @property
    def key(self) -> tuple[str, str, int]:
        """The priority it is about."""
        return (self.tier, self.direction, self.priority)


class Part(Struct, frozen=True):
    """Addresses: those of the selected pods or nodes, or of the nodes' own ports in the pod network; all without any.

    Of those the ones `within` the networks (None: wherever), that are not of the nodes in `without`.
    """

    pods: tuple[PodPeers, ...] = ()
    nodes: tuple[Selector, ...] = ()
    own_ports: bool = False
    within: tuple[str, ...] | None = None
    without: tuple[Selector, ...] = ()


class Share(Struct, frozen=True):
    """What of a rule is left to it, as one ACL says it: subject × peers × ports, any of each.

    `peers` is None for everybody, `ports` None for everything; a port's protocol may also be OTHER. `piece` tells the
    shares of a rule from one another; `action` is what is done, Pass where the server can. `instead` says what of the
    rule could not be done, "" if all could.
    """

    rule: PlacedRule
    piece: int
    action: str
    subject: PodPeers
    peers: tuple[Part, ...] | None
    ports: tuple[PolicyPort, ...] | None
    instead: str = ""

    @property
    def key(self) -> tuple[tuple[str, str, str, int], int]:
        """Whose share it is."""
        return (self.rule.key, self.piece)

    @property
    def policy(self) -> tuple[str, str]:
        """Kind and name of the policy."""
        return (self.rule.kind, self.rule.policy)
