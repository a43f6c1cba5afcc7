"""Facts on the wire, and the check of a server's schema."""

import copy
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovnk.northbound import schema
from ovnk.northbound.facts import Member, Ref, row
from ovsdb_schemas import check, columns, northbound, open_vswitch

PORT = row("Logical_Switch_Port", "shop/web-0", "Pod/shop/web-0", "pods.port", name="shop/web-0", addresses=["b", "a"])
SCHEMA_FOLDERS = (Path("/usr/share/ovn"), Path("/usr/share/openvswitch"))


def test_a_row_carries_its_owner_and_rule():
    wire = schema.Wire().columns(PORT)
    assert wire["external_ids"] == ["map", [["ovnk-owner", "Pod/shop/web-0"], ["ovnk-rule", "pods.port"]]]


def test_sets_are_sorted_and_a_set_of_one_is_its_element():
    wire = schema.Wire()
    assert wire.columns(PORT)["addresses"] == ["set", ["a", "b"]]
    one = row("Address_Set", "web", "Namespace/shop", "x", name="web", addresses=["10.0.0.1"])
    assert wire.columns(one)["addresses"] == "10.0.0.1"


def test_references_are_computed_uuids():
    member = Member("Logical_Switch", "n1", "ports", PORT.ref)
    assert schema.Wire().element(member) == ["uuid", str(PORT.ref.uuid)]


@pytest.mark.parametrize(
    "fact",
    [
        row("Logical_Swich", "n1", "Node/n1", "r"),
        row("Logical_Switch", "n1", "Node/n1", "r", prots=[]),
        row("Logical_Switch", "n1", "Node/n1", "r", name=7),
        row("Logical_Switch", "n1", "Node/n1", "r", other_config=["a"]),
        row("Logical_Switch", "n1", "Node/n1", "r", ports=[Ref("ACL", "a")]),
        row("Logical_Router_Policy", "p", "Node/n1", "r", priority=True),
        row("Logical_Switch_Port", "p", "Pod/a/b", "r", enabled=[True, False]),
        row("Load_Balancer_Group", "all", "cluster", "r", name="some"),
        Member("Logical_Switch", "n1", "ports", "shop/web-0"),
        Member("Logical_Switch", "n1", "name", "n1"),
        Member("Load_Balancer", "lb", "vips", "10.0.0.1:80"),
        Member("Address_Set", "web", "addresses", ("a", "b")),
    ],
)
def test_a_fact_no_northbound_could_hold_is_refused(fact):
    with pytest.raises(schema.BadFact, match=fact.table):
        schema.check([fact])


def test_a_column_the_server_lacks_is_left_out():
    present = check.check(_without(("ACL", "options")), northbound.DATABASE, northbound.TABLES)
    acl = row("ACL", "a", "NetworkPolicy/a/b", "r", priority=1, options={"log-related": "true"})
    assert "options" not in schema.Wire(present).columns(acl)
    assert "options" in schema.Wire().columns(acl)


def test_the_check_says_what_is_done_without_an_optional_column():
    present = check.check(_without(("ACL", "options")), northbound.DATABASE, northbound.TABLES)
    assert any(line.startswith('column "ACL.options" is missing (came with OVN 22.03): ') for line in present.absent)


def test_an_older_schema_is_refused_in_plain_words():
    old = _without(("Logical_Router_Static_Route", "route_table"), ("Load_Balancer_Group",))
    with pytest.raises(check.SchemaError) as refusal:
        check.check(old, northbound.DATABASE, northbound.TABLES)
    message = str(refusal.value)
    assert 'column "Logical_Router_Static_Route.route_table" is missing (came with OVN 21.12)' in message
    assert 'table "Load_Balancer_Group" is missing' in message
    assert "upgrade its server to OVN 21.12 or newer" in message


def test_a_column_of_another_type_is_refused():
    other = _schema("ovn-nb.ovsschema")
    other["tables"]["Port_Group"]["columns"]["ports"]["type"]["key"]["refType"] = "strong"
    other["tables"]["ACL"]["columns"]["log"]["type"] = "string"
    with pytest.raises(check.SchemaError) as refusal:
        check.check(other, northbound.DATABASE, northbound.TABLES)
    assert 'column "Port_Group.ports" has reference "strong" instead of "weak"' in str(refusal.value)
    assert 'column "ACL.log" has type "string" instead of "boolean"' in str(refusal.value)


@pytest.mark.system
def test_debians_open_vswitch_has_all_that_is_stated():
    assert check.check(_schema("vswitch.ovsschema"), open_vswitch.DATABASE, open_vswitch.TABLES).absent == ()


def _schema(name: str):
    """The installed schema; where the packages are absent, one made from what is stated, with the same shape."""
    for folder in SCHEMA_FOLDERS:
        if (folder / name).exists():
            return json.loads((folder / name).read_text())
    return {"version": "1.0.0", "tables": {name: _made(table) for name, table in northbound.TABLES.items()}}


def _made(table: columns.Table):
    def base(atomic_type: str, column: columns.Column):
        if not column.references or atomic_type != "uuid":
            return atomic_type
        return {"type": "uuid", "refTable": column.references, "refType": "strong" if column.strong else "weak"}

    made = {}
    for name, column in table.columns.items():
        definition: object = base(column.type, column)
        if column.kind != "atom":
            definition = {"key": definition, "min": 0, "max": 1 if column.one_at_most else "unlimited"}
            if column.kind == "map":
                definition["value"] = column.value
        made[name] = {"type": definition}
    return {"columns": made, "isRoot": table.root}


def _without(*lacking: tuple[str, ...]):
    schema_json = copy.deepcopy(_schema("ovn-nb.ovsschema"))
    for table, *column in lacking:
        if column:
            del schema_json["tables"][table]["columns"][column[0]]
        else:
            del schema_json["tables"][table]
    return schema_json


@given(st.sampled_from(sorted(northbound.TABLES)), st.text())
def test_the_fast_uuid_is_the_uuid(table, key):
    assert schema.uuid_text(table, key) == str(Ref(table, key).uuid)
