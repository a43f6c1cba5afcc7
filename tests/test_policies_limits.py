"""Policies at their limits: none at all, thousands of blocks, names too long to show."""

from ovnk.kube.policy_objects import Block
from ovnk.translate import compile_cluster, names
from tests.builders import allocation, allowing, cluster, node, pod, policy, subnets

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


def test_two_policies_whose_names_are_cut_show_as_two():
    shown = {names.acl_name(f"NP:shop/{'a' * 200}{end}", "ingress", "0") for end in "xy"}
    assert len(shown) == 2
    assert all(len(name) <= names.ACL_NAME_MAX for name in shown)
