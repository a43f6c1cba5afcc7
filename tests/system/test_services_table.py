"""The table of Services: client place × kind × traffic policy × family × protocol, with real packets (R03, R04, R19).

Every cell says who answered and which client address it saw; the oracle says who should, and whom they should see.
SCTP, for which this kernel may have no sockets, is told by ovn-trace and by the nodes' own maps.
"""

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.labs import Lab
from tests.oracle.service_paths import CLUSTER_IP, NODE_PORT, Client, Front, answering, refused, seen
from tests.system import batch, servers, workloads
from tests.system.service_rows import (
    CLIENTS,
    EXTERNAL_IPS,
    LOCAL_IPS,
    OUTSIDE,
    OUTSIDE_PORT,
    OWN_ROUTING,
    PROTOCOLS,
    ROWS,
    SPACE,
    UNBALANCED,
    WAYS,
    others,
    pods,
)
from tests.system.services import Heard, balancers, nbctl
from tests.system.workloads import Object

pytestmark = pytest.mark.system

TIMES = 3
FAMILIES = (4, 6)


@dataclass
class Table:
    """What was heard in each cell, and by what addresses whoever asks may be seen: their own, and nodes' ovnk0."""

    lab: Lab
    services: dict[str, Object]
    pods: dict[str, Object]
    nodes: dict[str, list[str]]
    zones: dict[str, str]
    managed: dict[str, list[str]]
    heard: dict[tuple[str, batch.Target], list[Heard]]

    def own(self, client: Client, version: int) -> str:
        """The client's own address."""
        if client.kind == "outside":
            return OUTSIDE[version]
        if client.kind == "pod":
            return workloads.of_family(self.pods[client.place], version)
        return of_family(self.nodes[client.node], version)

    def target(self, name: str, front: Front, version: int, protocol: str) -> batch.Target:
        """Where the Service is asked."""
        found = self.services[name]
        port = next(one for one in found["spec"]["ports"] if one["protocol"] == protocol)
        if front.kind == NODE_PORT:
            return of_family(self.nodes[front.node], version), port["nodePort"], protocol
        if front.kind == CLUSTER_IP:
            addresses = found["spec"]["clusterIPs"]
        elif found["spec"]["type"] == "LoadBalancer":
            addresses = given(found)
        else:
            addresses = (LOCAL_IPS if name.endswith("local") else EXTERNAL_IPS)[front.node]
        return of_family(addresses, version), port["port"], protocol

    def targets(self) -> set[batch.Target]:
        """All there are."""
        return {
            self.target(name, front, version, protocol)
            for name, row in ROWS.items()
            for front in row.fronts
            for version in FAMILIES
            for protocol in PROTOCOLS[name]
        }

    def faults(self, name: str, version: int, protocol: str) -> Iterator[str]:
        """The cells of a Service that are not as they should be, a line each."""
        for front in ROWS[name].fronts:
            target = self.target(name, front, version, protocol)
            for client in CLIENTS:
                for heard in self.heard[client.place, target]:
                    if why := self._fault(name, front, client, heard, target[0]):
                        yield f"{client.place} at {front.kind} {front.node} {target[0]} port {target[1]}: {why}"

    def _fault(self, name: str, front: Front, client: Client, heard: Heard, vip: str) -> str:
        row, version = ROWS[name], 6 if ":" in vip else 4
        who = answering(row.policy, row.endpoints, self.zones, client, front)
        if not who:
            at_once = refused(row.endpoints, client, front)
            # A datagram that the node's own rules reject is refused to the node itself with EPERM, as by kube-proxy.
            told = "Refused" in heard.error or (client.kind == "node" and "PermissionError" in heard.error)
            good = told if at_once else bool(heard.error)
            return "" if good else f"{heard}, but should {'be refused at once' if at_once else 'get no answer'}"
        if heard.pod not in who:
            return f"{heard}, but {' or '.join(sorted(who))} should have answered"
        whom = seen(row.policy, client, front, heard.pod)
        expected = {"vip": [vip], "client": [self.own(client, version)]}.get(whom) or self.managed[whom[5:]]
        if name in OWN_ROUTING:
            of_nodes = [one for known in (self.managed, self.nodes) for some in known.values() for one in some]
            expected = [self.own(client, version), vip, *of_nodes]
        return "" if heard.seen in expected else f"{heard.pod} saw {heard.seen}, but should have seen {expected}"


