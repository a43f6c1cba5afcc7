"""Facts into a real northbound: identity, the fewest writes, what is whose."""

import pytest

from ovnk.errors import CommitError
from ovnk.incremental.desired import Delta
from ovnk.northbound.facts import Member, Ref, row, row_uuid
from tests.northbound.cluster import (
    acl,
    address_set,
    balancer,
    delta,
    expected,
    group_of_balancers,
    plugged,
    pod,
    port,
    port_group,
    switch,
)
from tests.ovsdb import dump

pytestmark = pytest.mark.system

CLUSTER = [
    switch(other_config={"subnet": "10.244.1.0/24"}),
    *pod("web-0", options={"requested-chassis": "node-1"}),
    *pod("web-1", enabled=True),
    port_group(),
    *acl("web/0", "web"),
    *[Member("Port_Group", "web", "ports", port(name).ref) for name in ("web-0", "web-1")],
    address_set(),
    *[Member("Address_Set", "web", "addresses", address) for address in ("10.244.1.3", "10.244.1.4")],
    group_of_balancers(),
    balancer(protocol="tcp"),
    Member("Load_Balancer", "web", "vips", ("10.96.0.10:80", "10.244.1.3:80")),
    Member("Load_Balancer_Group", "all", "load_balancer", Ref("Load_Balancer", "web")),
    Member("Logical_Switch", "node-1", "load_balancer_group", Ref("Load_Balancer_Group", "all")),
]


def test_a_first_start_makes_exactly_what_is_desired(server, northbound):
    commit = northbound.reconcile(CLUSTER)
    assert dump(server) == expected(CLUSTER)
    assert (commit.transactions, commit.quarantined, commit.held_back) == (1, {}, 0)


def test_uuids_are_computed(server, northbound):
    northbound.reconcile(CLUSTER)
    assert ("Logical_Switch_Port", str(row_uuid("Logical_Switch_Port", "shop/web-0"))) in dump(server)


def test_a_lost_database_comes_back_with_the_same_uuids(server, open_writer):
    writer = open_writer(server.remote)
    writer.ready().reconcile(CLUSTER)
    before = dump(server)
    server.kill()
    server.create()
    server.start()
    facts = [*CLUSTER, *(fact for number in range(500) for fact in pod(f"more-{number}"))]
    found = writer.until(lambda northbound: northbound.connected and not northbound.synced)
    # In one transaction: northd must not see half of it.
    assert found.reconcile(facts).transactions == 1
    found.reconcile(CLUSTER)
    assert dump(server) == before


def test_a_start_writes_nothing_where_nothing_differs(server, northbound, open_writer):
    northbound.reconcile(CLUSTER)
    northbound.stop()
    versions, size = server.versions(), server.size()
    commit = open_writer(server.remote, lock="ovnk").ready().reconcile(CLUSTER)
    assert commit.transactions == 0
    assert (server.versions(), server.size()) == (versions, size)


def test_a_start_changes_only_what_differs(server, northbound):
    northbound.reconcile(CLUSTER)
    before = server.versions()
    after = [*CLUSTER[:3], *pod("web-1", enabled=False), *CLUSTER[5:]]
    assert northbound.reconcile(after).rows == 1
    assert dump(server) == expected(after)
    changed = {uuid for uuid, version in server.versions().items() if before.get(uuid) != version}
    assert changed == {str(port("web-1").ref.uuid)}


def test_a_changed_row_is_an_update_of_the_columns_that_differ(server, northbound):
    northbound.reconcile(CLUSTER)
    moved = [*pod("web-0", options={"requested-chassis": "node-2"}, port_security=["a"])]
    after = [*CLUSTER[:1], *moved, *CLUSTER[3:]]
    commit = northbound.apply(delta(CLUSTER, after))
    assert (commit.rows, commit.operations) == (1, 1)
    assert dump(server) == expected(after)


def test_a_column_that_is_no_longer_given_is_reset(server, northbound):
    northbound.reconcile(CLUSTER)
    after = [*CLUSTER[:1], *pod("web-0"), *CLUSTER[3:]]
    northbound.apply(delta(CLUSTER, after))
    assert dump(server) == expected(after)


