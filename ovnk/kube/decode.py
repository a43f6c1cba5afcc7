"""API JSON in, the frozen values of objects.py out, or InvalidObject that names the field.

Only the fields that are used are decoded: msgspec skips the rest without building it, so that 5.3 KB of Pod cost
11 µs and 0.9 KB (measured, 10,000 pods), and a status heartbeat gives an equal value. Nothing here knows where the
bytes came from: a list, a watch or a manifest on disk.
"""

import ipaddress
import re
import sys
from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec
from msgspec import Raw, Struct, field

from ovnk import contract
from ovnk.errors import InvalidObject
from ovnk.kube.objects import Key, Labels, Namespace, Node, NodeNetwork, Pod

Json = bytes | Raw


class Resource(Struct, frozen=True):
    """A kind and where the API lists it ("/api/v1/pods", or a namespace's "/api/v1/namespaces/shop/pods")."""

    path: str
    kind: type


class Identity(Struct, frozen=True):
    """What every object has, whatever else is wrong with it. Absent parts are ""."""

    key: Key
    uid: str
    resource_version: str


NAMESPACES = Resource("/api/v1/namespaces", Namespace)
NODES = Resource("/api/v1/nodes", Node)
PODS = Resource("/api/v1/pods", Pod)
NODE_NETWORKS = Resource(f"/apis/{contract.GROUP}/{contract.VERSION}/{contract.PLURAL}", NodeNetwork)


def identity(raw: Json) -> Identity:
    """The object's key, uid and version; all "" when there is no metadata to be read."""
    try:
        metadata = _IDENTIFIED.decode(raw).metadata or _Metadata()
    except (ValueError, RecursionError):
        return Identity("", "", "")
    name, namespace = metadata.name or "", metadata.namespace or ""
    key = f"{namespace}/{name}" if namespace else name
    return Identity(key, metadata.uid or "", metadata.resource_version or "")


def namespace(raw: Json) -> Namespace:
    """The Namespace in `raw`. Raises InvalidObject."""
    metadata = _decode(Namespace, _NAMESPACE, raw).metadata or _Metadata()
    return Namespace(_name(Namespace, raw, metadata.name, LABEL), _labels(metadata.labels))


def node(raw: Json) -> Node:
    """The Node in `raw`: its first InternalIP of each family, and its podCIDRs (podCIDR where there is no list).

    Raises InvalidObject for an address that is none, and for podCIDRs that are malformed, more than two, two of one
    family, or too small to hold a router, a management port and a pod.
    """
    wire = _decode(Node, _NODE, raw)
    metadata, spec, status = wire.metadata or _Metadata(), wire.spec or _NodeSpec(), wire.status or _NodeStatus()
    addresses: dict[int, str] = {}
    for index, entry in enumerate(status.addresses or ()):
        if entry.type == "InternalIP":
            text = _address(Node, raw, f"status.addresses[{index}].address", entry.address)
            addresses.setdefault(_family(text), text)
    return Node(
        name=_name(Node, raw, metadata.name, SUBDOMAIN),
        uid=metadata.uid or "",
        addresses=tuple(addresses.values()),
        pod_cidrs=_pod_cidrs(raw, spec),
    )


def pod(raw: Json) -> Pod:
    """The Pod in `raw`. Raises InvalidObject.

    A static pod's uid is its annotation kubernetes.io/config.hash: the API server gave its mirror another one, but
    kubelet and CNI (K8S_POD_UID) know it by the hash (pkg/kubelet/types, IsMirrorPod; seen with Kubernetes 1.36).
    """
    wire = _decode(Pod, _POD, raw)
    metadata, spec, status = wire.metadata or _Metadata(), wire.spec or _PodSpec(), wire.status or _PodStatus()
    annotations = metadata.annotations or _Annotations()
    uid = metadata.uid or ""
    if annotations.config_mirror:
        uid = annotations.config_hash or annotations.config_mirror
    listed = [entry.ip for entry in status.pod_ips or ()]
    if not listed and status.pod_ip:
        listed = [status.pod_ip]
    return Pod(
        # A manifest that names no namespace goes to "default", as with kubectl; the API always names one.
        namespace=_name(Pod, raw, metadata.namespace or "default", LABEL, "metadata.namespace"),
        name=_name(Pod, raw, metadata.name, SUBDOMAIN),
        uid=uid,
        node=sys.intern(spec.node_name or ""),
        host_network=bool(spec.host_network),
        finished=status.phase in ("Succeeded", "Failed"),
        labels=_labels(metadata.labels),
        ips=tuple(_address(Pod, raw, f"status.podIPs[{index}].ip", ip) for index, ip in enumerate(listed)),
    )


