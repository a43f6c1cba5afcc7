"""What others change is noticed, whatever column it is in, and repaired; what we change is not."""

import pytest

from ovnk.northbound.facts import Member, Ref
from ovnk.northbound.writer import Commit, Drift, Northbound
from tests.northbound.cluster import delta, expected, plugged, pod, port, port_group, switch
from tests.ovsdb import OvsdbServer, dump

pytestmark = pytest.mark.system

FACTS = [
    switch(other_config={"subnet": "10.244.1.0/24"}),
    *pod("web-0"),
    *pod("web-1"),
    port_group(),
    *(Member("Port_Group", "web", "ports", port(name).ref) for name in ("web-0", "web-1")),
]


@pytest.fixture
def writer(server, open_writer):
    opened = open_writer(server.remote, lock="ovnk")
    opened.ready().reconcile(FACTS)
    return opened


def repaired(writer) -> tuple[Drift, Commit]:
    northbound = writer.until(lambda northbound: northbound.drifted)
    drift = northbound.drift()
    return drift, northbound.repair(drift, [fact for fact in FACTS if (fact.table, fact.key) in drift.rows])


def change(server: OvsdbServer, table: str, name: str, /, **columns: object) -> None:
    server.transact({"op": "update", "table": table, "where": [["name", "==", name]], "row": columns})


def foreign(server: OvsdbServer, name: str) -> None:
    """A stranger's row: what comes after it on the wire is after everything before."""
    server.transact({"op": "insert", "table": "Address_Set", "row": {"name": name}})


def test_a_changed_column_is_repaired(server, writer):
    change(server, "Logical_Switch_Port", "shop/web-0", addresses="evil")
    drift, commit = repaired(writer)
    assert drift.rows == {("Logical_Switch_Port", "shop/web-0")}
    assert (commit.rows, dump(server)) == (1, expected(FACTS))


def test_an_element_taken_out_of_a_set_is_put_back(server, writer):
    change(server, "Port_Group", "web", ports=["uuid", str(port("web-0").ref.uuid)])
    drift, _ = repaired(writer)
    assert drift.rows == {("Port_Group", "web")}
    assert dump(server) == expected(FACTS)


def test_a_row_taken_away_comes_back_with_all_references_to_it(server, writer):
    change(server, "Logical_Switch", "node-1", ports=["uuid", str(port("web-1").ref.uuid)])
    drift, _ = repaired(writer)
    assert drift.rows == {("Logical_Switch", "node-1"), ("Logical_Switch_Port", "shop/web-0"), ("Port_Group", "web")}
    assert dump(server) == expected(FACTS)


def test_a_whole_switch_taken_away_comes_back(server, writer):
    server.transact({"op": "delete", "table": "Logical_Switch", "where": []})
    repaired(writer)
    assert dump(server) == expected(FACTS)


def test_a_strangers_row_that_bears_our_mark_goes(server, writer):
    marked = {"name": "left-over", "external_ids": ["map", [["ovnk-owner", "Node/x"], ["ovnk-rule", "nodes.switch"]]]}
    server.transact({"op": "insert", "table": "Logical_Switch", "row": marked})
    drift, _ = repaired(writer)
    assert len(drift.strangers) == 1
    assert dump(server) == expected(FACTS)


def test_a_strangers_row_of_his_own_is_looked_at_once_and_left(server, writer):
    foreign(server, "theirs")
    _, commit = repaired(writer)
    assert commit.transactions == 0
    change(server, "Address_Set", "theirs", addresses="10.0.0.1")
    change(server, "Logical_Switch", "node-1", other_config=["map", []])
    drift, _ = repaired(writer)
    assert drift == Drift(frozenset({("Logical_Switch", "node-1")}))


def test_what_northd_writes_is_no_drift(server, writer):
    for name in ("web-0", "web-1"):
        change(server, "Logical_Switch_Port", f"shop/{name}", up=True)
    foreign(server, "later")
    drift, _ = repaired(writer)
    assert drift.rows == frozenset()


def test_our_own_commits_are_no_drift(server, writer):
    northbound: Northbound = writer.northbound
    more = [fact for number in range(2, 700) for fact in pod(f"web-{number}")]
    members = [Member("Port_Group", "web", "ports", Ref("Logical_Switch_Port", f"shop/web-{n}")) for n in range(2, 700)]
    northbound.apply(delta([], [*more, *members]))
    northbound.apply(delta([*more, *members], []))
    foreign(server, "later")
    drift, _ = repaired(writer)
    assert drift.rows == frozenset()
    assert len(drift.strangers) == 1


def test_a_change_by_others_to_a_row_we_are_changing_too_is_noticed(server, writer):
    change(server, "Logical_Switch", "node-1", name="evil")
    northbound: Northbound = writer.northbound
    northbound.apply(delta([], pod("web-2")))
    drift = writer.until(lambda northbound: northbound.drifted).drift()
    assert drift.rows == {("Logical_Switch", "node-1")}
    facts = [*FACTS, *pod("web-2")]
    northbound.repair(drift, [fact for fact in facts if (fact.table, fact.key) in drift.rows])
    assert dump(server) == expected(facts)


def test_an_entry_of_ours_in_the_global_row_is_put_back(server, writer):
    server.transact({"op": "insert", "table": "NB_Global", "row": {}})
    ours = Member("NB_Global", ".", "options", ("mac_prefix", "0a:58:00"))
    writer.northbound.reconcile([*FACTS, ours])
    server.transact({"op": "update", "table": "NB_Global", "where": [], "row": {"options": ["map", []], "nb_cfg": 1}})
    drift = writer.until(lambda northbound: northbound.drifted).drift()
    assert drift.rows == {("NB_Global", ".")}
    writer.northbound.repair(drift, [ours])
    assert {"options": {"mac_prefix": "0a:58:00"}, "nb_cfg": 1} in dump(server).values()


def test_python_ovs_still_hands_updates_to_the_hook(server, writer):
    """Were the private hook gone, the Idl would store rows, and no drift would ever be noticed."""
    link = writer.northbound._session.link
    assert all(not table.rows for table in link.idl.tables.values())
    change(server, "Logical_Switch", "node-1", name="evil")
    assert writer.until(lambda northbound: northbound.drifted)


def test_a_port_that_went_with_its_last_switch_comes_back_into_its_groups(server, northbound):
    """The other switch that holds it comes in the same delta, but its element was waiting, so it is put in later."""
    one, other, group, web = switch("node-1"), switch("node-2"), port_group(), port()
    held = Member("Port_Group", "web", "ports", web.ref)
    before = [one, group, web, plugged(web, one), plugged(web, other)]
    after = [other, group, web, plugged(web, other), held]
    northbound.reconcile([])
    northbound.apply(delta([], before))
    northbound.apply(delta(before, after))
    while drift := northbound.drift():
        northbound.repair(drift, [fact for fact in after if (fact.table, fact.key) in drift.rows])
    assert dump(server) == expected(after)