def test_elements_come_and_go_one_by_one(server, northbound):
    northbound.reconcile(CLUSTER)
    gone = Member("Address_Set", "web", "addresses", "10.244.1.3")
    came = Member("Address_Set", "web", "addresses", "10.244.1.5")
    northbound.apply(Delta(frozenset({came}), frozenset({gone})))
    assert dump(server) == expected([*(fact for fact in CLUSTER if fact != gone), came])


def test_a_map_entry_that_changes_its_value_is_replaced(server, northbound):
    northbound.reconcile(CLUSTER)
    old = Member("Load_Balancer", "web", "vips", ("10.96.0.10:80", "10.244.1.3:80"))
    new = Member("Load_Balancer", "web", "vips", ("10.96.0.10:80", "10.244.1.4:80"))
    northbound.apply(Delta(frozenset({new}), frozenset({old})))
    assert dump(server) == expected([*(fact for fact in CLUSTER if fact != old), new])


def test_everything_goes_when_nothing_is_desired(server, northbound):
    northbound.reconcile(CLUSTER)
    northbound.apply(delta(CLUSTER, []))
    assert dump(server) == {}


def test_a_port_that_moves_to_another_switch_stays_the_same_row(server, northbound):
    one, other, web = switch("node-1"), switch("node-2"), port()
    northbound.reconcile([one, other, web, plugged(web, one)])
    northbound.apply(delta([plugged(web, one)], [plugged(web, other)]))
    assert dump(server) == expected([one, other, web, plugged(web, other)])


def test_a_row_comes_before_what_refers_to_it_however_many_there_are(server, northbound):
    """More owners than one transaction takes, each needing the switch, the group and the balancers' group."""
    pods = [fact for number in range(450) for fact in pod(f"web-{number}")]
    members = [Member("Port_Group", "web", "ports", port(f"web-{number}").ref) for number in range(450)]
    facts = [*CLUSTER[:1], port_group(), group_of_balancers(), *CLUSTER[-1:], *pods, *members]
    northbound.reconcile([])
    commit = northbound.apply(delta([], facts))
    assert commit.transactions == 1 + 3
    assert dump(server) == expected(facts)
    assert northbound.apply(delta(facts, [])).transactions >= 3
    assert dump(server) == {}


def test_owners_that_need_each_other_go_into_one_transaction(server, northbound):
    one = row("Logical_Switch", "a", "Node/a", "r", name="a", load_balancer=[Ref("Load_Balancer", "b")])
    other = row("Load_Balancer", "b", "Service/b", "r", name="b")
    back = [
        row("Logical_Router", "b", "Service/b", "r", name="b", load_balancer_group=[Ref("Load_Balancer_Group", "g")]),
        row("Load_Balancer_Group", "g", "Node/a", "r", name="g"),
    ]
    northbound.reconcile([])
    northbound.apply(delta([], [one, other, *back]))
    assert dump(server) == expected([one, other, *back])


# what is whose


def test_foreign_rows_are_never_touched(server, northbound):
    server.transact(
        {"op": "insert", "table": "Logical_Switch", "row": {"name": "theirs", "ports": ["named-uuid", "p"]}},
        {"op": "insert", "table": "Logical_Switch_Port", "uuid-name": "p", "row": {"name": "their-port"}},
        {"op": "insert", "table": "Load_Balancer_Group", "row": {"name": "their-group"}},
        {"op": "insert", "table": "NB_Global", "row": {"name": "zone"}},
    )
    theirs = dump(server)
    northbound.reconcile(CLUSTER)
    assert dump(server) == {**expected(CLUSTER), **theirs}
    northbound.reconcile([], delete_limit=None)
    assert dump(server) == theirs


