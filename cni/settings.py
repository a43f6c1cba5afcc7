"""What this node's networking shall be, computed from the NodeNetwork and what was seen on the node.

Pure: the same input gives the same settings, whatever was there before. cni/chassis.py puts the first half into
OVSDB, cni/host.py the second into the kernel; both change only what differs.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field

from ovnk.contract import MANAGEMENT_INTERFACE, NodeNetworkSpec
from ovnk.errors import ConfigError

AUTO = "auto"
# Of --nodeport-addresses, as kube-proxy has it: the addresses by which the cluster knows the node, and no other.
PRIMARY = ("primary",)
DATAPATHS = (AUTO, "system", "netdev")
# Bytes a tunnel adds: Ethernet 14, UDP 8, the tunnel's header (Geneve 8 and OVN's option 8, VXLAN 8), and IP.
_ENCAPSULATION_BYTES = {"geneve": 14 + 8 + 8 + 8, "vxlan": 14 + 8 + 8}
ENCAPSULATIONS = tuple(_ENCAPSULATION_BYTES)
_IP_BYTES = {4: 20, 6: 40}
_IPV6_MTU_MIN = 1280  # RFC 8200 §5


@dataclass(frozen=True, slots=True)
class Tls:
    """Files with which ovn-controller speaks to the southbound database."""

    private_key: str
    certificate: str
    ca_cert: str


@dataclass(frozen=True, slots=True)
class Chassis:
    """What the operator says of this node; "auto" is found by looking."""

    node: str
    southbound: str
    encap_type: str = "geneve"
    encap_ip: str = AUTO
    bridge: str = "br-int"
    datapath: str = AUTO
    tls: Tls | None = None


@dataclass(frozen=True, slots=True)
class Underlay:
    """The interface, its address and its MTU, over which the nodes reach each other."""

    interface: str
    address: str
    mtu_bytes: int


@dataclass(frozen=True, slots=True)
class Vswitch:
    """What was seen of Open vSwitch: the datapaths it was built with, and the bridge's, "" while there is none."""

    datapath_types: tuple[str, ...]
    kernel_datapath: bool
    bridge_datapath: str


@dataclass(frozen=True, slots=True)
class Management:
    """The node's own port as OVSDB has it."""

    interface_id: str
    mac: str
    mtu_bytes: int


@dataclass(frozen=True, slots=True)
class Route:
    """A network reached through ovnk0: by way of a gateway, or on its link where that is "".

    `source` is the address that the node sends from where nobody says another one; "" leaves it to the kernel.
    """

    destination: str
    gateway: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Host:
    """What the kernel shall have on and around ovnk0. `sysctls` are paths under /proc/sys, in the order to write."""

    addresses: frozenset[str] = frozenset()
    routes: frozenset[Route] = frozenset()
    sysctls: tuple[tuple[str, str], ...] = ()
    checksum_offload: bool = True
    up: bool = field(default=True)


def check(chassis: Chassis) -> None:
    """Raises ConfigError, naming the flag, for what can be seen to be wrong without looking at the node."""
    for flag, value, known in (
        ("--encap-type", chassis.encap_type, ENCAPSULATIONS),
        ("--datapath", chassis.datapath, DATAPATHS),
    ):
        if value not in known:
            raise ConfigError(f'{flag} "{value}" is not one of {", ".join(known)}')
    if chassis.encap_ip != AUTO:
        try:
            ipaddress.ip_address(chassis.encap_ip)
        except ValueError:
            raise ConfigError(f'--encap-ip "{chassis.encap_ip}" is neither "auto" nor an IP address') from None


def datapath_type(chassis: Chassis, seen: Vswitch) -> str:
    """The datapath of the bridge: "system" (the kernel's) or "netdev" (userspace).

    A bridge that has one that works keeps it: to change it would take every port off for a moment. Else the kernel's
    where the kernel really has it, which what Open vSwitch was built with does not tell. ovn-controller, started before
    the agent, makes the bridge with "system" whatever the kernel has, so that such a bridge is no reason to keep it.
    """
    if chassis.datapath != AUTO:
        return chassis.datapath
    if seen.bridge_datapath and (seen.kernel_datapath or seen.bridge_datapath != "system"):
        return seen.bridge_datapath
    return "system" if seen.kernel_datapath and "system" in seen.datapath_types else "netdev"


def external_ids(chassis: Chassis, underlay: Underlay, datapath: str) -> dict[str, str]:
    """Open_vSwitch external_ids of this chassis (ovn-controller(8))."""
    return {
        "system-id": chassis.node,
        "hostname": chassis.node,
        "ovn-remote": chassis.southbound,
        "ovn-encap-type": chassis.encap_type,
        "ovn-encap-ip": underlay.address,
        "ovn-bridge": chassis.bridge,
        "ovn-bridge-datapath-type": datapath,
        # All node switches hang on one router, so each chassis needs nearly all of the southbound anyway; conditions
        # would save little and cost each new pod round trips.
        "ovn-monitor-all": "true",
    }


def external_id_defaults(has_flows: bool) -> dict[str, str]:
    """Open_vSwitch external_ids that are set only where the operator has set none.

    With ovn-controller's own default of 5 s, a southbound server that is busy for longer is left, and the whole
    cluster reads everything anew.

    By default ovn-controller takes all flows away when it starts, before it knows the new ones; given a while, it
    replaces the old by the new at once, and its restart costs no packet (ovn-controller(8)). That while goes by at
    each connection to ovs-vswitchd, so it is given once a node `has_flows` that are worth it, not at its first start.
    """
    keep = {"ovn-ofctrl-wait-before-clear": "1000"} if has_flows else {}
    return {"ovn-remote-probe-interval": "60000"} | keep


