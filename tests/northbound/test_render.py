"""The facts' text."""

from hypothesis import given
from hypothesis import strategies as st

from ovnk.northbound.facts import Member, Ref, row
from ovnk.northbound.render import render

SWITCH = row("Logical_Switch", "node-1", "Node/node-1", "nodes.switch", name="node-1", other_config={"subnet": "10/24"})
WEB = row(
    "Logical_Switch_Port",
    "shop/web-0",
    "Pod/shop/web-0",
    "pods.port",
    name="shop/web-0",
    addresses=["0a:58:0a:f4:01:03 10.244.1.3"],
    enabled=True,
)
FACTS = [
    SWITCH,
    WEB,
    Member("Logical_Switch", "node-1", "ports", WEB.ref),
    Member("Logical_Switch", "node-1", "ports", Ref("Logical_Switch_Port", "node:node-1")),
    Member("Load_Balancer", "web", "vips", ("10.96.0.10:80", "10.244.1.3:8080")),
]


def test_a_row_is_a_block_with_its_members_folded_in():
    assert (
        render(FACTS)
        == """\
Logical_Switch "node-1"  ← Node/node-1 (nodes.switch)
    name = "node-1"
    other_config
        subnet = "10/24"
    ports
        → Logical_Switch_Port "node:node-1"
        → Logical_Switch_Port "shop/web-0"

Logical_Switch_Port "shop/web-0"  ← Pod/shop/web-0 (pods.port)
    addresses = "0a:58:0a:f4:01:03 10.244.1.3"
    enabled = true
    name = "shop/web-0"

Load_Balancer "web"
    vips
        10.96.0.10:80 = "10.244.1.3:8080"
"""
    )


def test_no_facts_are_no_text():
    assert render([]) == ""


@given(st.permutations(FACTS))
def test_the_order_of_facts_does_not_matter(facts):
    assert render(facts) == render(FACTS)


@given(st.text())
def test_any_text_stays_on_one_line(text):
    assert render([row("Logical_Switch", text, "Node/n1", "r", name=text)]).count("\n") == 2
