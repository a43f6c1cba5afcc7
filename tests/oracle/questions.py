"""What can be asked of a random cluster: who sends what to whom, where that enters OVN, and where it must come out."""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from itertools import product

from tests.oracle.policies import End, Packet
from tests.oracle.random_clusters import NODES, POD_CIDRS, PORTS, SERVICE_PORT, Object
from tests.oracle.tiers import verdict

OUTSIDE = ("198.51.100.7", "198.51.100.200", "fd99::7")
# Protocol and destination port, 0 where there is none. GRE stands for what policies have no name for.
KINDS = [("ICMP", 0), ("GRE", 0), ("SCTP", 443), *product(("TCP", "UDP"), PORTS)]


@dataclass(frozen=True)
class Place:
    """One end and where it is: the node whose switch it is on, and its port there."""

    end: End
    node: str
    port: str


@dataclass(frozen=True)
class Question:
    """A connection to `address` and `port`. `targets` are who may answer: more than one for a Service alone."""

    source: Place
    targets: tuple[Place, ...]
    protocol: str
    address: str
    port: int
    # The port at the targets.
    target_port: int

    @property
    def through_service(self) -> bool:
        """Whether it is addressed to a Service."""
        return self.address not in [target.end.address for target in self.targets]

    def expected(self, objects: list[Object]) -> dict[str, bool]:
        """By target's port: whether a connection to that target comes about."""
        return {
            target.port: verdict(objects, Packet(self.source.end, target.end, self.protocol, self.target_port))[0]
            for target in self.targets
        }


def questions(objects: list[Object]) -> list[Question]:
    """Everything there is to ask, in both families."""
    return [one for family in (0, 1) for one in (*_direct(objects, family), *_services(objects, family))]


def _direct(objects: list[Object], family: int) -> Iterator[Question]:
    inside, outside = list(_inside(objects, family)), list(_outside(family))
    for source, target in product([*inside, *outside], repeat=2):
        # What is no pod decides nothing; and a pod's way to itself is not OVN's.
        pods = [place for place in (source, target) if place.end.pod is not None]
        if not pods or source == target:
            continue
        # What comes from outside enters where it goes to, and leaves where it comes from.
        if (source in outside or target in outside) and source.node != target.node:
            continue
        for protocol, port in KINDS:
            yield Question(source, (target,), protocol, target.end.address, port, port)


def _services(objects: list[Object], family: int) -> Iterator[Question]:
    by_address: dict[str, Place] = {}
    for place in _inside(objects, family):
        by_address.setdefault(place.end.address, place)
    for service in (one for one in objects if one["kind"] == "Service"):
        (endpoints,) = [
            one
            for one in objects
            if one["kind"] == "EndpointSlice"
            and one["metadata"]["labels"]["kubernetes.io/service-name"] == service["metadata"]["name"]
            and one["addressType"] == ("IPv4", "IPv6")[family]
        ]
        targets = tuple(by_address[address] for one in endpoints["endpoints"] for address in one["addresses"])
        for source in by_address.values():
            if source not in targets:
                vip, port = service["spec"]["clusterIPs"][family], endpoints["ports"][0]
                yield Question(source, targets, port["protocol"], vip, SERVICE_PORT, port["port"])


def _inside(objects: list[Object], family: int) -> Iterator[Place]:
    """Pods with addresses of their own, and nodes by each of their addresses."""
    pods = [one for one in objects if one["kind"] == "Pod"]
    for pod in pods:
        if not pod["spec"]["hostNetwork"]:
            name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
            yield Place(End(pod, pod["status"]["podIPs"][family]["ip"]), pod["spec"]["nodeName"], name)
    for node in NODES:
        there = tuple(pod for pod in pods if pod["spec"]["hostNetwork"] and pod["spec"]["nodeName"] == node)
        yield Place(End(None, NODES[node][family], node, there), node, f"node:{node}")
        # What the node forwards for others comes from here as well, so this is nobody's own.
        yield Place(End(None, management(node, family), "", there), node, f"node:{node}")


def _outside(family: int) -> Iterator[Place]:
    for node, address in product(NODES, OUTSIDE):
        if (":" in address) == bool(family):
            yield Place(End(None, address), node, f"node:{node}")


def router(node: str, family: int) -> str:
    """The router's address in the node's pod network."""
    return _nth(node, family, 1)


def management(node: str, family: int) -> str:
    """The address of the node's own leg in its pod network."""
    return _nth(node, family, 2)


def _nth(node: str, family: int, offset: int) -> str:
    return str(ip_network(POD_CIDRS[node][family])[offset])
