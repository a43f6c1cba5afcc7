"""What Services ask of address pools, and what pools have to give: the inputs of ovnk.address_pools.

    AddressPool ─▶ offer ─────────▶ PoolOffer       (less the cluster's own networks)
    Service ────▶ demand ─┬───────▶ AddressDemand   (type LoadBalancer, and a pool that serves it)
                          └───────▶ TakenAddress    (external addresses that are not ours to give)
    Node ───────▶ node_addresses ─▶ TakenAddress

No pool, no demand: what somebody else wrote into a status stays.
"""

from collections.abc import Iterator
from ipaddress import ip_network

from msgspec import Struct

from ovnk.incremental.graph import View
from ovnk.kube.objects import Key, Labels, Namespace, Node, Notice
from ovnk.kube.pool_objects import POOL_CLASS, AddressPool, AddressRange
from ovnk.kube.service_objects import PoolAnswer, Service
from ovnk.translate import addressing, selectors
from ovnk.translate.values import CLUSTER, EVERYWHERE, Cluster


class PoolOffer(Struct, frozen=True):
    """The addresses that a pool can give; to Services that ask for none in particular too, if `auto_assign`."""

    name: str
    uid: str
    ranges: tuple[AddressRange, ...]
    auto_assign: bool


class AddressDemand(Struct, frozen=True):
    """A Service and what it has: it wants an address a family from one of `pools`, those in `requested` if it says so.

    Without pools it keeps what it has of us. Not `wanted`: it shall have nothing of us any more. `answer` and
    `addresses` are what its status says.
    """

    key: Key
    uid: str
    created: str
    families: tuple[int, ...]
    requested: tuple[str, ...]
    pools: tuple[str, ...]
    addresses: tuple[str, ...]
    answer: PoolAnswer | None
    wanted: bool = True


class TakenAddress(Struct, frozen=True):
    """An address that no pool gives to anybody but its owner: "Node n1", "Service shop/web"."""

    address: str
    owner: str


Fact = PoolOffer | AddressDemand | TakenAddress


def offer(view: View, pool: AddressPool) -> Iterator[Fact]:
    """What the pool has, less the networks of pods and Services, which lead elsewhere."""
    cluster = view.get(Cluster, CLUSTER)
    yield PoolOffer(pool.name, pool.uid, _without(pool.ranges, _own(cluster)), pool.auto_assign)


def demand(view: View, service: Service) -> Iterator[Fact]:
    """What the Service wants of the pools, and which external addresses it has from elsewhere."""
    for address in service.external_ips:
        yield TakenAddress(address, f"Service {service.key}")
    ours = service.pool_answer is not None
    # The class cannot be changed while the type is LoadBalancer (core/v1 ServiceSpec).
    if service.type != "LoadBalancer" or service.load_balancer_class not in ("", POOL_CLASS) or not service.cluster_ips:
        if ours:
            yield _demand(service, (), wanted=False)
        else:
            for address in service.load_balancer_ips:
                yield TakenAddress(address, f"Service {service.key}")
        return
    pools = tuple(sorted(pool.name for pool in view.by(AddressPool, EVERYWHERE, True) if _serves(view, pool, service)))
    # A host name, or an address that packets must reach through the balancer itself, is another controller's.
    if ours or (pools and not service.balanced_elsewhere):
        yield _demand(service, pools)


def node_addresses(_view: View, node: Node) -> Iterator[Fact]:
    """A node's own addresses."""
    for address in node.addresses:
        yield TakenAddress(address, f"Node {node.name}")


def overlap(view: View, pool: AddressPool) -> Iterator[Notice]:
    """What a pool shares with another one, or with the cluster's own networks."""
    for other in view.by(AddressPool, EVERYWHERE, True):
        if other.name != pool.name and _overlaps(pool.ranges, other.ranges):
            message = (
                f'shares addresses with AddressPool "{other.name}"; each is given to one Service all the same, '
                "of the pool that comes first by name"
            )
            yield Notice("AddressPool", pool.key, "PoolsOverlap", message, pool.uid)
    cluster = view.get(Cluster, CLUSTER)
    for cidr in (*cluster.cluster_cidrs, *cluster.service_cidrs) if cluster is not None else ():
        if _overlaps(pool.ranges, (_range(cidr),)):
            message = f'has addresses of "{cidr}", which is the network of pods or Services; they are not given'
            yield Notice("AddressPool", pool.key, "PoolOverlapsCluster", message, pool.uid)


def _demand(service: Service, pools: tuple[str, ...], wanted: bool = True) -> AddressDemand:
    return AddressDemand(
        key=service.key,
        uid=service.uid,
        created=service.created,
        families=service.families or tuple(dict.fromkeys(map(addressing.family, service.cluster_ips))),
        requested=service.requested_ips,
        pools=pools,
        addresses=service.load_balancer_ips,
        answer=service.pool_answer,
        wanted=wanted,
    )


def _serves(view: View, pool: AddressPool, service: Service) -> bool:
    if not selectors.matches(pool.services, dict(service.labels)):
        return False
    if not pool.namespaces:
        return True
    namespace = view.get(Namespace, service.namespace)
    labels: Labels = namespace.labels if namespace is not None else ()
    return namespace is not None and selectors.matches(pool.namespaces, dict(labels))


def _own(cluster: Cluster | None) -> list[AddressRange]:
    cidrs = (*cluster.cluster_cidrs, *cluster.service_cidrs) if cluster is not None else ()
    return sorted(map(_range, cidrs))


def _range(cidr: str) -> AddressRange:
    network = ip_network(cidr)
    return network.version, int(network.network_address), int(network.broadcast_address)


def _overlaps(some: tuple[AddressRange, ...], others: tuple[AddressRange, ...]) -> bool:
    return any(one[0] == other[0] and one[1] <= other[2] and other[1] <= one[2] for one in some for other in others)


def _without(ranges: tuple[AddressRange, ...], holes: list[AddressRange]) -> tuple[AddressRange, ...]:
    """The ranges less the holes, which are sorted and do not overlap."""
    found: list[AddressRange] = []
    for version, start, last in ranges:
        first = start
        for hole_version, hole_first, hole_last in holes:
            if hole_version == version and first <= hole_last and hole_first <= last:
                if first < hole_first:
                    found.append((version, first, hole_first - 1))
                first = hole_last + 1
        if first <= last:
            found.append((version, first, last))
    return tuple(found)