def node_network(raw: Json) -> NodeNetwork:
    """The NodeNetwork in `raw`. Raises InvalidObject when its spec does not fit the contract."""
    wire = _decode(NodeNetwork, _NODE_NETWORK, raw)
    metadata = wire.metadata or _Metadata()
    if wire.spec is None:
        raise _invalid(NodeNetwork, raw, "spec", "is missing")
    for path, text, kind in _texts(wire.spec):
        if not _is_canonical(text, kind):
            why = f'"{text}" is not {_EXAMPLES[kind]} in its canonical form; the controller writes it anew'
            raise _invalid(NodeNetwork, raw, path, why)
    return NodeNetwork(
        name=_name(NodeNetwork, raw, metadata.name, SUBDOMAIN),
        spec=wire.spec,
        uid=metadata.uid or "",
        resource_version=metadata.resource_version or "",
    )


# kind → where it is listed and how it is decoded: what the controller watches, what a manifest may hold
KINDS: dict[str, tuple[Resource, Callable[[Json], Namespace | Node | Pod | NodeNetwork]]] = {
    "Namespace": (NAMESPACES, namespace),
    "Node": (NODES, node),
    "Pod": (PODS, pod),
    "NodeNetwork": (NODE_NETWORKS, node_network),
}


# The wire: every part may be absent or null, since a manifest on disk has not been through an API server.


class _Annotations(Struct, gc=False):
    config_hash: str | None = field(name="kubernetes.io/config.hash", default=None)
    config_mirror: str | None = field(name="kubernetes.io/config.mirror", default=None)


class _Metadata(Struct, rename="camel", gc=False):
    name: str | None = None
    namespace: str | None = None
    uid: str | None = None
    resource_version: str | None = None
    labels: dict[str, str] | None = None
    annotations: _Annotations | None = None


class _Identified(Struct, gc=False):
    metadata: _Metadata | None = None


class _NodeSpec(Struct, gc=False):
    pod_cidrs: list[str] | None = field(name="podCIDRs", default=None)
    pod_cidr: str | None = field(name="podCIDR", default=None)


class _NodeAddress(Struct, gc=False):
    type: str
    address: str


class _NodeStatus(Struct, gc=False):
    addresses: list[_NodeAddress] | None = None


class _Node(Struct, gc=False):
    metadata: _Metadata | None = None
    spec: _NodeSpec | None = None
    status: _NodeStatus | None = None


class _PodSpec(Struct, rename="camel", gc=False):
    node_name: str | None = None
    host_network: bool | None = None


class _PodIP(Struct, gc=False):
    ip: str


class _PodStatus(Struct, gc=False):
    phase: str | None = None
    pod_ips: list[_PodIP] | None = field(name="podIPs", default=None)
    pod_ip: str | None = field(name="podIP", default=None)


class _Pod(Struct, gc=False):
    metadata: _Metadata | None = None
    spec: _PodSpec | None = None
    status: _PodStatus | None = None


class _NodeNetwork(Struct):
    metadata: _Metadata | None = None
    spec: contract.NodeNetworkSpec | None = None


_IDENTIFIED = msgspec.json.Decoder(_Identified)
_NAMESPACE = msgspec.json.Decoder(_Identified)
_NODE = msgspec.json.Decoder(_Node)
_POD = msgspec.json.Decoder(_Pod)
_NODE_NETWORK = msgspec.json.Decoder(_NodeNetwork)

Wire = TypeVar("Wire")


def _decode(kind: type, decoder: "msgspec.json.Decoder[Wire]", raw: Json) -> Wire:
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        path = where.rstrip("`").lstrip(".") or "object"
        raise _invalid(kind, raw, path, f"cannot be used: {what[0].lower()}{what[1:]}") from None
    except (ValueError, RecursionError) as error:  # malformed JSON, bytes that are not UTF-8, nesting without end
        raise _invalid(kind, raw, "object", f"is not JSON that can be read: {error}") from None


