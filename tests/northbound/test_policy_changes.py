"""What guards ports changes in one transaction, and stands before a new port does."""

from ovnk.incremental.desired import Delta
from ovnk.northbound.changes import UNITS_A_TRANSACTION, of_delta, units
from ovnk.northbound.facts import Member, Ref, row
from ovnk.northbound.ordering import chunks
from ovnk.northbound.schema import Wire

PODS = 3 * UNITS_A_TRANSACTION


def port(number):
    return row("Logical_Switch_Port", f"p{number}", f"Pod/p{number}", "test", name=f"p{number}")


def member(number, group="group"):
    return Member("Port_Group", group, "ports", Ref("Logical_Switch_Port", f"p{number}"))


def transactions(added, removed=()):
    return chunks(units(of_delta(Delta(frozenset(added), frozenset(removed)), Wire()).changes))


def test_pods_that_change_groups_do_so_in_one_transaction():
    moved = [member(number, "new") for number in range(PODS)]
    assert len(transactions(moved, [member(number) for number in range(PODS)])) == 1


def test_a_policy_and_all_the_pods_it_is_about_are_one_transaction():
    group = row("Port_Group", "group", "cluster", "test", name="group")
    acl = row("ACL", "acl", "NetworkPolicy/p", "test", match="ip", action="drop", direction="to-lport", priority=1)
    acls = Member("Port_Group", "group", "acls", acl.ref)
    assert len(transactions([group, acl, acls, *(member(number) for number in range(PODS))])) == 1


def test_new_ports_come_after_what_guards_them():
    acl = row("ACL", "acl", "NetworkPolicy/p", "test", match="ip", action="drop", direction="to-lport", priority=1)
    acls = Member("Port_Group", "group", "acls", acl.ref)
    switch = [
        Member("Logical_Switch", "n1", "ports", Ref("Logical_Switch_Port", f"p{number}")) for number in range(PODS)
    ]
    news = [*map(port, range(PODS)), *map(member, range(PODS)), *switch]
    first, *others = transactions([*news, acl, acls])
    assert "NetworkPolicy/p" in {unit.name for unit in first}
    assert len(others) >= 2
