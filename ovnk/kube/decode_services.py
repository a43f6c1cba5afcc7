"""Services and EndpointSlices: API JSON in, the frozen values of service_objects.py out, or InvalidObject.

What Kubernetes grants by default (a port without protocol is TCP, an endpoint without conditions is ready) is granted
here, so that nobody after this asks again. Which endpoint a client gets is decided elsewhere.
"""

import ipaddress
import sys
from collections.abc import Iterable

import msgspec
from msgspec import Struct

from ovnk.kube import wire
from ovnk.kube.pool_objects import SERVICE_CONDITION
from ovnk.kube.service_objects import Endpoint, EndpointSlice, PoolAnswer, Service, ServicePort

SERVICES = wire.Resource("/api/v1/services", Service)
ENDPOINT_SLICES = wire.Resource("/apis/discovery.k8s.io/v1/endpointslices", EndpointSlice)

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
# Another proxy's Service, and one whose clients are to go to the endpoints by themselves, even if it has a ClusterIP:
# kube-proxy leaves those alone, and so do we (core/v1 IsHeadlessService, sig-network's "service-proxy-name").
LEFT_ALONE_LABELS = frozenset(("service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"))
PROTOCOLS = ("TCP", "UDP", "SCTP")
# core/v1 DefaultClientIPServiceAffinitySeconds and MaxClientIPServiceAffinitySeconds.
AFFINITY_S, AFFINITY_S_MAX = 10800, 86400


def service(raw: wire.Json) -> Service:
    """The Service in `raw`. Raises InvalidObject.

    A headless one, an ExternalName and one that a label gives to another proxy, or to none, have neither addresses nor
    ports: nothing is to be balanced.
    """
    found = wire.decode(Service, _SERVICE, raw)
    metadata, spec, status = found.metadata or wire.Metadata(), found.spec or _ServiceSpec(), found.status or _Status()
    labels = metadata.labels or {}
    kind = spec.type or "ClusterIP"
    if kind not in ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName"):
        raise wire.invalid(Service, raw, "spec.type", f'"{kind}" is not a type of Service; nothing is balanced')
    name = wire.name(Service, raw, metadata.name, wire.LABEL)
    listed = spec.cluster_ips or ([spec.cluster_ip] if spec.cluster_ip else [])
    if kind == "ExternalName" or "None" in listed or not LEFT_ALONE_LABELS.isdisjoint(labels):
        return Service(
            wire.namespace(Service, raw, metadata), name, metadata.uid or "", kind, pool_answer=_pool_answer(status)
        )
    ingress = (status.load_balancer or _LoadBalancer()).ingress or []
    return Service(
        namespace=wire.namespace(Service, raw, metadata),
        name=name,
        uid=metadata.uid or "",
        type=kind,
        cluster_ips=_addresses(raw, "spec.clusterIPs", listed),
        ports=_service_ports(raw, spec.ports or []),
        external_ips=_addresses(raw, "spec.externalIPs", spec.external_ips or []),
        load_balancer_ips=tuple(
            wire.address(Service, raw, f"status.loadBalancer.ingress[{index}].ip", entry.ip)
            for index, entry in enumerate(ingress)
            # ipMode Proxy: the traffic must pass the load balancer itself (KEP-1860). A host name is DNS's business.
            if entry.ip and entry.ip_mode != "Proxy"
        ),
        affinity_s=_affinity(raw, spec),
        internal_local=_is_local(raw, "spec.internalTrafficPolicy", spec.internal_traffic_policy),
        external_local=_is_local(raw, "spec.externalTrafficPolicy", spec.external_traffic_policy),
        source_ranges=tuple(
            _network(raw, f"spec.loadBalancerSourceRanges[{index}]", text.strip())
            for index, text in enumerate(spec.load_balancer_source_ranges or ())
        ),
        health_check_node_port=spec.health_check_node_port or 0,
        load_balancer_class=spec.load_balancer_class or "",
        families=_families(raw, spec.ip_families or []),
        requested_ips=_requested(metadata, spec),
        pool_answer=_pool_answer(status),
        balanced_elsewhere=any(not entry.ip or entry.ip_mode == "Proxy" for entry in ingress),
        labels=wire.labels(labels),
        created=metadata.creation_timestamp or "",
    )


