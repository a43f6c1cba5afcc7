"""Services and EndpointSlices as the compiler and the node's agent see them: frozen and narrow (objects.py)."""

from msgspec import Struct

from ovnk.kube.objects import Key, Labels


class ServicePort(Struct, frozen=True, gc=False):
    """One port of a Service: `protocol` is "TCP", "UDP" or "SCTP"; `node_port` 0 where there is none.

    `name` ties it to the ports of EndpointSlices, which say where it leads: each slice may say another number.
    """

    name: str
    protocol: str
    port: int
    node_port: int = 0


class PoolAnswer(Struct, frozen=True, gc=False):
    """What a Service's status says of the addresses that it has of a pool (its condition ovnk.io/AddressAssigned).

    `assigned` when it has all that it asks for; otherwise `reason` (CamelCase) and `message` say what is missing.
    """

    assigned: bool
    reason: str
    message: str


class Service(Struct, frozen=True, gc=False):
    """A Service. One without `cluster_ips` (headless, ExternalName) has no part in load balancing.

    `cluster_ips`, `external_ips` and `load_balancer_ips` (status.loadBalancer.ingress with ipMode VIP) are canonical
    text. `affinity_s` is sessionAffinityConfig.clientIP.timeoutSeconds, 0 without affinity. `internal_local` and
    `external_local` are the traffic policies Local. `source_ranges` are CIDRs, empty for no restriction.
    `health_check_node_port` is 0 where there is none. `families` are spec.ipFamilies as numbers. `requested_ips` are
    the external addresses that the user asks a pool for (annotation ovnk.io/load-balancer-ips, else
    spec.loadBalancerIP), as they stand where they are no addresses. `pool_answer` is what its status says of a pool,
    None where it says nothing; `balanced_elsewhere`, that something in front of the cluster balances it: a host name,
    or ipMode Proxy. `created` is the creationTimestamp, whose texts sort by time.
    """

    namespace: str
    name: str
    uid: str = ""
    type: str = "ClusterIP"
    cluster_ips: tuple[str, ...] = ()
    ports: tuple[ServicePort, ...] = ()
    external_ips: tuple[str, ...] = ()
    load_balancer_ips: tuple[str, ...] = ()
    affinity_s: int = 0
    internal_local: bool = False
    external_local: bool = False
    source_ranges: tuple[str, ...] = ()
    health_check_node_port: int = 0
    load_balancer_class: str = ""
    families: tuple[int, ...] = ()
    requested_ips: tuple[str, ...] = ()
    pool_answer: PoolAnswer | None = None
    balanced_elsewhere: bool = False
    labels: Labels = ()
    created: str = ""

    @property
    def key(self) -> Key:
        """The Service as "namespace/name"."""
        return f"{self.namespace}/{self.name}"


class ServiceStatus(Struct, frozen=True):
    """What a Service's status is to say: these addresses and this answer; without an answer nothing of ours."""

    key: Key
    uid: str
    addresses: tuple[str, ...]
    answer: PoolAnswer | None


class Endpoint(Struct, frozen=True, gc=False):
    """One endpoint: its address (the first, as kube-proxy takes it), its node, its conditions (KEP-1669).

    `ready` and `serving` are true where the slice leaves them open, `terminating` false. `zones` and `nodes` are the
    topology hints, empty where there are none.
    """

    address: str
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    node: str = ""
    zones: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()


class EndpointSlice(Struct, frozen=True):
    """An EndpointSlice of a Service (label kubernetes.io/service-name); `ports` are (name, protocol, number).

    A port without a number, which means all ports, has no place in a load balancer and is left out. `service` is ""
    where the label is missing: then the slice is of no Service. One of addressType FQDN has `fqdn`, and no endpoints,
    since a load balancer cannot look names up.
    """

    namespace: str
    name: str
    service: Key
    uid: str = ""
    ports: tuple[tuple[str, str, int], ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    fqdn: bool = False

    @property
    def key(self) -> Key:
        """The slice as "namespace/name"."""
        return f"{self.namespace}/{self.name}"
