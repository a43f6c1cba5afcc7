"""The record of a pod's port: what OVSDB keeps gives back what ADD made."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from cni import attachment
from cni.attachment import Addresses, Found
from cni.protocol import Pod

ADDRESSES = Addresses("0a:58:0a:f4:01:05", ("10.244.1.5/24", "fd00::5/64"), ("10.244.1.1", "fd00::1"))
PORT = attachment.make("abc", "eth0", "/run/netns/x", Pod("shop", "web-0", "u1"), ADDRESSES, 1442, 0)
FOUND = Found(
    "0a:58:0a:f4:01:05",
    frozenset({"10.244.1.5/24", "fd00::5/64", "fe80::1/64"}),
    frozenset({"10.244.1.1", "fd00::1"}),
    1442,
    up=True,
)


def test_record_gives_back_the_attachment():
    external_ids = PORT.external_ids() | {"ovn-installed": "true", "ovn-installed-ts": "1"}
    assert attachment.read(PORT.host_interface, external_ids) == PORT


@given(st.dictionaries(st.sampled_from([*PORT.external_ids()]), st.text()))
def test_any_record_is_read_without_an_error(external_ids):
    found = attachment.read("ovnkp1", external_ids)
    assert (found is None) == (not external_ids.get("ovnk-container-id"))


@given(st.text(min_size=1), st.text(min_size=1), st.integers(0, 3))
def test_host_side_has_a_name_that_linux_takes(container_id, ifname, attempt):
    name = attachment.host_interface(container_id, ifname, attempt)
    assert len(name.encode()) == 15
    assert name.startswith("ovnkp")
    assert name == attachment.host_interface(container_id, ifname, attempt)


def test_management_port_is_not_taken_for_a_pods():
    assert not "ovnk0".startswith(attachment.HOST_PREFIX)


def test_nothing_differs_after_add_and_what_others_added_is_no_difference():
    assert attachment.differences(PORT, FOUND) == []
    more = replace(FOUND, addresses=FOUND.addresses | {"10.9.9.9/32"}, mtu_bytes=1300)
    assert attachment.differences(PORT, more) == []


def test_every_difference_is_named():
    found = Found("0a:58:00:00:00:01", frozenset({"10.244.1.5/24"}), frozenset(), 1442, up=False)
    said = " ".join(attachment.differences(PORT, found))
    assert all(word in said for word in ("MAC", "down", "fd00::5/64", "via 10.244.1.1", "via fd00::1"))


def test_orphan_needs_its_pod_unlisted_and_its_namespace_gone():
    ports = {PORT.host_interface: PORT}
    gone = frozenset({"/run/netns/x"})
    assert attachment.orphans(ports, frozenset(), gone) == [PORT]
    assert attachment.orphans(ports, frozenset({"u1"}), gone) == []
    assert attachment.orphans(ports, frozenset(), frozenset()) == []
