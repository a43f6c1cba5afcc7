"""Values between policies and pods: selections, label sets, and which of them match. All derived, none an input.

    policy ──▶ Selection ─┐                       ┌──▶ members of port groups and address sets
                          ├─▶ Match (selection ×  │
    pod ─────▶ LabelSet ──┘          label set) ──┘

A pod's own work is the matches of its label set; a thousand pods of one Deployment share one label set.
"""

from msgspec import Struct

from ovnk.kube.objects import Labels
from ovnk.kube.policy_objects import PodPeers, Selector
from ovnk.translate import selectors

# The scope of selections that are not of one namespace.
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

    @property
    def scope(self) -> str:
        """The one namespace it is about, or ANYWHERE."""
        return self.peers.namespace or ANYWHERE


class NodeSelection(Struct, frozen=True):
    """Nodes that some cluster-wide policy is about as peers."""

    nodes: Selector

    @property
    def key(self) -> str:
        """Its canonical text."""
        return f"nodes: {selectors.text(self.nodes)}"


class LabelSet(Struct, frozen=True):
    """What selectors see of a pod: its namespace and labels."""

    namespace: str
    labels: Labels

    @property
    def key(self) -> tuple[str, Labels]:
        """Itself, as a tuple."""
        return (self.namespace, self.labels)


class Match(Struct, frozen=True):
    """The selection (by key) matches the label set (by key)."""

    selection: str
    label_set: tuple[str, Labels]

    @property
    def key(self) -> tuple[str, tuple[str, Labels]]:
        """Both."""
        return (self.selection, self.label_set)


class NamedUse(Struct, frozen=True):
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
