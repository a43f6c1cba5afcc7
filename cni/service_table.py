"""The nftables table "inet ovnk-services": its maps, its few fixed chains, and what a fact about it is.

    prerouting, output ─▶ services ─┬─ address_chains4 ─▶ a chain of that service, where it needs one
                                    ├─ addresses4 ──────▶ DNAT to the ClusterIP, which OVN balances
                                    └─ to an address of this node ─▶ node_ports ─┬─ node_port_chains4
                                                                                 ├─ node_ports4
                                                                                 └─ host_ports4 ─▶ DNAT to a pod
    postrouting: masquerade what must come back through this node

A service costs an element or a few, whatever their number; a packet costs two look-ups. Each map is there for IPv4
and IPv6, with the family's digit at the end of its name. Which element leads where is service_rules.py's business.
"""

import hashlib
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from cni.settings import merged
from ovnk.contract import MANAGEMENT_INTERFACE
from ovnk.incremental.graph import View
from ovnk.kube.objects import Node

FAMILY, TABLE = "inet", "ovnk-services"

# The bit of the packet mark that means "masquerade" in Kubernetes since kube-proxy's first days; others leave it alone.
MASQUERADE = 0x4000

_ADDRESSES = {4: "ipv4_addr", 6: "ipv6_addr"}
IP = {4: "ip", 6: "ip6"}
# Name of a map or set without its digit → its type; {a} is the family's address.
_SETS = {
    "addresses": "{a} . inet_proto . inet_service : {a} . inet_service",
    "address_chains": "{a} . inet_proto . inet_service : verdict",
    "node_ports": "inet_proto . inet_service : {a} . inet_service",
    "node_port_chains": "inet_proto . inet_service : verdict",
    "host_ports": "inet_proto . inet_service : {a} . inet_service",
    "host_port_addresses": "{a} . inet_proto . inet_service : {a} . inet_service",
    "pods": "{a}; flags interval",
    "services": "{a}; flags interval",
    "nodes": "{a}",
}
SETS = {
    f"{name}{family}": definition.format(a=address)
    for name, definition in _SETS.items()
    for family, address in _ADDRESSES.items()
}
# Both lead from one socket to one place, so that a socket may be in one of them only.
_ONE_PLACE = {"address_chains": "addresses", "node_port_chains": "node_ports"}

REFUSE = "goto refuse"
DROP = "drop"


@dataclass(frozen=True, slots=True)
class Element:
    """An element of a map ("tcp", "30080" → "10.96.0.10 . 80", "goto CHAIN" or "drop") or of a set (value "")."""

    set: str
    key: tuple[str, ...]
    value: str = ""

    @property
    def identity(self) -> tuple[str, ...]:
        """What it is about: the socket, in whichever of two maps it is."""
        name, family = self.set[:-1], self.set[-1]
        return (_ONE_PLACE.get(name, name) + family, *self.key)


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain with its rules as nft(8) writes them. `hook` is a base chain's definition. It is known by its name.

    `leads` are the ways its rules lead, each as an element's value: "10.244.1.3 . 8080", "goto CHAIN".
    """

    name: str
    rules: tuple[str, ...]
    hook: str = ""
    leads: frozenset[str] = frozenset()

    @property
    def identity(self) -> tuple[str, ...]:
        """Its name."""
        return ("chain", self.name)

    @property
    def marks(self) -> tuple[str, ...]:
        """The rules' comments: nft lists rules otherwise than they were written, so they are known by these."""
        return tuple(hashlib.sha256(rule.encode()).hexdigest()[:8] for rule in self.rules)


@dataclass(frozen=True, slots=True)
class Memory:
    """A set in which the kernel remembers for `timeout_s` which clients an endpoint has (sessionAffinity)."""

    name: str
    family: int
    timeout_s: int

    @property
    def identity(self) -> tuple[str, ...]:
        """Its name."""
        return ("memory", self.name)


Fact = Element | Chain | Memory


@dataclass(frozen=True, slots=True)
class Here:
    """What the rules of this node go by besides the cluster's objects. Networks are CIDRs.

    `node_port_networks` restrict the addresses of this node on which node ports are served; where there is none of a
    family, that family's are all served, as with kube-proxy's --nodeport-addresses.
    """

    node: str
    pods: tuple[str, ...]
    services: tuple[str, ...]
    node_port_networks: tuple[str, ...] = ()


HERE = "here"


def frame() -> str:
    """What nft reads to make the table and its maps; nothing happens where they are there already."""
    lines = [f"add table {FAMILY} {TABLE}"]
    for name, definition in SETS.items():
        kind = "map" if " : " in definition else "set"
        lines.append(f"add {kind} {FAMILY} {TABLE} {name} {{ type {definition}; }}")
    return "\n".join(lines) + "\n"


def networks(_view: View, here: Here) -> Iterator[Fact]:
    """The sets of the pods' and the services' networks."""
    for name, cidrs in (("pods", here.pods), ("services", here.services)):
        for cidr in merged(cidrs):
            yield Element(f"{name}{family(cidr)}", (cidr,))


