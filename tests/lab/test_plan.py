"""A lab's addresses are decided before it starts."""

import dataclasses
import ipaddress
from pathlib import Path

import pytest

from ovnk.errors import ConfigError
from ovnk.lab import plan
from ovnk.lab.plan import Datapath, Encapsulation, Family, Plan


def planned(family: Family, nodes: int = 3) -> Plan:
    return Plan("test", plan.node_names(nodes), Encapsulation.GENEVE, family, Datapath.NETDEV)


def test_nodes_are_numbered_and_addressed_in_order() -> None:
    lab = planned(Family.IPV4)

    assert lab.nodes == ("n1", "n2", "n3")
    assert [lab.node(node) for node in lab.nodes] == [{4: f"192.168.100.{number}"} for number in (1, 2, 3)]
    assert len({lab.mac(node) for node in lab.nodes}) == 3


@pytest.mark.parametrize(
    ("family", "cluster", "services", "first", "southbound"),
    [
        (Family.IPV4, "10.244.0.0/16", "10.96.0.0/16", "10.96.0.1", "tcp:192.168.100.254:6642"),
        (Family.IPV6, "fd00:10:244::/48", "fd00:10:96::/112", "fd00:10:96::1", "tcp:[fd00:192:168:100::fe]:6642"),
        (
            Family.DUAL,
            "10.244.0.0/16,fd00:10:244::/48",
            "10.96.0.0/16,fd00:10:96::/112",
            "10.96.0.1",
            "tcp:192.168.100.254:6642",
        ),
    ],
    ids=["ipv4", "ipv6", "dual"],
)
def test_a_family_decides_all_addresses(
    family: Family, cluster: str, services: str, first: str, southbound: str
) -> None:
    lab = planned(family)

    assert (lab.cluster_cidrs, lab.service_cidrs, lab.first_service_address) == (cluster, services, first)
    assert lab.remote(plan.SOUTHBOUND_PORT) == southbound


def test_nodes_have_pod_cidrs_only_where_asked() -> None:
    lab = planned(Family.DUAL)
    asked = dataclasses.replace(lab, pod_cidrs=True)

    assert lab.node_cidrs("n2") == ()
    assert asked.node_cidrs("n2") == ("10.244.2.0/24", "fd00:10:244:2::/64")
    for cidr, whole in zip(asked.node_cidrs("n3"), lab.cluster_cidrs.split(","), strict=True):
        assert ipaddress.ip_network(cidr).subnet_of(ipaddress.ip_network(whole))


def test_no_node_has_the_address_of_another_place() -> None:
    lab = planned(Family.DUAL, plan.NODES_MAX)

    places = [lab.central(), lab.outside(), *map(lab.node, lab.nodes)]
    for version in (4, 6):
        assert len({place[version] for place in places}) == len(places)


@pytest.mark.parametrize("count", [0, -1, plan.NODES_MAX + 1])
def test_a_number_of_nodes_that_cannot_be_is_refused(count: int) -> None:
    with pytest.raises(ConfigError, match=f"--nodes: {count} nodes cannot be"):
        plan.node_names(count)


def test_the_kernels_datapath_is_used_where_its_module_is_loaded(tmp_path: Path) -> None:
    assert plan.datapath(tmp_path) is Datapath.NETDEV

    (tmp_path / "openvswitch").mkdir()
    assert plan.datapath(tmp_path) is Datapath.SYSTEM
