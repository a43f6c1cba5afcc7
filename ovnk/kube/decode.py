"""API JSON in, the frozen values of objects.py out, or InvalidObject that names the field.

Only the fields that are used are decoded (wire.py), so that a status heartbeat gives an equal value. Nothing here knows
where the bytes came from: a list, a watch or a manifest on disk.
"""

import ipaddress
import sys
from collections.abc import Callable, Iterable
from functools import lru_cache

import msgspec
from msgspec import Struct, field

from ovnk import contract
from ovnk.kube import decode_cluster_policies, decode_policies, decode_pools, decode_services, wire
from ovnk.kube.objects import KubeObject, Namespace, Node, NodeNetwork, Pod

NAMESPACES = wire.Resource("/api/v1/namespaces", Namespace)
NODES = wire.Resource("/api/v1/nodes", Node)
PODS = wire.Resource("/api/v1/pods", Pod)
NODE_NETWORKS = wire.Resource(f"/apis/{contract.GROUP}/{contract.VERSION}/{contract.PLURAL}", NodeNetwork)

ZONE_LABEL = "topology.kubernetes.io/zone"


def namespace(raw: wire.Json) -> Namespace:
    """The Namespace in `raw`. Raises InvalidObject."""
    metadata = wire.decode(Namespace, wire.IDENTIFIED, raw).metadata or wire.Metadata()
    annotations = metadata.annotations or wire.Annotations()
    return Namespace(
        wire.name(Namespace, raw, metadata.name, wire.LABEL),
        wire.labels(metadata.labels),
        annotations.log or "",
        metadata.uid or "",
    )


def node(raw: wire.Json) -> Node:
    """The Node in `raw`: its first InternalIP of each family, and its podCIDRs (podCIDR where there is no list).

    Raises InvalidObject for an address that is none, and for podCIDRs that are malformed, more than two, two of one
    family, or too small to hold a router, a management port and a pod.
    """
    found = wire.decode(Node, _NODE, raw)
    metadata, spec, status = found.metadata or wire.Metadata(), found.spec or _NodeSpec(), found.status or _NodeStatus()
    addresses: dict[int, str] = {}
    for index, entry in enumerate(status.addresses or ()):
        if entry.type == "InternalIP":
            text = wire.address(Node, raw, f"status.addresses[{index}].address", entry.address)
            addresses.setdefault(wire.family(text), text)
    return Node(
        name=wire.name(Node, raw, metadata.name, wire.SUBDOMAIN),
        uid=metadata.uid or "",
        addresses=tuple(addresses.values()),
        pod_cidrs=_pod_cidrs(raw, spec),
        zone=sys.intern((metadata.labels or {}).get(ZONE_LABEL, "")),
        labels=wire.labels(metadata.labels),
    )


def pod(raw: wire.Json) -> Pod:
    """The Pod in `raw`. Raises InvalidObject.

    A static pod's uid is its annotation kubernetes.io/config.hash: the API server gave its mirror another one, but
    kubelet and CNI (K8S_POD_UID) know it by the hash (pkg/kubelet/types, IsMirrorPod; seen with Kubernetes 1.36).
    """
    found = wire.decode(Pod, _POD, raw)
    metadata, spec, status = found.metadata or wire.Metadata(), found.spec or _PodSpec(), found.status or _PodStatus()
    annotations = metadata.annotations or wire.Annotations()
    uid = metadata.uid or ""
    if annotations.config_mirror:
        uid = annotations.config_hash or annotations.config_mirror
    listed = [entry.ip for entry in status.pod_ips or ()]
    if not listed and status.pod_ip:
        listed = [status.pod_ip]
    return Pod(
        namespace=wire.namespace(Pod, raw, metadata),
        name=wire.name(Pod, raw, metadata.name, wire.SUBDOMAIN),
        uid=uid,
        node=sys.intern(spec.node_name or ""),
        host_network=bool(spec.host_network),
        finished=status.phase in ("Succeeded", "Failed"),
        labels=wire.labels(metadata.labels),
        ips=tuple(wire.address(Pod, raw, f"status.podIPs[{index}].ip", ip) for index, ip in enumerate(listed)),
        ports=_named_ports(spec),
    )


