"""Custom resources against their schemas: pruning, defaults, and every rule with its message."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovnk.lab.apiserver import schemas, structural


def causes(source: dict[str, Any], value: Any) -> list[str]:
    schema = schemas.compile_schema({"type": "object", "properties": {"spec": source}})
    return [f"{cause.field}: {cause.message}" for cause in structural.validate(schema, {"spec": value})]


@pytest.mark.parametrize(
    ("source", "good", "bad", "message"),
    [
        ({"type": "string"}, "a", 1, 'Invalid value: "integer": spec in body must be of type string: "integer"'),
        ({"type": "integer"}, 1, 1.5, 'Invalid value: "number": spec in body must be of type integer: "number"'),
        ({"type": "integer"}, 1, True, 'Invalid value: "boolean": spec in body must be of type integer: "boolean"'),
        ({"type": "number"}, 1.5, "1", 'Invalid value: "string": spec in body must be of type number: "string"'),
        ({"type": "string", "nullable": True}, None, 1, 'Invalid value: "integer"'),
        ({"type": "string", "enum": ["a", "b"]}, "a", "c", 'Unsupported value: "c": supported values: "a", "b"'),
        (
            {"type": "integer", "minimum": 2},
            2,
            1,
            "Invalid value: 1: spec in body should be greater than or equal to 2",
        ),
        ({"type": "integer", "maximum": 2}, 2, 3, "Invalid value: 3: spec in body should be less than or equal to 2"),
        ({"type": "integer", "maximum": 2, "exclusiveMaximum": True}, 1, 2, "should be less than 2"),
        ({"type": "integer", "multipleOf": 3}, 6, 7, "should be a multiple of 3"),
        ({"type": "integer", "format": "int32"}, 1, 2**31, "must be of type int32"),
        ({"type": "string", "minLength": 2}, "ab", "a", "should be at least 2 chars long"),
        ({"type": "string", "maxLength": 1}, "a", "ab", "Too long: may not be more than 1 bytes"),
        ({"type": "string", "pattern": "^a+$"}, "aa", "b", "spec in body should match '^a+$'"),
        ({"type": "string", "format": "ipv4"}, "10.0.0.1", "x", 'must be of type ipv4: "x"'),
        ({"type": "array", "minItems": 1}, [1], [], "should have at least 1 items"),
        ({"type": "array", "maxItems": 1}, [1], [1, 2], "Too many: 2: must have at most 1 items"),
        ({"type": "array", "items": {"type": "string"}}, ["a"], [1], "spec[0] in body must be of type string"),
        ({"type": "array", "x-kubernetes-list-type": "set"}, [1, 2], [1, 1], "spec[1]: Duplicate value: 1"),
        (
            {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
            [{"name": "a"}],
            [{"name": "a"}, {"name": "a"}],
            'spec[1]: Duplicate value: {"name":"a"}',
        ),
        ({"type": "object", "required": ["a"]}, {"a": 1}, {}, "spec.a: Required value"),
        (
            {"type": "object", "additionalProperties": {"type": "string"}},
            {"x": "y"},
            {"x": 1},
            "spec.x in body must be",
        ),
        ({"type": "object", "maxProperties": 1}, {"a": 1}, {"a": 1, "b": 2}, "must have at most 1 properties"),
        ({"x-kubernetes-int-or-string": True}, "a", 1.5, "must be of type integer,string"),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, 1, [], "must validate at least one schema (anyOf)"),
        ({"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"a": 1}, {"a": 1, "b": 1}, "one and only one schema"),
        ({"not": {"required": ["a"]}}, {}, {"a": 1}, "must not validate the schema (not)"),
        ({"allOf": [{"minimum": 1}, {"maximum": 2}]}, 1, 3, "should be less than or equal to 2"),
    ],
)
def test_a_rule_lets_good_values_through_and_names_what_is_wrong_with_bad_ones(
    source: dict[str, Any], good: Any, bad: Any, message: str
) -> None:
    assert causes(source, good) == []
    assert any(message in cause for cause in causes(source, bad)), causes(source, bad)


NESTED = schemas.compile_schema(
    {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {
                    "size": {"type": "integer", "default": 1},
                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                    "items": {
                        "type": "array",
                        "items": {"type": "object", "properties": {"a": {"type": "string", "default": "x"}}},
                    },
                    "gone": {"type": "string"},
                },
            }
        },
    }
)


def test_unknown_fields_are_dropped_and_listed_but_where_they_are_preserved() -> None:
    value = {
        "apiVersion": "v1",
        "kind": "K",
        "metadata": {"x": 1},
        "spec": {"b": 1, "free": {"any": 1}, "items": [{"c": 1}]},
        "top": 1,
    }
    unknown: list[str] = []
    structural.prune(NESTED, value, unknown)
    assert value == {"apiVersion": "v1", "kind": "K", "metadata": {"x": 1}, "spec": {"free": {"any": 1}, "items": [{}]}}
    assert unknown == ["spec.b", "spec.items[0].c", "top"]


def test_defaults_fill_what_is_absent_or_null_everywhere_below_what_is_there() -> None:
    value = {"spec": {"size": None, "gone": None, "items": [{}, {"a": "y"}]}}
    structural.default(NESTED, value)
    assert value == {"spec": {"size": 1, "items": [{"a": "x"}, {"a": "y"}]}}
    empty: dict[str, Any] = {}
    structural.default(NESTED, empty)
    assert empty == {}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["spec", "size", "items", "a", "free"]), inner, max_size=3)
    ),
)


@given(st.dictionaries(st.sampled_from(["spec", "status"]), JSON))
def test_any_json_is_valid_or_refused_and_pruning_and_defaults_are_done_once(value: dict[str, Any]) -> None:
    structural.prune(NESTED, value, [])
    structural.default(NESTED, value)
    again: list[str] = []
    structural.prune(NESTED, value, again)
    assert again == []
    structural.validate(NESTED, value)
