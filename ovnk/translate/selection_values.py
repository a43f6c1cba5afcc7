"""Values between policies and pods: selections, label sets, and which of them match. All derived, none an input.

    policy ──▶ Selection ──▶ Reach ──┐
                   Namespace ──▲     ├──▶ Match ──▶ Matched ──▶ Selected, GuardedSet ──┐
    pod ──────▶ LabelSet ────────────┘                                                 ├──▶ members of groups and sets
      └────────────────────────────────────────────────────────────────────────────────┘

A pod's own work is what is wanted of its label set; a thousand pods of one Deployment share one label set. A selection
and a label set meet only where the selection looks: in a namespace, at a label that it asks for.
"""

from msgspec import Struct

from ovnk.kube.objects import Labels
from ovnk.kube.policy_objects import PodPeers, Selector
from ovnk.translate import selectors

# The place of selections that are about every namespace.
ANYWHERE = "*"


class Selection(Struct, frozen=True):
    """Pods that some policy is about, as its subject or as peers: one for each distinct selector."""

    peers: PodPeers

    @property
    def key(self) -> str:
        """Its canonical text: "shop: app=web", or "{team=a}: *" where namespaces are selected by labels."""
        peers = self.peers
        where = peers.namespace or "{" + selectors.text(peers.namespaces or ()) + "}"
        return f"{where}: {selectors.text(peers.pods)}"


class NodeSelection(Struct, frozen=True):
    """Nodes that some cluster-wide policy is about as peers."""

    nodes: Selector

    @property
    def key(self) -> str:
        """Its canonical text."""
        return f"nodes: {selectors.text(self.nodes)}"


class Reach(Struct, frozen=True):
    """The selection (by key) is about pods of that namespace, or of ANYWHERE: those that `pods` matches."""

    selection: str
    place: str
    pods: Selector

    @property
    def key(self) -> tuple[str, str]:
        """What reaches where."""
        return (self.selection, self.place)


class LabelSet(Struct, frozen=True, cache_hash=True):
    """What selectors see of pods: their namespace and labels."""

    namespace: str
    labels: Labels

    @property
    def key(self) -> "LabelSet":
        """Itself."""
        return self


class Match(Struct, frozen=True):
    """The selection (by key) matches the label set."""

    selection: str
    label_set: LabelSet

    @property
    def key(self) -> tuple[str, LabelSet]:
        """Both."""
        return (self.selection, self.label_set)


class Matched(Struct, frozen=True):
    """A label set that some selection matches."""

    label_set: LabelSet

    @property
    def key(self) -> "Matched":
        """Itself."""
        return self


class Selected(Struct, frozen=True):
    """What policies want of the pods of a label set: the selections that they are of, each by key.

    `uses` are the ports that are asked for by name at them.
    """

    label_set: LabelSet
    selections: tuple[str, ...]
    uses: tuple["NamedUse", ...]

    @property
    def key(self) -> LabelSet:
        """The label set."""
        return self.label_set


class GuardedSet(Struct, frozen=True):
    """Some policy decides about what reaches the pods of a label set. Beside Selected, for it changes less often."""

    label_set: LabelSet

    @property
    def key(self) -> LabelSet:
        """The label set."""
        return self.label_set


class NamedUse(Struct, frozen=True, order=True):
    """A policy asks for the port of that name at the pods of a selection."""

    selection: str
    protocol: str
    port: str

    @property
    def key(self) -> tuple[str, str, str]:
        """All of it."""
        return (self.selection, self.protocol, self.port)


class NamedPort(Struct, frozen=True):
    """Some pods of the selection have the port of that name at this number."""

    selection: str
    protocol: str
    port: str
    number: int

    @property
    def text(self) -> str:
        """What the group of these pods is called: "shop: app=web http=8080/TCP"."""
        return f"{self.selection} {self.port}={self.number}/{self.protocol}"

    @property
    def key(self) -> tuple[str, str, str, int]:
        """All of it."""
        return (self.selection, self.protocol, self.port, self.number)


class Guarded(Struct, frozen=True):
    """Some policy decides about the traffic of the selection's pods in that direction ("ingress" or "egress").

    `isolates`: by a NetworkPolicy, which shuts out all that no policy allows.
    """

    selection: str
    direction: str
    isolates: bool

    @property
    def key(self) -> tuple[str, str, bool]:
        """All of it."""
        return (self.selection, self.direction, self.isolates)


class GuardedNode(Struct, frozen=True):
    """A node with pods about which some policy decides what reaches them."""

    node: str

    @property
    def key(self) -> str:
        """The node's name."""
        return self.node


class NamespaceLog(Struct, frozen=True):
    """What of its policies' verdicts a Namespace asks to be logged (Namespace.log)."""

    namespace: str
    log: str

    @property
    def key(self) -> str:
        """The Namespace's name."""
        return self.namespace
