"""Policies as the compiler sees them: selectors, peers and ports as values (objects.py).

NetworkPolicy (networking.k8s.io/v1) and the cluster-wide policies (policy.networking.k8s.io) come down to the same
parts, so that what enforces them is written once.
"""

from msgspec import Struct

from ovnk.kube.objects import Key


class Requirement(Struct, frozen=True, gc=False, order=True):
    """One line of a label selector: `operator` is In, NotIn, Exists or DoesNotExist; a matchLabel is In one value."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


# All must hold; sorted, so that equal selectors are equal values. The empty selector matches everything.
Selector = tuple[Requirement, ...]


class Block(Struct, frozen=True, gc=False):
    """An ipBlock, or a networks entry: a CIDR without some of its parts."""

    cidr: str
    excepts: tuple[str, ...] = ()


class PodPeers(Struct, frozen=True, gc=False):
    """Pods by their own labels in namespaces: one namespace by name, or all that `namespaces` selects."""

    pods: Selector
    namespace: str = ""
    namespaces: Selector | None = None


class NodePeers(Struct, frozen=True, gc=False):
    """Nodes by their labels (cluster-wide policies only)."""

    nodes: Selector


Peer = Block | PodPeers | NodePeers


class PolicyPort(Struct, frozen=True, gc=False):
    """What part of a protocol: a number, a range (first ≤ last), a port's `name` at each pod, or (0) all of it."""

    protocol: str
    first: int = 0
    last: int = 0
    name: str = ""


class Rule(Struct, frozen=True):
    """`peers` and `ports` any of which match; None means all there are, an empty tuple nothing.

    `action` is Accept for NetworkPolicy; Accept, Deny or Pass for cluster-wide policies. `name` is theirs too.
    """

    peers: tuple[Peer, ...] | None
    ports: tuple[PolicyPort, ...] | None
    action: str = "Accept"
    name: str = ""


class NetworkPolicy(Struct, frozen=True):
    """A networking.k8s.io/v1 NetworkPolicy, its policyTypes defaulted. `ingress` is None where it does not isolate.

    One that is there but cannot be understood is `invalid` (why) and has no rules: it isolates in both directions and
    lets nothing through until it is fixed.
    """

    namespace: str
    name: str
    uid: str
    subject: Selector
    ingress: tuple[Rule, ...] | None = None
    egress: tuple[Rule, ...] | None = None
    log: str = ""
    invalid: str = ""

    @property
    def key(self) -> Key:
        """The policy as "namespace/name"."""
        return f"{self.namespace}/{self.name}"


class ClusterPolicy(Struct, frozen=True):
    """A cluster-wide policy: `tier` Admin or Baseline, `priority` 0 (first) to 1000.

    `subject` selects pods in namespaces. Rules are in the order in which they are tried; the action of one that cannot
    be understood is Deny, of everything. `invalid` says what could not be understood, and what stands in its place.
    `version` is the API's that it was read in.
    """

    name: str
    uid: str
    tier: str
    priority: int
    subject: PodPeers
    ingress: tuple[Rule, ...] = ()
    egress: tuple[Rule, ...] = ()
    log: str = ""
    invalid: tuple[str, ...] = ()
    generation: int = 0
    version: str = ""

    @property
    def key(self) -> Key:
        """The policy's name; names are of a kind."""
        return self.name


class Standing(Struct, frozen=True):
    """What there is to say of a cluster-wide policy: its `faults`, a sentence each, none where all is as written."""

    kind: str
    name: str
    version: str
    generation: int
    faults: tuple[str, ...]


class ClusterNetworkPolicy(ClusterPolicy, frozen=True):
    """policy.networking.k8s.io/v1alpha2."""


class AdminNetworkPolicy(ClusterPolicy, frozen=True):
    """policy.networking.k8s.io/v1alpha1, the Admin tier."""


class BaselineAdminNetworkPolicy(ClusterPolicy, frozen=True):
    """policy.networking.k8s.io/v1alpha1, the one of the Baseline tier."""