def node(_view: View, one: Node) -> Iterator[Fact]:
    """The node's addresses: a pod's reply to them does not pass this node, unless the request was masqueraded."""
    for address in one.addresses:
        yield Element(f"nodes{family(address)}", (address,))


def chains(_view: View, here: Here) -> Iterator[Fact]:
    """The chains that are there whatever the services are."""
    yield Chain("prerouting", ("jump services",), "type nat hook prerouting priority -100; policy accept;")
    # A named priority such as dstnat is not allowed in an output hook (nft 1.0.6).
    yield Chain("output", ("jump services",), "type nat hook output priority -100; policy accept;")
    yield Chain("services", tuple(_services()))
    yield Chain("node_ports", tuple(_node_ports(here.node_port_networks)))
    yield Chain("host_ports", tuple(_host_ports()))
    yield Chain(
        "refuse",
        ("meta l4proto tcp reject with tcp reset", "reject with icmpx port-unreachable"),
    )
    yield Chain("postrouting", tuple(_postrouting()), "type nat hook postrouting priority 95; policy accept;")
    # ovnk0 may carry the loopback addresses of this node's own clients (route_localnet, cni/settings.py), and for that
    # nobody beyond it may reach them (CVE-2020-8558).
    yield Chain(
        "loopback",
        (f'iifname "{MANAGEMENT_INTERFACE}" ip daddr 127.0.0.0/8 drop',),
        "type filter hook prerouting priority -300; policy accept;",
    )
    # Pods and Services speak through ovnk0 alone. A neighbour of the node that took one of their addresses would be
    # let in by NetworkPolicies as who it is not.
    yield Chain("spoofed", tuple(_spoofed()), "type filter hook prerouting priority -300; policy accept;")


def family(address_or_cidr: str) -> int:
    """4 or 6."""
    return 6 if ":" in address_or_cidr else 4


def within(address: str, cidrs: tuple[str, ...]) -> bool:
    """Whether one of the networks holds the address."""
    parsed = ipaddress.ip_address(address)
    return any(parsed in network for network in _networks(cidrs))


@lru_cache(maxsize=8)
def _networks(cidrs: tuple[str, ...]) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(map(ipaddress.ip_network, cidrs))


def _services() -> Iterator[str]:
    for number, ip in IP.items():
        yield f"{ip} daddr . meta l4proto . th dport vmap @address_chains{number}"
    for number, ip in IP.items():
        yield f"dnat {ip} to {ip} daddr . meta l4proto . th dport map @addresses{number}"
    # The kernel cannot send from ::1 to anywhere else, as it can from 127.0.0.1.
    yield "ip6 daddr ::1 return"
    yield "fib daddr type local jump node_ports"
    yield "fib daddr type local jump host_ports"


def _node_ports(restricted: tuple[str, ...]) -> Iterator[str]:
    for number, ip in IP.items():
        if cidrs := [cidr for cidr in merged(restricted) if family(cidr) == number]:
            yield f"{ip} daddr != {{ {', '.join(cidrs)} }} return"
    for number in IP:
        yield f"meta nfproto ipv{number} meta l4proto . th dport vmap @node_port_chains{number}"
    for number, ip in IP.items():
        yield f"meta nfproto ipv{number} dnat {ip} to meta l4proto . th dport map @node_ports{number}"


def _host_ports() -> Iterator[str]:
    for number, ip in IP.items():
        yield f"dnat {ip} to {ip} daddr . meta l4proto . th dport map @host_port_addresses{number}"
    for number, ip in IP.items():
        yield f"meta nfproto ipv{number} dnat {ip} to meta l4proto . th dport map @host_ports{number}"


def _spoofed() -> Iterator[str]:
    for number, ip in IP.items():
        for name in ("pods", "services"):
            yield f'iifname != {{ "lo", "{MANAGEMENT_INTERFACE}" }} {ip} saddr @{name}{number} drop'


def _postrouting() -> Iterator[str]:
    """Masquerade, wherever the reply would not pass this node by itself, and nowhere else."""
    yield 'oifname "lo" return'
    # A chain of a service has said so. The mark goes, so that what carries the packet on does not see it.
    marked = f"meta mark & {MASQUERADE:#x} != 0 meta mark set meta mark ^ {MASQUERADE:#x}"
    yield f"{marked} masquerade fully-random"
    out = f'oifname "{MANAGEMENT_INTERFACE}" ct status dnat'
    for number, ip in IP.items():
        # OVN balances: the endpoint may be on any node.
        yield f"{out} {ip} daddr @services{number} masquerade fully-random"
        # A pod here, without a ClusterIP between: it answers pods and nodes by itself, and all others through us.
        yield f"{out} {ip} saddr @pods{number} masquerade fully-random"
        yield f"{out} {ip} saddr @nodes{number} masquerade fully-random"
    yield f"{out} ip saddr 127.0.0.0/8 masquerade fully-random"
