"""CustomResourceDefinitions: a kind is served with its definition, and goes with it."""

from typing import Any

import pytest

from tests.lab.apiserver.cluster import DEFINITIONS, Cluster, definition


def test_a_custom_kind_is_served_with_its_definition_and_gone_with_it(cluster: Cluster) -> None:
    made = cluster.create(DEFINITIONS, definition())
    assert {one["type"]: one["status"] for one in made["status"]["conditions"]} == {
        "NamesAccepted": "True",
        "Established": "True",
    }
    kind = cluster.registry.find("example.com", "v1", "widgets")
    assert kind is not None
    assert cluster.registry.groups()["example.com"] == ["v1", "v2beta1"]
    cluster.create(kind, {"metadata": {"name": "w"}, "spec": {"size": 1, "colour": "red"}})
    assert (cluster.get(kind, "w") or {})["spec"] == {"size": 1}
    assert cluster.refusal(cluster.create, kind, {"metadata": {"name": "x"}, "spec": {"size": "1"}}).code == 422
    cluster.delete(DEFINITIONS, "widgets.example.com")
    cluster.collector.run()
    assert cluster.get(DEFINITIONS, "widgets.example.com") is None
    assert cluster.registry.find("example.com", "v1", "widgets") is None
    assert cluster.store.select(kind.storage) == []


def test_two_definitions_of_one_kind_are_not_both_served(cluster: Cluster) -> None:
    cluster.create(DEFINITIONS, definition())
    other = definition(plural="gadgets")
    other["metadata"]["name"] = "gadgets.example.com"
    conditions = cluster.create(DEFINITIONS, other)["status"]["conditions"]
    assert [one["status"] for one in conditions] == ["False", "False"]
    assert cluster.registry.find("example.com", "v1", "gadgets") is None


@pytest.mark.parametrize(
    "change",
    [
        {"group": "other.com"},
        {"scope": "Galaxy"},
        {"versions": []},
        {"versions": [{"name": "v1"}]},
        {"versions": [{"name": "v1", "served": True, "storage": True}]},
        {
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "array"}}}
            ]
        },
        {
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": []}},
                }
            ]
        },
        {
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {"a": {"type": "what"}}}},
                }
            ]
        },
        {"names": {"plural": "Widgets", "kind": "Widget"}},
    ],
)
def test_a_definition_that_cannot_be_served_is_refused(cluster: Cluster, change: dict[str, Any]) -> None:
    body = definition()
    body["spec"].update(change)
    assert cluster.refusal(cluster.create, DEFINITIONS, body).code == 422