def of_family(addresses: Any, version: int) -> str:
    return next(str(one) for one in addresses if (":" in one) == (version == 6))


def given(found: Object) -> list[str]:
    """The addresses that the Service has of the pool."""
    return [one["ip"] for one in found.get("status", {}).get("loadBalancer", {}).get("ingress") or ()]


@pytest.fixture(scope="module")
def table(zoned: Lab) -> Iterator[Table]:
    lab = zoned
    lab.apply([workloads.namespace(SPACE), *pods(), *others()])
    nodes = lab.get("nodes")["items"]
    found = Table(
        lab,
        services={},
        pods=lab.wait_ready([f"{SPACE}/{pod['metadata']['name']}" for pod in pods()]),
        nodes={
            node["metadata"]["name"]: [
                one["address"] for one in node["status"]["addresses"] if one["type"] == "InternalIP"
            ]
            for node in nodes
        },
        zones={node["metadata"]["name"]: node["metadata"]["labels"]["topology.kubernetes.io/zone"] for node in nodes},
        managed={
            one["metadata"]["name"]: [address.partition("/")[0] for address in one["spec"]["management"]["addresses"]]
            for one in lab.get("nodenetworks")["items"]
        },
        heard={},
    )
    with _outside(lab, found.nodes):
        lab.wait_until(lambda: _all_given(found), "addresses of the pool")
        lab.wait_until(lambda: _arrived(found), "the Services")
        found.heard = dict(batch.ask(lab, [client.place for client in CLIENTS], sorted(found.targets()), TIMES))
        yield found
    lab.delete("addresspool", SPACE)
    lab.delete("namespace", SPACE)


@contextlib.contextmanager
def _outside(lab: Lab, nodes: dict[str, list[str]]) -> Iterator[None]:
    """A server outside of the cluster, and the ways from there to Services' external addresses."""
    for node, destinations in WAYS.items():
        for destination in destinations:
            via = of_family(nodes[node], 6 if ":" in destination else 4)
            done = lab.exec("outside", "ip", "route", "replace", destination, "via", via)
            assert done.returncode == 0, done.stderr
    server = lab.popen("outside", workloads.PYTHON, "-c", servers.OUTSIDE, str(OUTSIDE_PORT))
    try:
        assert server.stdout
        assert server.stdout.readline() == "ready\n"
        yield
    finally:
        server.kill()
        server.communicate()
        for destinations in WAYS.values():
            for destination in destinations:
                lab.exec("outside", "ip", "route", "del", destination)


def _all_given(found: Table) -> bool:
    listed = found.lab.get("services", f"--namespace={SPACE}")["items"]
    found.services = {one["metadata"]["name"]: one for one in listed}
    return all(len(given(one)) == 2 for one in listed if one["spec"]["type"] == "LoadBalancer")


def _arrived(found: Table) -> bool:
    """Whether every Service is served wherever it is asked: to the last of the clients that it serves."""
    late: dict[str, set[batch.Target]] = {}
    for name, row in ROWS.items():
        for front in row.fronts:
            served = [one for one in CLIENTS if answering(row.policy, row.endpoints, found.zones, one, front)]
            for client in served[-1:]:
                late.setdefault(client.place, set()).add(found.target(name, front, 6, "TCP"))
    return all(
        not one.error
        for place, targets in late.items()
        for some in batch.ask(found.lab, [place], sorted(targets), 1).values()
        for one in some
    )