def test_a_foreign_port_on_our_switch_stays(server, northbound):
    northbound.reconcile(CLUSTER)
    server.transact(
        {"op": "insert", "table": "Logical_Switch_Port", "uuid-name": "p", "row": {"name": "admin"}},
        {
            "op": "mutate",
            "table": "Logical_Switch",
            "where": [],
            "mutations": [["ports", "insert", ["set", [["named-uuid", "p"]]]]],
        },
    )
    assert northbound.reconcile(CLUSTER).transactions == 0
    assert "admin" in {columns.get("name") for columns in dump(server).values()}


def test_a_column_that_is_not_stated_is_an_operators(server, northbound):
    northbound.reconcile(CLUSTER)
    server.transact(
        {
            "op": "update",
            "table": "Logical_Switch_Port",
            "where": [],
            "row": {"ha_chassis_group": ["set", []], "up": True},
        }
    )
    assert northbound.reconcile(CLUSTER).transactions == 0


def test_rows_of_ours_that_are_no_longer_desired_go_at_a_start(server, northbound, open_writer):
    northbound.reconcile(CLUSTER)
    northbound.stop()
    after = CLUSTER[:3]
    open_writer(server.remote).ready().reconcile(after)
    assert dump(server) == expected(after)


def test_an_entry_in_the_global_row_is_ours_alone(server, northbound):
    server.transact({"op": "insert", "table": "NB_Global", "row": {"options": ["map", [["theirs", "1"]]]}})
    ours = Member("NB_Global", ".", "options", ("mac_prefix", "0a:58:00"))
    northbound.reconcile([ours])
    options = next(columns["options"] for (table, _), columns in dump(server).items() if table == "NB_Global")
    assert options == {"theirs": "1", "mac_prefix": "0a:58:00"}
    assert northbound.reconcile([ours]).transactions == 0
    northbound.apply(delta([ours], []))
    assert next(iter(dump(server).values()))["options"] == {"theirs": "1"}


# held


def test_held_rows_stay_as_they_are_and_so_do_references_to_them(server, northbound):
    northbound.reconcile(CLUSTER)
    before = server.versions()
    membership = Member("Port_Group", "web", "ports", port("web-1").ref)
    rest = [fact for fact in CLUSTER if fact not in (*pod("web-1", enabled=True), membership)]
    held = frozenset({("Pod/shop/web-1", "pods.port")})
    assert northbound.reconcile(rest, held=held).transactions == 0
    assert server.versions() == before


def test_what_a_held_row_lives_in_is_not_deleted(server, northbound):
    facts = [switch(), *pod()]
    northbound.reconcile(facts)
    northbound.reconcile([], held=frozenset({("Pod/shop/web-0", "pods.port")}))
    assert dump(server) == expected(facts)


# the guard


def test_a_comparison_that_would_delete_most_rows_deletes_nothing_and_says_so(server, northbound):
    facts = [switch(), *(fact for number in range(20) for fact in pod(f"web-{number}"))]
    northbound.reconcile(facts)
    new = switch("node-2")
    commit = northbound.reconcile([switch(), new], delete_limit=0.5)
    assert commit.held_back == 20
    assert dump(server) == expected([*facts, new])
    assert northbound.reconcile([switch(), new], delete_limit=None).held_back == 0
    assert dump(server) == expected([switch(), new])


def test_a_few_deletes_are_never_held_back(server, northbound):
    northbound.reconcile([switch(), *pod()])
    assert northbound.reconcile([], delete_limit=0.0).held_back == 0
    assert dump(server) == {}


# order of calls


def test_nothing_is_applied_before_a_comparison(northbound):
    with pytest.raises(CommitError, match="reconcile"):
        northbound.apply(delta([], CLUSTER))


def test_nothing_is_sent_for_an_empty_delta(server, northbound):
    northbound.reconcile(CLUSTER)
    size = server.size()
    assert northbound.apply(Delta()).transactions == 0
    assert server.size() == size


def test_who_does_not_want_the_lock_leaves_it_to_others(server, open_writer):
    standby = open_writer(server.remote, lock="ovnk")
    standby.ready()
    standby.northbound.want_lock(False)
    leader = open_writer(server.remote, lock="ovnk").ready()

    assert not standby.northbound.has_lock
    leader.stop()
    standby.northbound.want_lock(True)
    assert standby.ready().has_lock