def pod_mtu_bytes(chassis: Chassis, underlay: Underlay, spec: NodeNetworkSpec) -> int:
    """The MTU of every pod and of ovnk0: what the operator insists on, else the underlay's less the tunnel's.

    Raises ConfigError where IPv6 pods would get less than IPv6 must have.
    """
    family = ipaddress.ip_address(underlay.address).version
    found = underlay.mtu_bytes - _ENCAPSULATION_BYTES[chassis.encap_type] - _IP_BYTES[family]
    mtu_bytes = spec.mtu_bytes or found
    if mtu_bytes < _IPV6_MTU_MIN and any(":" in cidr for cidr in spec.cluster_cidrs):
        raise ConfigError(
            f'pods on interface "{underlay.interface}" (MTU {underlay.mtu_bytes}) would have MTU {mtu_bytes}; '
            f"IPv6 needs {_IPV6_MTU_MIN}: raise the underlay's MTU"
        )
    return mtu_bytes


def host(spec: NodeNetworkSpec, underlay: Underlay, datapath: str, own: Iterable[str] = ()) -> Host:
    """The kernel's side of the node: ovnk0's addresses, the routes through it, and what forwarding needs.

    `own` are the addresses by which the cluster knows this node (Node status.addresses).
    """
    addresses = spec.management.addresses if spec.management else ()
    connected = {ipaddress.ip_interface(address).network for address in addresses}
    families = {network.version for network in connected}
    sysctls = []
    if 4 in families:
        sysctls += [
            ("net/ipv4/ip_forward", "1"),
            # Loose: a reply may leave by another interface than its request came by. The kernel takes the greater of
            # this and conf.all, so 0 would not do on a host that is strict.
            (f"net/ipv4/conf/{MANAGEMENT_INTERFACE}/rp_filter", "2"),
            # A node port or host port is reached at 127.0.0.1 too; nobody beyond ovnk0 gets there (service_table.py).
            (f"net/ipv4/conf/{MANAGEMENT_INTERFACE}/route_localnet", "1"),
        ]
    if 6 in families:
        sysctls += [
            # A host that forwards no longer learns its default route from advertisements, unless told 2 first.
            (f"net/ipv6/conf/{underlay.interface}/accept_ra", "2"),
            ("net/ipv6/conf/all/forwarding", "1"),
            (f"net/ipv6/conf/{MANAGEMENT_INTERFACE}/disable_ipv6", "0"),
            (f"net/ipv6/conf/{MANAGEMENT_INTERFACE}/accept_ra", "0"),
            (f"net/ipv6/conf/{MANAGEMENT_INTERFACE}/accept_dad", "0"),
        ]
    return Host(
        addresses=frozenset(str(ipaddress.ip_interface(address)) for address in addresses),
        routes=frozenset(_routes(spec, connected, own)),
        sysctls=tuple(sysctls),
        checksum_offload=datapath != "netdev",
    )


def node_port_networks(listed: str) -> tuple[str, ...]:
    """--nodeport-addresses ("10.0.0.0/8,fd00::/8", or "primary") as networks, or PRIMARY. Raises ConfigError."""
    texts = [text.strip() for text in listed.split(",") if text.strip()]
    if tuple(texts) == PRIMARY:
        return PRIMARY
    try:
        return tuple(str(ipaddress.ip_network(text, strict=False)) for text in texts)
    except ValueError as error:
        raise ConfigError(f'nodeport_addresses "{listed}": {error}') from None


def served(networks: tuple[str, ...], own: Iterable[str]) -> tuple[str, ...]:
    """The networks of the addresses that serve node ports, PRIMARY put in the node's own addresses."""
    return tuple(str(ipaddress.ip_network(address)) for address in own) if networks == PRIMARY else networks


def inside(spec: NodeNetworkSpec) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(pods' networks, pods' and services' networks), each without overlaps, as nftables' intervals must be."""
    return merged(spec.cluster_cidrs), merged((*spec.cluster_cidrs, *spec.service_cidrs))


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _routes(spec: NodeNetworkSpec, connected: Iterable[Network], own: Iterable[str]) -> Iterable[Route]:
    """ovnk0's own subnet on its link, and each other pods' and services' network by the gateway there.

    To pods the node speaks from the address they know it by. A UDP server bound to no address answers a pod from
    the address of the way back, so that any other would be one that the pod has not asked. To Services it speaks from
    ovnk0's address, the kernel's choice: an endpoint may be another node, which would answer this node's own address
    past OVN, and the answer would not be translated back.
    """
    sources = {ipaddress.ip_address(address).version: address for address in own}
    gateways = {ipaddress.ip_network(one.cidr): str(ipaddress.ip_address(one.gateway)) for one in spec.subnets}
    for subnet in connected:
        source = sources.get(subnet.version, "")
        yield Route(str(subnet), source=source)
        for cidrs, preferred in ((spec.cluster_cidrs, source), (spec.service_cidrs, "")) if subnet in gateways else ():
            for network in map(ipaddress.ip_network, cidrs):
                # A network that ovnk0 is itself in, and that is no wider, is on its link.
                if network.version == subnet.version and not network.subnet_of(subnet):  # type: ignore[arg-type]  # one version
                    yield Route(str(network), gateways[subnet], preferred)


def merged(cidrs: Iterable[str]) -> tuple[str, ...]:
    """The networks without overlaps, as nftables' intervals must be."""
    networks = [ipaddress.ip_network(cidr) for cidr in cidrs]
    v4 = ipaddress.collapse_addresses(one for one in networks if isinstance(one, ipaddress.IPv4Network))
    v6 = ipaddress.collapse_addresses(one for one in networks if isinstance(one, ipaddress.IPv6Network))
    return (*map(str, v4), *map(str, v6))
