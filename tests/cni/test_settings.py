"""The node's settings as a function of its NodeNetwork and what was seen: no kernel, no database."""

import pytest

from cni import ruleset, settings
from cni.settings import Chassis, Route, Underlay, Vswitch
from ovnk.contract import Management, NodeNetworkSpec, SubnetRange
from ovnk.errors import ConfigError
from tests.cni import world

CHASSIS = Chassis("node-1", "tcp:192.168.100.254:6642")
UNDERLAY = Underlay("eth0", "192.168.100.1", 1500)
BOTH = ("netdev", "system")


@pytest.mark.parametrize(
    ("encap_type", "address", "mtu_bytes"),
    [
        ("geneve", "192.168.100.1", 1442),
        ("geneve", "fd00::1", 1422),
        ("vxlan", "192.168.100.1", 1450),
        ("vxlan", "fd00::1", 1430),
    ],
)
def test_pod_mtu_is_the_underlays_less_the_tunnel(encap_type, address, mtu_bytes):
    chassis = Chassis("node-1", "tcp:1.2.3.4:6642", encap_type=encap_type)
    assert settings.pod_mtu_bytes(chassis, Underlay("eth0", address, 1500), world.spec()) == mtu_bytes


def test_ovn_controller_keeps_flows_at_its_start_once_there_are_some():
    assert "ovn-ofctrl-wait-before-clear" not in settings.external_id_defaults(has_flows=False)
    assert settings.external_id_defaults(has_flows=True)["ovn-ofctrl-wait-before-clear"] == "1000"


def test_pod_mtu_is_the_operators_where_there_is_one():
    assert settings.pod_mtu_bytes(CHASSIS, UNDERLAY, world.spec(mtu_bytes=1300)) == 1300


def test_ipv6_pods_below_ipv6s_least_mtu_are_refused_in_words():
    small = Underlay("eth0", "192.168.100.1", 1300)
    with pytest.raises(ConfigError, match="1280"):
        settings.pod_mtu_bytes(CHASSIS, small, world.spec())
    only_v4 = world.spec(cluster_cidrs=("10.244.0.0/16",))
    assert settings.pod_mtu_bytes(CHASSIS, small, only_v4) == 1242


@pytest.mark.parametrize(
    ("asked", "seen", "datapath"),
    [
        ("auto", Vswitch(BOTH, kernel_datapath=True, bridge_datapath=""), "system"),
        ("auto", Vswitch(BOTH, kernel_datapath=False, bridge_datapath=""), "netdev"),
        ("auto", Vswitch(("netdev",), kernel_datapath=True, bridge_datapath=""), "netdev"),
        ("auto", Vswitch(BOTH, kernel_datapath=True, bridge_datapath="netdev"), "netdev"),
        ("auto", Vswitch(BOTH, kernel_datapath=False, bridge_datapath="system"), "netdev"),
        ("system", Vswitch(BOTH, kernel_datapath=False, bridge_datapath="netdev"), "system"),
        ("netdev", Vswitch(BOTH, kernel_datapath=True, bridge_datapath="system"), "netdev"),
    ],
)
def test_datapath_is_chosen_by_looking_and_never_changed_under_ports(asked, seen, datapath):
    assert settings.datapath_type(Chassis("n", "unix:/s", datapath=asked), seen) == datapath


def test_chassis_is_named_as_the_node():
    external_ids = settings.external_ids(CHASSIS, UNDERLAY, "system")
    assert external_ids["system-id"] == external_ids["hostname"] == "node-1"
    assert external_ids["ovn-remote"] == "tcp:192.168.100.254:6642"
    assert external_ids["ovn-encap-ip"] == "192.168.100.1"


@pytest.mark.parametrize(
    ("changes", "flag"),
    [
        ({"encap_type": "gre"}, "--encap-type"),
        ({"datapath": "dpdk"}, "--datapath"),
        ({"encap_ip": "eth0"}, "--encap-ip"),
    ],
)
def test_wrong_settings_name_their_flag(changes, flag):
    with pytest.raises(ConfigError, match=flag):
        settings.check(Chassis("n", "unix:/s", **changes))


def test_routes_go_by_the_gateway_of_ovnk0s_own_subnet_and_to_pods_from_the_nodes_address():
    host = settings.host(world.spec(), UNDERLAY, "system", ("192.168.100.1", "fd00::1"))
    assert host.routes == {
        Route("10.244.1.0/24", "", "192.168.100.1"),
        Route("10.244.0.0/16", "10.244.1.1", "192.168.100.1"),
        Route("10.96.0.0/16", "10.244.1.1"),
        Route("fd00:10:244:1::/64", "", "fd00::1"),
        Route("fd00:10:244::/48", "fd00:10:244:1::1", "fd00::1"),
        Route("fd00:10:96::/112", "fd00:10:244:1::1"),
    }
    assert host.addresses == {"10.244.1.2/24", "fd00:10:244:1::2/64"}


def test_without_an_address_of_the_node_the_kernel_chooses():
    assert {route.source for route in settings.host(world.spec(), UNDERLAY, "system").routes} == {""}


def test_the_cluster_of_one_node_needs_one_route():
    spec = world.spec(cluster_cidrs=("10.244.1.0/24", "fd00:10:244:1::/64"), service_cidrs=())
    routes = settings.host(spec, UNDERLAY, "system").routes
    assert routes == {Route("10.244.1.0/24"), Route("fd00:10:244:1::/64")}


def test_ipv6_only_node_is_asked_nothing_of_ipv4():
    spec = NodeNetworkSpec(
        subnets=(SubnetRange("default", "fd00:1::/64", "fd00:1::1"),),
        management=Management(("fd00:1::2/64",), "0a:58:00:00:00:02"),
        cluster_cidrs=("fd00::/16",),
        service_cidrs=("fd01::/112",),
    )
    host = settings.host(spec, UNDERLAY, "netdev")
    assert {route.destination for route in host.routes} == {"fd00:1::/64", "fd00::/16", "fd01::/112"}
    assert not [path for path, _ in host.sysctls if "ipv4" in path]
    assert not host.checksum_offload
    assert "ip saddr" not in ruleset.text(*settings.inside(spec))


def test_forwarding_ipv6_keeps_the_default_route_that_was_advertised():
    """accept_ra becomes 2 before forwarding is switched on (Documentation/networking/ip-sysctl.rst)."""
    paths = [path for path, _ in settings.host(world.spec(), UNDERLAY, "system").sysctls]
    assert paths.index("net/ipv6/conf/eth0/accept_ra") < paths.index("net/ipv6/conf/all/forwarding")


def test_overlapping_networks_are_merged_for_nftables():
    pods, inside = settings.inside(
        world.spec(cluster_cidrs=("10.0.0.0/9", "10.128.0.0/9"), service_cidrs=("10.96.0.0/16",))
    )
    assert pods == inside == ("10.0.0.0/8",)


def test_rules_cover_every_pod_and_never_ovnk0():
    text = ruleset.text(("10.244.0.0/16",), ("10.244.0.0/16", "10.96.0.0/16"))
    assert text.count('iifname "ovnkp*" drop') == 2
    assert "ip saddr { 10.244.0.0/16 } ip daddr != { 10.244.0.0/16, 10.96.0.0/16 } masquerade" in text
    assert text.index('oifname "ovnk0" return') < text.index("masquerade")