def node_network(raw: wire.Json) -> NodeNetwork:
    """The NodeNetwork in `raw`. Raises InvalidObject when its spec does not fit the contract."""
    found = wire.decode(NodeNetwork, _NODE_NETWORK, raw)
    metadata = found.metadata or wire.Metadata()
    if found.spec is None:
        raise wire.invalid(NodeNetwork, raw, "spec", "is missing")
    for path, place, text, kind in _texts(found.spec):
        if not _is_canonical(text, kind):
            why = f'"{text}" is not {_EXAMPLES[kind]} in its canonical form; the controller writes it anew'
            raise wire.invalid(NodeNetwork, raw, path.format(*place), why)
    return NodeNetwork(
        name=wire.name(NodeNetwork, raw, metadata.name, wire.SUBDOMAIN),
        spec=found.spec,
        uid=metadata.uid or "",
        resource_version=metadata.resource_version or "",
    )


# kind → where it is listed and how it is decoded: what the controller watches, what a manifest may hold
KINDS: dict[str, tuple[wire.Resource, Callable[[wire.Json], KubeObject]]] = {
    "Namespace": (NAMESPACES, namespace),
    "Node": (NODES, node),
    "Pod": (PODS, pod),
    "NodeNetwork": (NODE_NETWORKS, node_network),
    "Service": (decode_services.SERVICES, decode_services.service),
    "EndpointSlice": (decode_services.ENDPOINT_SLICES, decode_services.endpoint_slice),
    "NetworkPolicy": (decode_policies.NETWORK_POLICIES, decode_policies.network_policy),
}

# Kinds that a cluster serves or not: their CustomResourceDefinitions are nobody's duty.
OPTIONAL_KINDS: dict[str, tuple[wire.Resource, Callable[[wire.Json], KubeObject]]] = {
    "AddressPool": (decode_pools.ADDRESS_POOLS, decode_pools.address_pool),
    "ClusterNetworkPolicy": (
        decode_cluster_policies.CLUSTER_NETWORK_POLICIES,
        decode_cluster_policies.cluster_network_policy,
    ),
    "AdminNetworkPolicy": (
        decode_cluster_policies.ADMIN_NETWORK_POLICIES,
        decode_cluster_policies.admin_network_policy,
    ),
    "BaselineAdminNetworkPolicy": (
        decode_cluster_policies.BASELINE_ADMIN_NETWORK_POLICIES,
        decode_cluster_policies.baseline_admin_network_policy,
    ),
}


# The wire: every part may be absent or null, since a manifest on disk has not been through an API server.


class _NodeSpec(Struct, gc=False):
    pod_cidrs: list[str] | None = field(name="podCIDRs", default=None)
    pod_cidr: str | None = field(name="podCIDR", default=None)


class _NodeAddress(Struct, gc=False):
    type: str
    address: str


class _NodeStatus(Struct, gc=False):
    addresses: list[_NodeAddress] | None = None


class _Node(Struct, gc=False):
    metadata: wire.Metadata | None = None
    spec: _NodeSpec | None = None
    status: _NodeStatus | None = None


class _ContainerPort(Struct, rename="camel", gc=False):
    container_port: int
    name: str | None = None
    protocol: str | None = None


class _Container(Struct, rename="camel", gc=False):
    ports: list[_ContainerPort] | None = None
    restart_policy: str | None = None


class _PodSpec(Struct, rename="camel", gc=False):
    node_name: str | None = None
    host_network: bool | None = None
    containers: list[_Container] | None = None
    init_containers: list[_Container] | None = None


class _PodIP(Struct, gc=False):
    ip: str


class _PodStatus(Struct, gc=False):
    phase: str | None = None
    pod_ips: list[_PodIP] | None = field(name="podIPs", default=None)
    pod_ip: str | None = field(name="podIP", default=None)


