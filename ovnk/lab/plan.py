"""What a lab shall be: its nodes and their addresses, decided before anything is started. Values only.

                     outside (.253, 203.0.113.1 = "the internet")
                        │ eth0                     the nodes' default gateway
    ┌───────────────────┴──────────────────────┐
    │ bridge "fabric", 192.168.100.0/24        │── .254: the API server, NB, SB (the lab's own namespace, "central")
    └──┬──────────────────┬────────────────┬───┘
       │ eth0             │ eth0           │ eth0
    br-phy .1 (n1)     br-phy .2 (n2)    br-phy .3 (n3)

The same addresses are in every lab: no lab can see another, nor the machine.
"""

import enum
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ovnk.errors import ConfigError

API_PORT = 6443
NORTHBOUND_PORT = 6641
SOUTHBOUND_PORT = 6642
NODES_MAX = 100

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Families = tuple[Network, ...]

_CENTRAL = 254
_OUTSIDE = 253
# What stands for the rest of the world; RFC 5737 and RFC 3849 keep both for examples.
INTERNET = {4: "203.0.113.1", 6: "2001:db8::1"}


class Encapsulation(enum.StrEnum):
    """How nodes carry each other's logical packets."""

    GENEVE = "geneve"
    VXLAN = "vxlan"


class Family(enum.StrEnum):
    """The address families of nodes, pods and services."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"
    DUAL = "dual"


class Datapath(enum.StrEnum):
    """Open vSwitch's datapath: the kernel's, or its own in userspace."""

    SYSTEM = "system"
    NETDEV = "netdev"


@dataclass(frozen=True, slots=True)
class Plan:
    """A lab to be. `kube_bin` holds real Kubernetes programs to use, `api_state` is the embedded API server's file.

    Of several `controllers` one leads and the others stand by. With `pod_cidrs` nodes register with a spec.podCIDRs of
    their own, as kube-controller-manager gives them; without, ovnk's controller cuts their subnets.
    """

    name: str
    nodes: tuple[str, ...]
    encapsulation: Encapsulation
    family: Family
    datapath: Datapath
    kube_bin: Path | None = None
    api_state: Path | None = None
    controllers: int = 1
    pod_cidrs: bool = False

    @property
    def versions(self) -> tuple[int, ...]:
        """The IP versions in use, the first being the preferred one."""
        return {Family.IPV4: (4,), Family.IPV6: (6,), Family.DUAL: (4, 6)}[self.family]

    @property
    def cluster_cidrs(self) -> str:
        """Where pods' addresses are from, comma separated."""
        return self._text({4: "10.244.0.0/16", 6: "fd00:10:244::/48"})

    @property
    def service_cidrs(self) -> str:
        """Where services' addresses are from, comma separated."""
        return self._text({4: "10.96.0.0/16", 6: "fd00:10:96::/112"})

    @property
    def first_service_address(self) -> str:
        """The address of Service default/kubernetes, as kube-apiserver chooses it: the first of the first CIDR."""
        return str(ipaddress.ip_network(self.service_cidrs.split(",")[0])[1])

    def central(self) -> dict[int, str]:
        """The addresses of API server and databases on the fabric, by IP version."""
        return self._fabric(_CENTRAL)

    def outside(self) -> dict[int, str]:
        """The addresses of the outside host, which is everybody's default gateway, by IP version."""
        return self._fabric(_OUTSIDE)

    def node(self, name: str) -> dict[int, str]:
        """A node's addresses on the fabric, by IP version."""
        return self._fabric(self.nodes.index(name) + 1)

    def node_cidrs(self, name: str) -> tuple[str, ...]:
        """A node's spec.podCIDRs: the second /24 and /64 for n1, and so on; () where they are not asked for."""
        if not self.pod_cidrs:
            return ()
        number = self.nodes.index(name) + 1
        prefixes = {4: f"10.244.{number}.0/24", 6: f"fd00:10:244:{number:x}::/64"}
        return tuple(prefixes[version] for version in self.versions)

    def mac(self, name: str) -> str:
        """The MAC of a node on the fabric (locally administered), so that the others need not ask for it."""
        return f"0a:6c:61:62:00:{self.nodes.index(name) + 1:02x}"

    def remote(self, port: int) -> str:
        """A database on the fabric as OVSDB names a remote: "tcp:192.168.100.254:6642"."""
        return f"tcp:{bracketed(self.central()[self.versions[0]])}:{port}"

    def _fabric(self, host: int) -> dict[int, str]:
        return {version: str(FABRIC[version][host]) for version in self.versions}

    def _text(self, cidrs: dict[int, str]) -> str:
        return ",".join(cidrs[version] for version in self.versions)


FABRIC: dict[int, Network] = {
    4: ipaddress.ip_network("192.168.100.0/24"),
    6: ipaddress.ip_network("fd00:192:168:100::/64"),
}


def node_names(count: int) -> tuple[str, ...]:
    """n1, n2, …; raises ConfigError for a number that cannot be."""
    if not 1 <= count <= NODES_MAX:
        raise ConfigError(f"--nodes: {count} nodes cannot be; give 1 to {NODES_MAX}")
    return tuple(f"n{number}" for number in range(1, count + 1))


def datapath(modules: Path = Path("/sys/module")) -> Datapath:
    """The kernel's datapath where its module is loaded, else userspace: a lab loads no module into the machine."""
    return Datapath.SYSTEM if (modules / "openvswitch").is_dir() else Datapath.NETDEV


def with_prefix(addresses: dict[int, str]) -> Iterator[str]:
    """Fabric addresses as ip(8) takes them: "192.168.100.1/24". Nobody else is there to be detected as a duplicate."""
    for version, address in addresses.items():
        yield f"{address}/{FABRIC[version].prefixlen}{' nodad' if version == 6 else ''}"


def bracketed(address: str) -> str:
    """An address as URLs and OVSDB remotes have it: IPv6 in brackets."""
    return f"[{address}]" if ":" in address else address