def endpoint_slice(raw: wire.Json) -> EndpointSlice:
    """The EndpointSlice in `raw`. Raises InvalidObject.

    Of an endpoint's addresses the first counts, as for kube-proxy; the others have never had a meaning
    (discovery/v1 Endpoint). Absent conditions are ready and serving, and not terminating (KEP-1669).
    """
    found = wire.decode(EndpointSlice, _SLICE, raw)
    metadata = found.metadata or wire.Metadata()
    namespace = wire.namespace(EndpointSlice, raw, metadata)
    owner = (metadata.labels or {}).get(SERVICE_NAME_LABEL, "")
    if found.address_type not in ("IPv4", "IPv6", "FQDN"):
        why = f'"{found.address_type}" is none of IPv4, IPv6 and FQDN; its endpoints are left out'
        raise wire.invalid(EndpointSlice, raw, "addressType", why)
    fqdn = found.address_type == "FQDN"
    family = 6 if found.address_type == "IPv6" else 4
    return EndpointSlice(
        namespace=namespace,
        name=wire.name(EndpointSlice, raw, metadata.name, wire.SUBDOMAIN),
        service=sys.intern(f"{namespace}/{owner}") if owner else "",
        uid=metadata.uid or "",
        ports=() if fqdn else tuple(_slice_ports(raw, found.ports or [])),
        endpoints=() if fqdn else tuple(_endpoints(raw, found.endpoints or [], family)),
        fqdn=fqdn,
    )


def _addresses(raw: wire.Json, path: str, listed: list[str]) -> tuple[str, ...]:
    return tuple(wire.address(Service, raw, f"{path}[{index}]", text) for index, text in enumerate(listed))


def _service_ports(raw: wire.Json, listed: "list[_ServicePort]") -> tuple[ServicePort, ...]:
    if not listed:
        raise wire.invalid(Service, raw, "spec.ports", "is empty; a Service with an address needs a port")
    ports: dict[tuple[str, int], ServicePort] = {}
    for index, entry in enumerate(listed):
        path = f"spec.ports[{index}]"
        protocol = _protocol(Service, raw, f"{path}.protocol", entry.protocol)
        number = _number(Service, raw, f"{path}.port", entry.port)
        if (protocol, number) in ports:
            raise wire.invalid(Service, raw, path, f"is {protocol} port {number}, which the Service has already")
        node_port = _number(Service, raw, f"{path}.nodePort", entry.node_port) if entry.node_port else 0
        ports[protocol, number] = ServicePort(sys.intern(entry.name or ""), protocol, number, node_port)
    return tuple(ports.values())


def _affinity(raw: wire.Json, spec: "_ServiceSpec") -> int:
    if spec.session_affinity in (None, "", "None"):
        return 0
    if spec.session_affinity != "ClientIP":
        why = f'"{spec.session_affinity}" is neither None nor ClientIP'
        raise wire.invalid(Service, raw, "spec.sessionAffinity", why)
    client_ip = (spec.session_affinity_config or _AffinityConfig()).client_ip or _ClientIP()
    timeout_s = AFFINITY_S if client_ip.timeout_seconds is None else client_ip.timeout_seconds
    if not 0 < timeout_s <= AFFINITY_S_MAX:
        path = "spec.sessionAffinityConfig.clientIP.timeoutSeconds"
        raise wire.invalid(Service, raw, path, f"is {timeout_s}, but must be between 1 and {AFFINITY_S_MAX}")
    return timeout_s


def _is_local(raw: wire.Json, path: str, policy: str | None) -> bool:
    if policy not in (None, "", "Cluster", "Local"):
        raise wire.invalid(Service, raw, path, f'"{policy}" is neither Cluster nor Local')
    return policy == "Local"


def _network(raw: wire.Json, path: str, text: str) -> str:
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise wire.invalid(Service, raw, path, f'"{text}" is not a CIDR such as "192.0.2.0/24"') from None


def _families(raw: wire.Json, listed: list[str]) -> tuple[int, ...]:
    numbers = {"IPv4": 4, "IPv6": 6}
    for index, text in enumerate(listed):
        if text not in numbers:
            raise wire.invalid(Service, raw, f"spec.ipFamilies[{index}]", f'"{text}" is neither IPv4 nor IPv6')
    return tuple(numbers[text] for text in listed)


def _requested(metadata: wire.Metadata, spec: "_ServiceSpec") -> tuple[str, ...]:
    """The requests, canonical where they are addresses: one that is none must not take the Service out of service."""
    # spec.loadBalancerIP: deprecated since Kubernetes 1.24, and still what people write.
    asked = (metadata.annotations or wire.Annotations()).load_balancer_ips or spec.load_balancer_ip or ""
    return tuple(_canonical(text.strip()) for text in asked.split(",") if text.strip())