@pytest.mark.parametrize("version", FAMILIES)
@pytest.mark.parametrize(("name", "protocol"), [(name, kind) for name in ROWS for kind in PROTOCOLS[name]])
def test_r03_r04_every_client_hears_whom_it_should_who_sees_whom_it_should(
    table: Table, name: str, protocol: str, version: int
) -> None:
    faults = sorted(set(table.faults(name, version, protocol)))
    assert not faults, "\n".join([f"{len(faults)} cells:", *faults])


@pytest.mark.parametrize("name", UNBALANCED)
def test_headless_services_and_external_names_have_no_balancer(table: Table, name: str) -> None:
    assert table.services[name]
    assert not balancers(table.lab, name, SPACE, "tcp")
    assert balancers(table.lab, "cluster-ip", SPACE, "tcp"), "others have"


@pytest.mark.parametrize("version", FAMILIES)
def test_sctp_leads_to_every_endpoint_from_pods_and_nodes(table: Table, version: int) -> None:
    """By the logical flows that northd made, for want of sockets."""
    vip, port, _ = table.target("cluster-ip", ROWS["cluster-ip"].fronts[0], version, "SCTP")
    endpoints = {
        f"{SPACE}/web-{node}": workloads.of_family(table.pods[f"{SPACE}/web-{node}"], version) for node in ("n1", "n2")
    }
    (row,) = balancers(table.lab, "cluster-ip", SPACE, "sctp")
    socket = "[{}]:{}" if version == 6 else "{}:{}"
    targets = {socket.format(address, 8080) for address in endpoints.values()}
    assert set(row[socket.format(vip, port)].split(",")) == targets
    for place, node in ((f"{SPACE}/client-1", "n1"), (f"{SPACE}/client-3", "n3"), ("node:n3", "n3")):
        own = endpoints.get(place) or (
            of_family(table.managed[node], version)
            if place.startswith("node:")
            else workloads.of_family(table.pods[place], version)
        )
        for name, address in endpoints.items():
            flow = _microflow(table.lab, place, node, own, vip, port)
            traced = _trace(table.lab, node, socket.format(address, 8080), flow)
            assert f'output("{name}")' in traced, traced


def test_sctp_node_ports_are_in_every_nodes_map(table: Table) -> None:
    _, number, _ = table.target("node-port", ROWS["node-port"].fronts[-1], 4, "SCTP")
    for node in table.lab.nodes:
        for version in FAMILIES:
            listed = table.lab.exec(
                f"node/{node}", "nft", "list", "map", "inet", "ovnk-services", f"node_ports{version}"
            )
            assert (
                f"sctp . {number} : {of_family(table.services['node-port']['spec']['clusterIPs'], version)}"
                in listed.stdout
            )


def _microflow(lab: Lab, port: str, node: str, own: str, vip: str, number: int) -> str:
    """An SCTP packet from a logical port to a vip (ovn-trace(8), MICROFLOWS)."""
    (mac, *_) = nbctl(lab, "--bare", "--columns=addresses", "find", "Logical_Switch_Port", f'name="{port}"').split()
    router = nbctl(lab, "get", "Logical_Router_Port", f"ovnk-cluster:{node}", "mac").strip().strip('"')
    ip = "ip6" if ":" in vip else "ip4"
    return (
        f'inport == "{port}" && eth.src == {mac} && eth.dst == {router} && {ip}.src == {own} && {ip}.dst == {vip} '
        f"&& ip.ttl == 64 && sctp.src == 5000 && sctp.dst == {number}"
    )


def _trace(lab: Lab, switch: str, endpoint: str, microflow: str) -> str:
    command = [
        "ovn-trace",
        f"--db=unix:{lab.southbound_socket}",
        "--minimal",
        f"--lb-dst={endpoint}",
        switch,
        microflow,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 0, done.stderr
    return done.stdout
