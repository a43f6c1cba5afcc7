"""The rows of the table of Services: what is applied to the lab, and where each Service is asked."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.oracle.service_paths import CLUSTER_IP, EXTERNAL, NODE_PORT, Client, Front, Policy
from tests.system import workloads
from tests.system.services import service
from tests.system.workloads import Object

SPACE = "table"
HOST_PORT, OUTSIDE_PORT = 18099, 18100
OUTSIDE = {4: "192.168.100.253", 6: "fd00:192:168:100::fd"}
# External addresses by the node that is the way to them from outside; and the pool's, whose way is n1.
EXTERNAL_IPS = {"n1": ("198.51.100.1", "2001:db8:1::1"), "n3": ("198.51.100.3", "2001:db8:1::3")}
LOCAL_IPS = {"n1": ("198.51.100.11", "2001:db8:1::11"), "n3": ("198.51.100.13", "2001:db8:1::13")}
POOL = ("198.51.100.128/28", "2001:db8:1::80/124")
WAYS = {"n1": (*POOL, *EXTERNAL_IPS["n1"], *LOCAL_IPS["n1"]), "n3": (*EXTERNAL_IPS["n3"], *LOCAL_IPS["n3"])}

CLIENTS = (
    Client(f"{SPACE}/client-1", "pod", "n1"),
    Client(f"{SPACE}/client-3", "pod", "n3"),
    # itself an endpoint
    Client(f"{SPACE}/web-n1", "pod", "n1"),
    Client("node/n1", "node", "n1"),
    Client("node/n3", "node", "n3"),
    Client(f"{SPACE}/host-3", "node", "n3"),
    Client("outside", "outside"),
)
WEB = {f"{SPACE}/web-n1": "n1", f"{SPACE}/web-n2": "n2"}
IP, PORTS = Front(CLUSTER_IP), (Front(NODE_PORT, "n1"), Front(NODE_PORT, "n3"))
EXTERNALS = (Front(EXTERNAL, "n1"), Front(EXTERNAL, "n3"))


@dataclass(frozen=True)
class Row:
    """One Service: whom it selects, its spec, its endpoints (name → node), and where it is asked."""

    selector: dict[str, str] | None
    spec: Object
    endpoints: dict[str, str]
    fronts: tuple[Front, ...]
    policy: Policy


def row(fronts: tuple[Front, ...], endpoints: dict[str, str] | None = None, app: str = "web", **spec: Any) -> Row:
    policy = Policy(
        spec.get("internalTrafficPolicy") == "Local",
        spec.get("externalTrafficPolicy") == "Local",
        spec.get("trafficDistribution", "").removeprefix("PreferSame").lower(),
    )
    return Row({"app": app} if app else None, spec, WEB if endpoints is None else endpoints, fronts, policy)


def _ports(*protocols: str, target: str | int = 8080) -> list[Object]:
    return [
        {"name": kind.lower(), "port": 80, "protocol": kind, "targetPort": str(target).format(kind.lower())}
        if isinstance(target, str)
        else {"name": kind.lower(), "port": 80, "protocol": kind, "targetPort": target}
        for kind in protocols
    ]


_EXTERNAL = {"externalIPs": [ip for ips in EXTERNAL_IPS.values() for ip in ips]}
_LOCAL = {"externalIPs": [ip for ips in LOCAL_IPS.values() for ip in ips], "externalTrafficPolicy": "Local"}
ROWS = {
    "cluster-ip": row((IP,), ports=_ports("TCP", "UDP", "SCTP")),
    "internal-local": row((IP,), internalTrafficPolicy="Local"),
    "same-zone": row((IP, *PORTS), type="NodePort", trafficDistribution="PreferSameZone"),
    "same-node": row((IP, *PORTS), type="NodePort", trafficDistribution="PreferSameNode"),
    "none": row((IP, *PORTS), {}, app="nobody", type="NodePort"),
    # a name that stands for another number in each pod
    "named-ports": row((IP,), ports=_ports("TCP", "UDP", target="odd-{}")),
    "published": row((IP,), {f"{SPACE}/sick": "n2"}, app="sick", publishNotReadyAddresses=True),
    "not-ready": row((IP,), {}, app="sick"),
    "node-port": row((IP, *PORTS), type="NodePort", ports=_ports("TCP", "UDP", "SCTP")),
    "node-port-local": row((IP, *PORTS), type="NodePort", externalTrafficPolicy="Local"),
    "node-port-internal-local": row((IP, *PORTS), type="NodePort", internalTrafficPolicy="Local"),
    "external-ips": row(EXTERNALS, **_EXTERNAL),
    "external-ips-local": row(EXTERNALS, type="NodePort", **_LOCAL),
    "load-balancer": row((IP, *PORTS, Front(EXTERNAL, "n1")), type="LoadBalancer"),
    "load-balancer-local": row((*PORTS, Front(EXTERNAL, "n1")), type="LoadBalancer", externalTrafficPolicy="Local"),
    "hosted": row(
        (IP, *PORTS),
        {f"{SPACE}/host-3": "n3"},
        app="host",
        type="NodePort",
        ports=_ports("TCP", "UDP", target=HOST_PORT),
    ),
    "beyond": row((IP, *PORTS), {"outside": ""}, app="", type="NodePort"),
}
# Whom endpoints in a node's own network, or beyond the cluster, see is up to nodes' routing.
OWN_ROUTING = ("hosted", "beyond")
PROTOCOLS = dict.fromkeys(ROWS, ("TCP", "UDP"))
# Kinds of Service for which nothing is balanced.
UNBALANCED = ("headless", "alias")


def pods() -> list[Object]:
    """The pods that become Ready."""
    return [
        _server("web-n1", "n1", 8081),
        _server("web-n2", "n2", 8082),
        workloads.server("client-1", "n1", space=SPACE),
        workloads.server("client-3", "n3", space=SPACE),
        workloads.server("host-3", "n3", port=HOST_PORT, space=SPACE, host_network=True, app="host"),
    ]


def others() -> Iterator[Object]:
    """All the rest: the pool, Services, slices, and a pod that never becomes Ready."""
    yield {
        "apiVersion": "ovnk.io/v1",
        "kind": "AddressPool",
        "metadata": {"name": SPACE},
        "spec": {
            "addresses": list(POOL),
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": SPACE}},
        },
    }
    for name, one in ROWS.items():
        yield service(name, SPACE, one.selector, **one.spec)
    yield service("headless", SPACE, {"app": "web"}, clusterIP="None")
    alias = {"type": "ExternalName", "externalName": "db.example.org"}
    yield {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "alias", "namespace": SPACE}, "spec": alias}
    sick = workloads.server("sick", "n2", space=SPACE, app="sick")
    sick["spec"]["containers"][0]["readinessProbe"] = {"tcpSocket": {"port": 1}, "periodSeconds": 60}
    yield sick
    for version, address in OUTSIDE.items():
        labels = {"kubernetes.io/service-name": "beyond"}
        yield {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": f"beyond-{version}", "namespace": SPACE, "labels": labels},
            "addressType": f"IPv{version}",
            "ports": [{"name": kind.lower(), "port": OUTSIDE_PORT, "protocol": kind} for kind in ("TCP", "UDP")],
            "endpoints": [{"addresses": [address]}],
        }


def _server(name: str, node: str, odd: int) -> Object:
    made = workloads.server(name, node, space=SPACE, app="web")
    for kind in ("TCP", "UDP"):
        port = {"name": f"odd-{kind.lower()}", "containerPort": odd, "protocol": kind}
        made["spec"]["containers"][0]["ports"].append(port)
    return made