def _canonical(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text


def _pool_answer(status: "_Status") -> PoolAnswer | None:
    for condition in status.conditions or ():
        if condition.type == SERVICE_CONDITION:
            return PoolAnswer(condition.status == "True", condition.reason or "", condition.message or "")
    return None


def _slice_ports(raw: wire.Json, listed: "list[_SlicePort]") -> Iterable[tuple[str, str, int]]:
    for index, entry in enumerate(listed):
        if entry.port is not None:
            protocol = _protocol(EndpointSlice, raw, f"ports[{index}].protocol", entry.protocol)
            number = _number(EndpointSlice, raw, f"ports[{index}].port", entry.port)
            yield sys.intern(entry.name or ""), protocol, number


def _endpoints(raw: wire.Json, listed: "list[_Endpoint]", family: int) -> Iterable[Endpoint]:
    for index, entry in enumerate(listed):
        path = f"endpoints[{index}].addresses"
        if not entry.addresses:
            raise wire.invalid(EndpointSlice, raw, path, "is empty; an endpoint is where its address is")
        address = wire.address(EndpointSlice, raw, f"{path}[0]", entry.addresses[0])
        if wire.family(address) != family:
            why = f'"{address}" is not IPv{family}, which the slice is of; its endpoints are left out'
            raise wire.invalid(EndpointSlice, raw, f"{path}[0]", why)
        conditions, hints = entry.conditions or _Conditions(), entry.hints or _Hints()
        yield Endpoint(
            address=address,
            ready=conditions.ready is not False,
            serving=conditions.serving is not False,
            terminating=conditions.terminating is True,
            node=sys.intern(entry.node_name or ""),
            zones=_hinted(hints.for_zones),
            nodes=_hinted(hints.for_nodes),
        )


def _hinted(hints: "list[_Hint] | None") -> tuple[str, ...]:
    return tuple(sorted({sys.intern(hint.name) for hint in hints or () if hint.name}))


def _protocol(kind: type, raw: wire.Json, path: str, text: str | None) -> str:
    protocol = text or "TCP"
    if protocol not in PROTOCOLS:
        raise wire.invalid(kind, raw, path, f'"{protocol}" is none of TCP, UDP and SCTP')
    return protocol


def _number(kind: type, raw: wire.Json, path: str, number: int | None) -> int:
    if number is None:
        raise wire.invalid(kind, raw, path, "is missing")
    if not 0 < number < 65536:
        raise wire.invalid(kind, raw, path, f"is {number}, but must be between 1 and 65535")
    return number


class _ServicePort(Struct, rename="camel", gc=False):
    name: str | None = None
    protocol: str | None = None
    port: int | None = None
    node_port: int | None = None


class _ClientIP(Struct, rename="camel", gc=False):
    timeout_seconds: int | None = None


class _AffinityConfig(Struct, gc=False):
    client_ip: _ClientIP | None = msgspec.field(name="clientIP", default=None)


class _ServiceSpec(Struct, rename="camel", gc=False):
    type: str | None = None
    cluster_ip: str | None = msgspec.field(name="clusterIP", default=None)
    cluster_ips: list[str] | None = msgspec.field(name="clusterIPs", default=None)
    ports: list[_ServicePort] | None = None
    external_ips: list[str] | None = msgspec.field(name="externalIPs", default=None)
    session_affinity: str | None = None
    session_affinity_config: _AffinityConfig | None = None
    internal_traffic_policy: str | None = None
    external_traffic_policy: str | None = None
    load_balancer_source_ranges: list[str] | None = None
    health_check_node_port: int | None = None
    load_balancer_class: str | None = None
    load_balancer_ip: str | None = msgspec.field(name="loadBalancerIP", default=None)
    ip_families: list[str] | None = None


class _Ingress(Struct, rename="camel", gc=False):
    ip: str | None = None
    ip_mode: str | None = None


class _LoadBalancer(Struct, gc=False):
    ingress: list[_Ingress] | None = None


class _Condition(Struct, gc=False):
    type: str
    status: str | None = None
    reason: str | None = None
    message: str | None = None


class _Status(Struct, rename="camel", gc=False):
    load_balancer: _LoadBalancer | None = None
    conditions: list[_Condition] | None = None


class _Service(Struct, gc=False):
    metadata: wire.Metadata | None = None
    spec: _ServiceSpec | None = None
    status: _Status | None = None


class _SlicePort(Struct, gc=False):
    name: str | None = None
    protocol: str | None = None
    port: int | None = None


class _Conditions(Struct, gc=False):
    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class _Hint(Struct, gc=False):
    name: str


class _Hints(Struct, rename="camel", gc=False):
    for_zones: list[_Hint] | None = None
    for_nodes: list[_Hint] | None = None


class _Endpoint(Struct, rename="camel", gc=False):
    addresses: list[str] | None = None
    conditions: _Conditions | None = None
    node_name: str | None = None
    hints: _Hints | None = None


class _Slice(Struct, rename="camel", gc=False):
    metadata: wire.Metadata | None = None
    address_type: str | None = None
    endpoints: list[_Endpoint] | None = None
    ports: list[_SlicePort] | None = None


_SERVICE = msgspec.json.Decoder(_Service)
_SLICE = msgspec.json.Decoder(_Slice)
