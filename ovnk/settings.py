"""The controller's settings: what they are, their defaults, and what makes them wrong."""

from ipaddress import IPv4Network, IPv6Network, ip_network

from msgspec import Struct

from ovnk import remotes
from ovnk.allocation import Network
from ovnk.errors import ConfigError
from ovnk.translate.values import Cluster


class ClusterSettings(Struct, frozen=True):
    """The cluster's own networks. One CIDR a family; giving both families makes the cluster dual stack."""

    cluster_cidr: tuple[str, ...] = ("10.244.0.0/16",)
    service_cidr: tuple[str, ...] = ("10.96.0.0/16",)
    # The length of a node's part, for nodes to which Kubernetes gives no podCIDRs.
    node_prefix_v4: int = 24
    node_prefix_v6: int = 64
    # The pods' MTU; 0: each node finds its own by looking at its underlay.
    mtu_bytes: int = 0

    def __post_init__(self) -> None:
        pods = _networks("cluster_cidr", self.cluster_cidr)
        services = _networks("service_cidr", self.service_cidr)
        for pod_network in pods:
            for other in services:
                if pod_network.overlaps(other):
                    raise ConfigError(
                        f'cluster_cidr "{pod_network}" overlaps service_cidr "{other}"; give them networks of their own'
                    )
            name = f"node_prefix_v{pod_network.version}"
            prefix = getattr(self, name)
            longest = pod_network.max_prefixlen - 3
            if not pod_network.prefixlen <= prefix <= longest:
                raise ConfigError(
                    f'{name} is {prefix}, but a node\'s part of cluster_cidr "{pod_network}" must be between '
                    f"/{pod_network.prefixlen} and /{longest}"
                )
        if self.mtu_bytes and not 1280 <= self.mtu_bytes <= 65535:
            raise ConfigError(
                f"mtu_bytes is {self.mtu_bytes}, but must be 0 (found by looking) or between 1280 and 65535"
            )

    @property
    def cluster(self) -> Cluster:
        """What every function of the translation may know."""
        return Cluster(self.cluster_cidr, self.service_cidr, self.mtu_bytes or None)

    @property
    def networks(self) -> tuple[Network, ...]:
        """What the allocator cuts nodes' subnets from."""
        return tuple(
            Network(cidr, self.node_prefix_v6 if ":" in cidr else self.node_prefix_v4) for cidr in self.cluster_cidr
        )


class ControllerSettings(ClusterSettings, frozen=True, kw_only=True):
    """All of `ovnk controller`."""

    northbound: str
    northbound_private_key: str = ""
    northbound_certificate: str = ""
    northbound_ca: str = ""
    # Empty: the service account of the pod it runs in.
    kubeconfig: str = ""
    # Empty: the machine's name and the process id.
    identity: str = ""
    lease_namespace: str = "kube-system"
    lease_name: str = "ovnk-controller"
    # Ports 10248 to 10260 are those of Kubernetes' own components, 10256 kube-proxy's.
    http_address: str = "127.0.0.1:10266"
    # The share of the owned rows that the first comparison may delete; beyond it, deletions are held back.
    first_delete_share: float = 0.5
    log_format: str = "json"
    log_level: str = "info"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.first_delete_share <= 1:
            raise ConfigError(f"first_delete_share is {self.first_delete_share}, but must be between 0 and 1")
        tls = (self.northbound_private_key, self.northbound_certificate, self.northbound_ca)
        remotes.check("northbound", self.northbound, tls)


def _networks(name: str, cidrs: tuple[str, ...]) -> list[IPv4Network | IPv6Network]:
    networks = []
    for cidr in cidrs:
        try:
            network = ip_network(cidr)
        except ValueError as error:
            raise ConfigError(f'{name} "{cidr}" is not a network: {error}') from error
        if str(network) != cidr:
            raise ConfigError(f'{name} "{cidr}" is not in its canonical form; write "{network}"')
        networks.append(network)
    if not networks:
        raise ConfigError(f"{name} is empty; give one network a family")
    if len({network.version for network in networks}) != len(networks):
        raise ConfigError(f"{name} has more than one network of a family: {', '.join(cidrs)}")
    return networks
