"""One bad row does not block the rest: its owner stands aside until it changes."""

import pytest

from ovnk.northbound.facts import Member
from tests.northbound.cluster import delta, expected, pod, port, port_group, switch
from tests.ovsdb import OvsdbServer, dump

pytestmark = pytest.mark.system


def take_name(server: OvsdbServer, table: str, name: str) -> None:
    """A stranger has the name that our row is to have; names are unique in the table."""
    parent = {"op": "insert", "table": "Logical_Switch", "row": {"name": "theirs", "ports": ["named-uuid", "p"]}}
    taken = {"op": "insert", "table": table, "uuid-name": "p", "row": {"name": name}}
    server.transact(*([parent, taken] if table == "Logical_Switch_Port" else [taken]))


def give_back(server: OvsdbServer, table: str, name: str) -> None:
    gone = {"op": "delete", "table": table, "where": [["name", "==", name]]}
    parent = {"op": "delete", "table": "Logical_Switch", "where": [["name", "==", "theirs"]]}
    server.transact(parent if table == "Logical_Switch_Port" else gone)


def settled(northbound, facts) -> None:
    while drift := northbound.drift():
        northbound.repair(drift, [fact for fact in facts if (fact.table, fact.key) in drift.rows])


def ours(server: OvsdbServer):
    return {
        place: columns for place, columns in dump(server).items() if "ovnk-owner" in columns.get("external_ids", {})
    }


def test_the_good_part_of_a_batch_is_committed_and_the_culprits_are_named(server, northbound):
    northbound.reconcile([switch()])
    for name in ("shop/web-13", "shop/web-250"):
        take_name(server, "Logical_Switch_Port", name)
    facts = [switch(), *(fact for number in range(300) for fact in pod(f"web-{number}"))]
    commit = northbound.apply(delta([switch()], facts))
    assert set(commit.quarantined) == {"Pod/shop/web-13", "Pod/shop/web-250"}
    assert 'identical values ("shop/web-13") for index' in commit.quarantined["Pod/shop/web-13"]
    bad = {*pod("web-13"), *pod("web-250")}
    assert ours(server) == expected(fact for fact in facts if fact not in bad)


def test_an_owner_in_quarantine_is_tried_again_when_it_changes(server, northbound):
    take_name(server, "Logical_Switch_Port", "shop/web-0")
    before = [switch(), *pod()]
    assert set(northbound.reconcile(before).quarantined) == {"Pod/shop/web-0"}
    give_back(server, "Logical_Switch_Port", "shop/web-0")
    after = [switch(), *pod(enabled=True)]
    northbound.apply(delta(before, after))
    settled(northbound, after)
    assert northbound.quarantined == {}
    assert ours(server) == expected(after)


def test_an_owner_in_quarantine_that_goes_leaves_nothing(server, northbound):
    take_name(server, "Logical_Switch_Port", "shop/web-0")
    northbound.reconcile([switch(), *pod()])
    northbound.apply(delta(pod(), []))
    settled(northbound, [switch()])
    assert northbound.quarantined == {}
    assert ours(server) == expected([switch()])


def test_it_is_tried_again_at_a_comparison(server, northbound):
    take_name(server, "Logical_Switch_Port", "shop/web-0")
    facts = [switch(), *pod()]
    northbound.reconcile(facts)
    give_back(server, "Logical_Switch_Port", "shop/web-0")
    assert northbound.reconcile(facts).quarantined == {}
    assert ours(server) == expected(facts)


def test_who_needs_a_row_in_quarantine_waits_for_it_and_comes_with_it(server, northbound):
    take_name(server, "Port_Group", "web")
    northbound.reconcile([switch()])
    member = Member("Port_Group", "web", "ports", port().ref)
    before = [switch(), *pod(), port_group(), member]
    quarantined = northbound.apply(delta([switch()], before)).quarantined
    assert set(quarantined) == {"NetworkPolicy/shop/web", "Pod/shop/web-0"}
    assert quarantined["Pod/shop/web-0"] == 'waits for the rows of "NetworkPolicy/shop/web"'
    give_back(server, "Port_Group", "web")
    after = [switch(), *pod(), port_group(external_ids={"try": "again"}), member]
    northbound.apply(delta(before, after))
    settled(northbound, after)
    assert northbound.quarantined == {}
    assert ours(server) == expected(after)


def test_a_row_that_is_there_already_against_all_belief_is_compared(server, northbound):
    northbound.reconcile([switch()])
    server.transact({"op": "insert", "table": "Port_Group", "uuid": str(port_group().ref.uuid), "row": {"name": "web"}})
    commit = northbound.apply(delta([], [port_group()]))
    settled(northbound, [switch(), port_group()])
    assert commit.quarantined == {}
    assert ours(server) == expected([switch(), port_group()])


def test_a_fact_no_database_could_hold_is_told_and_the_rest_goes_on(server, northbound):
    bad = switch("node-2", other_config="not a map")
    commit = northbound.reconcile([switch(), bad])
    assert list(commit.quarantined) == ["Node/node-2"]
    assert ours(server) == expected([switch()])


def test_culprits_in_a_delta_of_several_parts(server, northbound):
    northbound.reconcile([])
    for name in ("shop/web-7", "shop/web-3900"):
        take_name(server, "Logical_Switch_Port", name)
    facts = [switch(), *(fact for number in range(4000) for fact in pod(f"web-{number}"))]
    assert set(northbound.apply(delta([], facts)).quarantined) == {"Pod/shop/web-7", "Pod/shop/web-3900"}
    bad = {*pod("web-7"), *pod("web-3900")}
    good = [fact for fact in facts if fact not in bad]
    assert ours(server) == expected(good)
    northbound.apply(delta(facts, []))
    settled(northbound, [])
    assert ours(server) == {}
    assert northbound.quarantined == {}
