"""Cluster IPs and node ports: allocated once, kept over updates, given back with their Service."""

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovnk.lab.apiserver import kinds
from ovnk.lab.apiserver.services import ServiceAddresses
from ovnk.lab.apiserver.store import Store

SERVICES = kinds.built_in("services").storage


class Allocator:
    def __init__(self, *cidrs: str, node_ports: range = range(30000, 30004)) -> None:
        self.store = Store()
        networks = tuple(ipaddress.ip_network(cidr) for cidr in cidrs or ("10.96.0.0/24",))
        self.addresses = ServiceAddresses(self.store, networks, node_ports)

    def put(self, name: str, ports: tuple[Any, ...] = (80,), **spec: Any) -> dict[str, Any]:
        """Create or replace a Service; its spec, or an AssertionError with what is wrong."""
        listed = [{"port": port, "protocol": "TCP"} if isinstance(port, int) else dict(port) for port in ports]
        value = {
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"type": "ClusterIP", "ports": listed, **spec},
        }
        stored = self.store.get(SERVICES, "default", name)
        causes = self.addresses.allocate(None if stored is None else stored.value, value)
        assert not causes, f"{causes[0].field}: {causes[0].message}"
        self.store.write(SERVICES, value)
        return value["spec"]

    def remove(self, name: str) -> None:
        self.store.remove(SERVICES, {"metadata": {"name": name, "namespace": "default"}})


def test_a_service_gets_an_address_and_keeps_it_over_updates_that_do_not_name_it() -> None:
    allocator = Allocator()
    made = allocator.put("a")
    assert made["clusterIP"] == "10.96.0.11"
    assert made["clusterIPs"] == ["10.96.0.11"]
    assert (made["ipFamilies"], made["ipFamilyPolicy"]) == (["IPv4"], "SingleStack")
    assert allocator.put("b")["clusterIP"] == "10.96.0.12"
    assert allocator.put("a", (81,))["clusterIP"] == "10.96.0.11"


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"clusterIP": "10.96.0.11"}, "already allocated"),
        ({"clusterIP": "192.0.2.1"}, "not in the valid range"),
        ({"clusterIP": "fd00::1"}, "not configured on this cluster"),
        ({"clusterIP": "x"}, "must be a valid IP address"),
        ({"clusterIP": "10.96.0.20", "clusterIPs": ["10.96.0.21"]}, "first value must match"),
        ({"ipFamilies": ["IPv6"]}, "not configured on this cluster"),
        ({"ipFamilyPolicy": "RequireDualStack"}, "not configured for dual-stack"),
        ({"type": "NodePort", "ports": [{"port": 1, "protocol": "TCP", "nodePort": 80}]}, "not in the valid range"),
        ({"type": "NodePort", "ports": [{"port": 1, "protocol": "TCP", "nodePort": 30001}]}, "already allocated"),
    ],
)
def test_what_cannot_be_had_is_said(spec: dict[str, Any], why: str) -> None:
    allocator = Allocator()
    allocator.put("taken", ({"port": 1, "protocol": "TCP", "nodePort": 30001},), type="NodePort")
    with pytest.raises(AssertionError, match=why):
        allocator.put("b", **spec)


def test_an_address_may_be_named_and_headless_and_external_services_have_none() -> None:
    allocator = Allocator()
    assert allocator.put("dns", clusterIP="10.96.0.10")["clusterIPs"] == ["10.96.0.10"]
    headless = allocator.put("headless", clusterIP="None")
    assert (headless["clusterIP"], headless["clusterIPs"], headless["ipFamilies"]) == ("None", ["None"], ["IPv4"])
    assert "clusterIP" not in allocator.put("external", type="ExternalName", externalName="example.com")
    assert "clusterIP" not in allocator.put("dns", type="ExternalName", externalName="example.com")
    assert allocator.put("other", clusterIP="10.96.0.10")["clusterIP"] == "10.96.0.10"


def test_two_families_are_given_where_asked_for_and_the_second_can_be_added_and_dropped() -> None:
    allocator = Allocator("10.96.0.0/24", "fd00:96::/112")
    assert allocator.put("one")["ipFamilies"] == ["IPv4"]
    both = allocator.put("two", ipFamilyPolicy="PreferDualStack")
    assert (both["clusterIPs"], both["ipFamilies"]) == (["10.96.0.12", "fd00:96::b"], ["IPv4", "IPv6"])
    six = allocator.put("six", ipFamilies=["IPv6"])
    assert six["clusterIP"].startswith("fd00:96::")
    turned = allocator.put("turned", ipFamilies=["IPv6", "IPv4"])
    assert (turned["ipFamilyPolicy"], turned["ipFamilies"]) == ("RequireDualStack", ["IPv6", "IPv4"])
    added = allocator.put("one", ipFamilyPolicy="PreferDualStack")
    assert len(added["clusterIPs"]) == 2
    assert added["clusterIPs"][0] == "10.96.0.11"
    dropped = allocator.put("one", ipFamilyPolicy="SingleStack")
    assert dropped["clusterIPs"] == ["10.96.0.11"]


def test_node_ports_are_given_kept_and_dropped_with_the_type() -> None:
    allocator = Allocator()
    two = ({"port": 80, "protocol": "TCP"}, {"port": 80, "protocol": "UDP"})
    ports = allocator.put("a", two, type="NodePort")["ports"]
    assert [port["nodePort"] for port in ports] == [30000, 30001]
    again = allocator.put("a", two, type="NodePort")["ports"]
    assert [port["nodePort"] for port in again] == [30000, 30001]
    assert "nodePort" not in allocator.put("a", tuple(again), type="ClusterIP")["ports"][0]
    for name in "bcde":
        allocator.put(name, type="NodePort")
    with pytest.raises(AssertionError, match="range is full"):
        allocator.put("f", type="NodePort")
    allocator.remove("b")
    assert allocator.put("f", type="NodePort")["ports"][0]["nodePort"] in range(30000, 30004)


@given(st.lists(st.tuples(st.sampled_from(["put", "remove"]), st.integers(0, 9)), max_size=40))
def test_no_address_is_given_twice_and_none_is_lost(steps: list[tuple[str, int]]) -> None:
    allocator = Allocator("10.96.0.0/29")
    have: dict[int, str] = {}
    for step, number in steps:
        if step == "remove" and number in have:
            allocator.remove(f"s{number}")
            del have[number]
        elif step == "put" and (number in have or len(have) < 6):
            address = allocator.put(f"s{number}")["clusterIP"]
            assert have.setdefault(number, address) == address
        elif step == "put":
            with pytest.raises(AssertionError, match="range is full"):
                allocator.put(f"s{number}")
        assert len(set(have.values())) == len(have)
        reopened = ServiceAddresses(allocator.store, (ipaddress.ip_network("10.96.0.0/29"),))
        assert reopened._used_addresses.total() == len(have)