def _invalid(kind: type, raw: Json, path: str, why: str) -> InvalidObject:
    found = identity(raw)
    return InvalidObject(kind.__name__, found.key, path, why, found.uid)


# RFC 1123, as the API server checks it. A '/' or ':' in a name could pass for another port's iface-id.
LABEL = (re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"), 63)
SUBDOMAIN = (re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?"), 253)


def _name(
    kind: type, raw: Json, text: str | None, rule: tuple[re.Pattern[str], int], path: str = "metadata.name"
) -> str:
    pattern, length = rule
    if not text:
        raise _invalid(kind, raw, path, "is missing")
    if len(text) > length or not pattern.fullmatch(text):
        why = f'"{text}" is not a name: at most {length} of a–z, 0–9, "-" and, where dots are allowed, "."'
        raise _invalid(kind, raw, path, why)
    # The same namespace a thousand times is one string.
    return sys.intern(text) if rule is LABEL else text


def _labels(labels: dict[str, str] | None) -> Labels:
    return tuple(sorted((sys.intern(key), sys.intern(value)) for key, value in (labels or {}).items()))


def _family(address: str) -> int:
    return 6 if ":" in address else 4


def _address(kind: type, raw: Json, path: str, text: str) -> str:
    """The address in its canonical form ("FD00::01" → "fd00::1"); one with a zone ("fe80::1%eth0") is none."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise _invalid(kind, raw, path, f'"{text}" is not an IP address') from None
    if "%" in text:
        raise _invalid(kind, raw, path, f'"{text}" has a zone, which means nothing to another machine')
    return str(address)


def _pod_cidrs(raw: Json, spec: _NodeSpec) -> tuple[str, ...]:
    cidrs = spec.pod_cidrs or ([spec.pod_cidr] if spec.pod_cidr else [])
    consequence = "the node has no pod network until it is fixed"
    if len(cidrs) > 2:
        raise _invalid(Node, raw, "spec.podCIDRs", f"has {len(cidrs)} entries, at most one a family; {consequence}")
    networks = []
    for index, text in enumerate(cidrs):
        path = f"spec.podCIDRs[{index}]"
        try:
            network = ipaddress.ip_network(text)
        except ValueError as error:
            raise _invalid(Node, raw, path, f"cannot be used: {error}; {consequence}") from None
        if network.num_addresses < 8:
            why = f'"{text}" has no room for a router, a management port and a pod; {consequence}'
            raise _invalid(Node, raw, path, why)
        networks.append(network)
    if len(networks) == 2 and networks[0].version == networks[1].version:
        raise _invalid(Node, raw, "spec.podCIDRs", f"has two networks of IPv{networks[0].version}; {consequence}")
    return tuple(str(network) for network in networks)


_EXAMPLES = {
    ipaddress.ip_address: 'an address ("10.244.1.3")',
    ipaddress.ip_interface: 'an address with its prefix length ("10.244.1.2/24")',
    ipaddress.ip_network: 'a network ("10.244.1.0/24")',
}


def _texts(spec: contract.NodeNetworkSpec) -> Iterable[tuple[str, str, Callable[[str], object]]]:
    """Every text of the spec that stands for an address or network: where it is, itself, and what must read it."""
    for index, subnet in enumerate(spec.subnets):
        yield f"spec.subnets[{index}].cidr", subnet.cidr, ipaddress.ip_network
        yield f"spec.subnets[{index}].gateway", subnet.gateway, ipaddress.ip_address
    for index, text in enumerate(spec.management.addresses if spec.management else ()):
        yield f"spec.management.addresses[{index}]", text, ipaddress.ip_interface
    for name, cidrs in (("clusterCidrs", spec.cluster_cidrs), ("serviceCidrs", spec.service_cidrs)):
        for index, text in enumerate(cidrs):
            yield f"spec.{name}[{index}]", text, ipaddress.ip_network
    for index, allocation in enumerate(spec.pods):
        for place, text in enumerate(allocation.ips):
            yield f"spec.pods[{index}].ips[{place}]", text, ipaddress.ip_address


def _is_canonical(text: str, kind: Callable[[str], object]) -> bool:
    try:
        return "%" not in text and str(kind(text)) == text
    except ValueError:
        return False
