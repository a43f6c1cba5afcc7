"""Policies at their limits: none at all, thousands of blocks, names too long to show, no namespace."""

from ipaddress import collapse_addresses, ip_network

from hypothesis import given
from hypothesis import strategies as st

from ovnk.kube.policy_objects import Block
from ovnk.translate import acl_matches, compile_cluster, names
from tests.builders import allocation, allowing, cluster, node, pod, policy, subnets
from tests.oracle.acls import Acls

WEB = pod()
CLUSTER = [cluster(), node(), subnets(), WEB, allocation(WEB)]


def tables(values):
    return {fact.table for fact in compile_cluster(values)}


def test_r14_without_policies_there_is_no_acl_and_no_group():
    assert tables(CLUSTER).isdisjoint({"ACL", "Port_Group", "Address_Set", "Meter"})
    assert {"ACL", "Port_Group"} <= tables([*CLUSTER, policy()])


def test_thousands_of_blocks_are_one_acl_and_one_set():
    blocks = [
        Block(f"198.{18 + n // 250}.{n % 250}.0/25", (f"198.{18 + n // 250}.{n % 250}.8/29",)) for n in range(3000)
    ]
    facts = compile_cluster([*CLUSTER, policy(ingress=(allowing(*blocks),))])
    rules = [fact for fact in facts if fact.table == "ACL" and getattr(fact, "rule", "") == "policies.rules"]
    (held,) = [dict(fact.columns)["addresses"] for fact in facts if "addresses" in dict(getattr(fact, "columns", ()))
               and fact.table == "Address_Set"]  # fmt: skip
    assert len(rules) == 1
    assert len(held) == 3000 * 4


def test_thousands_of_excepts_in_one_block_take_no_longer_than_thousands_of_blocks():
    """They used to be taken out one after the other, each of all parts: 5,000 took most of a minute."""
    excepts = tuple(f"10.{n // 250}.{n % 250}.0/28" for n in range(20_000))
    (found,) = acl_matches.blocks([Block("10.0.0.0/8", excepts)]).values()
    held = sum(ip_network(one).num_addresses for one in found)
    assert held == 2**24 - 20_000 * 16


def networks(bits):
    """Networks within 32 addresses."""
    return st.builds(
        lambda prefix, at: f"192.0.2.{at >> (32 - prefix) << (32 - prefix)}/{prefix}",
        st.integers(32 - bits, 32),
        st.integers(0, 2**bits - 1),
    )


@given(st.lists(st.builds(Block, networks(5), st.lists(networks(5), max_size=3).map(tuple)), max_size=4))
def test_blocks_hold_exactly_what_they_say_in_the_fewest_networks(given_blocks):
    expected = {
        address
        for block in given_blocks
        for address in ip_network(block.cidr)
        if not any(address in ip_network(one) for one in block.excepts)
    }
    found = acl_matches.blocks(given_blocks).get(4, ())
    assert {address for one in found for address in ip_network(one)} == expected
    assert found == tuple(map(str, collapse_addresses(ip_network(address) for address in expected)))


def test_two_policies_whose_names_are_cut_show_as_two():
    shown = {names.acl_name(f"NP:shop/{'a' * 200}{end}", "ingress", "0") for end in "xy"}
    assert len(shown) == 2
    assert all(len(name) <= names.ACL_NAME_MAX for name in shown)


def test_a_policy_for_a_namespace_that_does_not_exist_waits_for_its_pods():
    """And isolates the first of them, though nobody has seen the Namespace yet."""
    early, later = policy(namespace="later"), pod(namespace="later", uid="later")
    acls = Acls(compile_cluster([*CLUSTER, early, later, allocation(later, "10.244.1.9")]))
    packet = {"ip": True, "ip4": True, "ip4.src": "10.244.1.3", "ip4.dst": "10.244.1.9"}
    assert not acls.passes("shop/web-0", "later/web-0", packet)
    assert "ACL" in tables([*CLUSTER, early])


def test_a_node_reaches_its_pods_from_ovnk0_only_in_a_family_without_an_address_of_its_own():
    """Behind ovnk0's address is what the node forwards for anybody."""
    dual = [cluster("10.244.0.0/16", "fd00::/48"), node(), subnets("node-1", "10.244.1.0/24", "fd00:0:0:1::/64"), WEB]
    facts = compile_cluster([*dual, allocation(WEB, "10.244.1.3", "fd00:0:0:1::3"), policy()])
    (access,) = [dict(fact.columns)["match"] for fact in facts if getattr(fact, "rule", "") == "membership.node_access"]
    assert access == "ip4.src == {192.168.100.1, 10.96.0.0/16} || ip6.src == {fd00:0:0:1::2}"
