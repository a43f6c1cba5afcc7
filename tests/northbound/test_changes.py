"""Changes in units and transactions: who goes with whom, what comes first."""

import math

from hypothesis import given as for_any
from hypothesis import strategies as st

from ovnk.incremental.desired import Delta
from ovnk.northbound import changes, ordering
from ovnk.northbound.facts import Member, Ref, row
from ovnk.northbound.schema import Wire
from tests.northbound.cluster import address_set, balancer, delta, group_of_balancers, pod, port, port_group, switch

WIRE = Wire()


def planned(given: Delta) -> list[list[changes.Unit]]:
    return ordering.chunks(changes.units(changes.of_delta(given, WIRE).changes))


def names(chunk: list[changes.Unit]) -> list[str]:
    return [unit.name for unit in chunk]


def test_a_port_and_its_place_on_the_switch_are_one_unit():
    (chunk,) = planned(delta([], [*pod(), Member("Port_Group", "web", "ports", port().ref)]))
    assert names(chunk) == ["Pod/shop/web-0"]


def test_a_plain_value_goes_with_the_row_it_stands_in():
    (chunk,) = planned(delta([], [address_set(), Member("Address_Set", "web", "addresses", "10.244.1.3")]))
    assert names(chunk) == ["Namespace/shop"]


def test_the_referent_comes_first():
    facts = [
        *pod(),
        switch(load_balancer_group=[Ref("Load_Balancer_Group", "all")]),
        group_of_balancers(),
        Member("Port_Group", "web", "ports", port().ref),
        port_group(),
    ]
    (chunk,) = planned(delta([], facts))
    order = names(chunk)
    assert order.index("cluster") < order.index("Node/node-1") < order.index("Pod/shop/web-0")
    assert order.index("NetworkPolicy/shop/web") < order.index("Pod/shop/web-0")


def test_units_that_need_each_other_become_one():
    ring = [
        row("Logical_Switch", name, f"Node/{name}", "r", name=name, load_balancer=[Ref("Load_Balancer", name)])
        for name in ("a", "b")
    ]
    back = [row("Load_Balancer", other, f"Node/{name}", "r", name=other) for name, other in (("a", "b"), ("b", "a"))]
    (chunk,) = planned(delta([], [*ring, *back]))
    assert len(chunk) == 1
    assert len(chunk[0].changes) == 4


def reachable(needs: dict[int, set[int]], start: int) -> set[int]:
    found, todo = set[int](), [start]
    while todo:
        new = needs[todo.pop()] - found
        found |= new
        todo += new
    return found


@for_any(st.lists(st.sets(st.integers(0, 7)), min_size=8, max_size=8))
def test_whatever_needs_whatever_the_referent_comes_first(drawn):
    """Units are one exactly where each needs the other, be it by way of others."""
    needs = dict(enumerate(drawn))
    facts = [
        row(
            "Logical_Switch",
            str(one),
            f"Node/{one}",
            "r",
            name=str(one),
            load_balancer=[balancer(str(b)).ref for b in bs],
        )
        for one, bs in needs.items()
    ]
    balancers = [row("Load_Balancer", str(one), f"Node/{one}", "r", name=str(one)) for one in needs]
    (chunk,) = planned(delta([], [*facts, *balancers]))
    there = set[int]()
    for unit in chunk:
        made = {int(change.place[1]) for change in unit.changes}
        one = min(made)
        assert made == {one} | {other for other in reachable(needs, one) if one in reachable(needs, other)}
        there |= made
        assert all(needs[other] <= there for other in made)
    assert there == set(needs)


def test_transactions_are_cut_between_owners():
    facts = [fact for number in range(401) for fact in pod(f"web-{number}")]
    sizes = [len(chunk) for chunk in planned(delta([], facts))]
    assert sizes == [200, 200, 1]


def test_an_empty_database_is_filled_in_one_transaction():
    facts = [switch(), *(fact for number in range(5000) for fact in pod(f"web-{number}"))]
    given = changes.units(changes.of_delta(delta([], facts), WIRE).changes)
    assert [len(chunk) for chunk in ordering.chunks(given, math.inf)] == [5001]
    assert [len(chunk) for chunk in ordering.chunks(given, 6001)] == [3001, 2000]


def test_deletes_of_root_rows_come_last_and_referrers_first():
    facts = [balancer(), switch(), group_of_balancers(), *pod()]
    first, last = planned(delta(facts, []))
    assert names(first) == ["Pod/shop/web-0"]
    order = [operation["table"] for operation in changes.operations(last)]
    assert names(last).index("Node/node-1") < names(last).index("cluster")
    assert sorted(order) == ["Load_Balancer", "Load_Balancer_Group", "Logical_Switch"]


def test_one_mutation_a_row_and_deletes_before_inserts():
    came, gone = (Member("Address_Set", "web", "addresses", address) for address in ("10.244.1.3", "10.244.1.4"))
    (chunk,) = planned(Delta(frozenset({came}), frozenset({gone})))
    (operation,) = changes.operations(chunk)
    assert operation["mutations"] == [
        ["addresses", "delete", ["set", ["10.244.1.4"]]],
        ["addresses", "insert", ["set", ["10.244.1.3"]]],
    ]


def test_an_update_that_changes_nothing_is_no_change():
    old, new = port(), port()
    assert changes.of_delta(Delta(frozenset({new}), frozenset({old})), WIRE).changes == []


def test_a_fact_no_database_could_hold_is_told_by_owner_and_the_rest_goes_on():
    bad = switch("node-2", other_config="not a map")
    found = changes.of_delta(delta([], [bad, switch()]), WIRE)
    assert list(found.bad) == ["Node/node-2"]
    assert len(found.changes) == 1


def test_a_large_delta_comes_in_parts_and_nothing_is_lost():
    before = [fact for number in range(500) for fact in pod(f"old-{number}")]
    after = [switch("node-1"), *(fact for number in range(4000) for fact in pod(f"web-{number}"))]
    node = row("Logical_Switch_Port", "node:node-1", "Node/node-1", "nodes.management", name="node:node-1")
    given = delta(before, [*after, node])
    first, *others = changes.parts(given)
    assert set(first.added) >= {switch("node-1"), node}
    assert len(others) > 1
    assert sorted(map(repr, given.added)) == sorted(repr(fact) for part in (first, *others) for fact in part.added)
    assert sorted(map(repr, given.removed)) == sorted(repr(fact) for part in (first, *others) for fact in part.removed)


def test_a_port_and_all_elements_about_it_are_in_one_part():
    pods = [fact for number in range(4000) for fact in pod(f"web-{number}")]
    members = [Member("Port_Group", "web", "ports", port(f"web-{number}").ref) for number in range(4000)]
    of: dict[str, set[int]] = {}
    for number, part in enumerate(changes.parts(delta([], [*pods, *members]))):
        for fact in part.added:
            key = fact.element.key if isinstance(fact, Member) else fact.key
            of.setdefault(key, set()).add(number)
    assert all(len(numbers) == 1 for numbers in of.values())
