"""The cluster's objects as the compiler sees them: frozen, narrow, and equal when nothing that matters changed.

A status heartbeat decodes to an equal value and stops at the edge. What a feature needs of an object is added
here and in decode.py, nowhere else.
"""

from typing import Protocol

from msgspec import Struct

from ovnk.contract import NodeNetworkSpec

# Sorted pairs: hashable, and one value for one set of labels.
Labels = tuple[tuple[str, str], ...]
# "namespace/name", or "name" for what is cluster-scoped.
Key = str


class Namespace(Struct, frozen=True, gc=False):
    """A Namespace: a place for names, selected by its labels.

    `log` is what of its policies' verdicts is logged: "allow", "deny", "both" or "" (annotation ovnk.io/log).
    """

    name: str
    labels: Labels = ()
    log: str = ""
    uid: str = ""

    @property
    def key(self) -> Key:
        """The Namespace's name."""
        return self.name


class Node(Struct, frozen=True, gc=False):
    """A Node. `addresses` are its InternalIPs, `pod_cidrs` its spec.podCIDRs, both as text, at most one a family.

    `zone` is its label topology.kubernetes.io/zone, "" without one.
    """

    name: str
    uid: str = ""
    addresses: tuple[str, ...] = ()
    pod_cidrs: tuple[str, ...] = ()
    zone: str = ""
    labels: Labels = ()

    @property
    def key(self) -> Key:
        """The Node's name."""
        return self.name


class Pod(Struct, frozen=True, gc=False):
    """A Pod. `ips` is what its status says (podIPs), `finished` whether its phase is Succeeded or Failed.

    `node` is "" until it is scheduled. A finished pod has given its addresses back, whatever its status says.
    `ports` are its containers' named ports: (name, protocol, number).
    """

    namespace: str
    name: str
    uid: str
    node: str = ""
    host_network: bool = False
    finished: bool = False
    labels: Labels = ()
    ips: tuple[str, ...] = ()
    ports: tuple[tuple[str, str, int], ...] = ()

    @property
    def key(self) -> Key:
        """The Pod as "namespace/name"."""
        return f"{self.namespace}/{self.name}"


class NodeNetwork(Struct, frozen=True):
    """A NodeNetwork as the API server holds it: the record of allocations, with the version that fences a writer."""

    name: str
    spec: NodeNetworkSpec
    uid: str = ""
    resource_version: str = ""

    @property
    def key(self) -> Key:
        """The name of the node it belongs to."""
        return self.name


class KubeObject(Protocol):
    """What the informer hands on for every kind it watches: a frozen value that knows its key."""

    @property
    def key(self) -> Key:
        """The object as "namespace/name", or "name" for what is cluster-scoped."""


class Put(Struct, frozen=True):
    """An object is there, new or changed."""

    value: KubeObject


class Remove(Struct, frozen=True):
    """An object is gone (or has become invalid, which is the same to the compiler)."""

    kind: type
    key: Key


class Replace(Struct, frozen=True):
    """All objects of a kind after a (re)list: what is not in `values` is gone. The first one makes the kind synced."""

    kind: type
    values: dict[Key, KubeObject]


Change = Put | Remove | Replace


class Notice(Struct, frozen=True):
    """Something to be told about an object with an Event: `kind` and `key` name it, `reason` is CamelCase.

    `warning` chooses the Event's type (Warning, else Normal).
    """

    kind: str
    key: Key
    reason: str
    message: str
    uid: str = ""
    warning: bool = True
