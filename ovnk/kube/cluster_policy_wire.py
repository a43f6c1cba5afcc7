"""policy.networking.k8s.io on the wire, all versions in one: the fields that are read, every one optional.

What must be there and what excludes what is decode_cluster_policies.py's to say: it has to tell rule by rule. Fields of
a later version are passed over here and missed there.
"""

from msgspec import Struct, field

from ovnk.kube import wire
from ovnk.kube.label_selectors import LabelSelector


class NamespacedPod(Struct, rename="camel", gc=False):
    """Pods by their labels, in namespaces by theirs."""

    namespace_selector: LabelSelector | None = None
    pod_selector: LabelSelector | None = None


class Peer(Struct, rename="camel", gc=False):
    """Any peer, and the subject."""

    namespaces: LabelSelector | None = None
    pods: NamespacedPod | None = None
    nodes: LabelSelector | None = None
    networks: list[str] | None = None
    domain_names: list[str] | None = None


class PortRange(Struct, gc=False):
    """`start` to `end`, both included; `protocol` in v1alpha1 alone."""

    start: int | None = None
    end: int | None = None
    protocol: str | None = None


class PortNumber(Struct, gc=False):
    """v1alpha1."""

    port: int | None = None
    protocol: str | None = None


class DestinationPort(Struct, gc=False):
    """v1alpha2."""

    number: int | None = None
    range: PortRange | None = None


class Protocol(Struct, rename="camel", gc=False):
    """v1alpha2: what is asked of one protocol."""

    destination_port: DestinationPort | None = None


class Port(Struct, rename="camel", gc=False):
    """An entry of `ports` (v1alpha1: the first three) or of `protocols` (v1alpha2: the others)."""

    port_number: PortNumber | None = None
    port_range: PortRange | None = None
    named_port: str | None = None
    tcp: Protocol | None = None
    udp: Protocol | None = None
    sctp: Protocol | None = None
    destination_named_port: str | None = None


class Rule(Struct, gc=False):
    """A rule of either direction."""

    name: str | None = None
    action: str | None = None
    sources: list[Peer] | None = field(name="from", default=None)
    targets: list[Peer] | None = field(name="to", default=None)
    ports: list[Port] | None = None
    protocols: list[Port] | None = None


class Spec(Struct, gc=False):
    """The spec of any of the three kinds."""

    tier: str | None = None
    priority: int | None = None
    subject: Peer | None = None
    ingress: list[Rule] | None = None
    egress: list[Rule] | None = None


class Versioned(Struct, rename="camel", gc=False):
    """Any object, of which nothing but its version is read."""

    api_version: str | None = None


class Policy(Struct, gc=False):
    """Any of the three kinds."""

    metadata: wire.Metadata | None = None
    spec: Spec | None = None