class _Pod(Struct, gc=False):
    metadata: wire.Metadata | None = None
    spec: _PodSpec | None = None
    status: _PodStatus | None = None


class _NodeNetwork(Struct):
    metadata: wire.Metadata | None = None
    spec: contract.NodeNetworkSpec | None = None


_NODE = msgspec.json.Decoder(_Node)
_POD = msgspec.json.Decoder(_Pod)
_NODE_NETWORK = msgspec.json.Decoder(_NodeNetwork)


def _named_ports(spec: _PodSpec) -> tuple[tuple[str, str, int], ...]:
    """The named ports of what runs as long as the pod: containers, and init containers that restart (sidecars)."""
    sidecars = [one for one in spec.init_containers or () if one.restart_policy == "Always"]
    return tuple(
        (sys.intern(port.name), sys.intern(port.protocol or "TCP"), port.container_port)
        for container in (*(spec.containers or ()), *sidecars)
        for port in container.ports or ()
        if port.name
    )


def _pod_cidrs(raw: wire.Json, spec: _NodeSpec) -> tuple[str, ...]:
    cidrs = spec.pod_cidrs or ([spec.pod_cidr] if spec.pod_cidr else [])
    consequence = "the node has no pod network until it is fixed"
    if len(cidrs) > 2:
        raise wire.invalid(Node, raw, "spec.podCIDRs", f"has {len(cidrs)} entries, at most one a family; {consequence}")
    networks = []
    for index, text in enumerate(cidrs):
        path = f"spec.podCIDRs[{index}]"
        try:
            network = ipaddress.ip_network(text)
        except ValueError as error:
            raise wire.invalid(Node, raw, path, f"cannot be used: {error}; {consequence}") from None
        if network.num_addresses < 8:
            why = f'"{text}" has no room for a router, a management port and a pod; {consequence}'
            raise wire.invalid(Node, raw, path, why)
        networks.append(network)
    if len(networks) == 2 and networks[0].version == networks[1].version:
        raise wire.invalid(Node, raw, "spec.podCIDRs", f"has two networks of IPv{networks[0].version}; {consequence}")
    return tuple(str(network) for network in networks)


_EXAMPLES = {
    ipaddress.ip_address: 'an address ("10.244.1.3")',
    ipaddress.ip_interface: 'an address with its prefix length ("10.244.1.2/24")',
    ipaddress.ip_network: 'a network ("10.244.1.0/24")',
}


def _texts(
    spec: contract.NodeNetworkSpec,
) -> Iterable[tuple[str, tuple[int, ...], str, Callable[[str], object]]]:
    """Every text of the spec that stands for an address or network: where it is, itself, and what must read it."""
    for index, subnet in enumerate(spec.subnets):
        yield "spec.subnets[{}].cidr", (index,), subnet.cidr, ipaddress.ip_network
        yield "spec.subnets[{}].gateway", (index,), subnet.gateway, ipaddress.ip_address
    for index, text in enumerate(spec.management.addresses if spec.management else ()):
        yield "spec.management.addresses[{}]", (index,), text, ipaddress.ip_interface
    for index, text in enumerate(spec.cluster_cidrs):
        yield "spec.clusterCidrs[{}]", (index,), text, ipaddress.ip_network
    for index, text in enumerate(spec.service_cidrs):
        yield "spec.serviceCidrs[{}]", (index,), text, ipaddress.ip_network
    for index, allocation in enumerate(spec.pods):
        for place, text in enumerate(allocation.ips):
            yield "spec.pods[{}].ips[{}]", (index, place), text, ipaddress.ip_address


# A NodeNetwork comes again with each pod that comes or goes, and most of it is what it was.
@lru_cache(1 << 13)
def _is_canonical(text: str, kind: Callable[[str], object]) -> bool:
    try:
        return "%" not in text and str(kind(text)) == text
    except ValueError:
        return False
