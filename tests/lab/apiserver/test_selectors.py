"""Label and field selectors: Kubernetes' grammar, and its words when a selector is wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovnk.lab.apiserver import kinds, selectors
from ovnk.lab.apiserver.stored import Stored

PODS = kinds.built_in("pods")
CONFIG_MAPS = kinds.built_in("configmaps")


def selects(text: str, **labels: str) -> bool:
    selector = selectors.Selector(selectors.parse_labels(text))
    return selector.matches(Stored({"metadata": {"name": "a", "labels": labels}}, 1))


@pytest.mark.parametrize(
    ("text", "labels", "selected"),
    [
        ("", {}, True),
        ("app=web", {"app": "web"}, True),
        ("app==web", {"app": "db"}, False),
        ("app!=web", {}, True),
        ("app!=web", {"app": "web"}, False),
        ("app in (web, db)", {"app": "db"}, True),
        ("app in (web,db)", {}, False),
        ("app notin (web)", {}, True),
        ("app notin (web)", {"app": "web"}, False),
        ("app", {"app": ""}, True),
        ("!app", {"app": ""}, False),
        ("!app", {}, True),
        ("app=", {"app": ""}, True),
        ("app=,tier", {"app": "", "tier": "x"}, True),
        ("size>2", {"size": "3"}, True),
        ("size<2", {"size": "3"}, False),
        ("size>2", {"size": "big"}, False),
        ("example.com/a=b , c in (d),!e", {"example.com/a": "b", "c": "d"}, True),
        ("app in ()", {"app": ""}, True),
    ],
)
def test_labels_are_selected_as_kubernetes_does(text: str, labels: dict[str, str], selected: bool) -> None:
    assert selects(text, **labels) is selected


@pytest.mark.parametrize(
    "text", ["=", "a=b,", "a in b", "a in (b", "a b", "(", "a=b c", "-a=b", "a=b!", "a>b", "a ~ b"]
)
def test_a_selector_that_cannot_be_read_is_refused_and_said(text: str) -> None:
    with pytest.raises(ValueError, match="unable to parse requirement"):
        selectors.parse_labels(text)


LABEL_KEYS = st.sampled_from(["app", "tier", "x/y", "a.b/c-d_e"])
LABEL_VALUES = st.sampled_from(["", "web", "db", "1", "2"])
REQUIREMENTS = st.one_of(
    st.builds(lambda k, v: selectors.Requirement(k, "in", frozenset(v)), LABEL_KEYS, st.sets(LABEL_VALUES, min_size=1)),
    st.builds(
        lambda k, v: selectors.Requirement(k, "notin", frozenset(v)), LABEL_KEYS, st.sets(LABEL_VALUES, min_size=1)
    ),
    st.builds(lambda k: selectors.Requirement(k, "exists"), LABEL_KEYS),
    st.builds(lambda k: selectors.Requirement(k, "!"), LABEL_KEYS),
)


def written(requirement: selectors.Requirement) -> str:
    if requirement.operator in ("in", "notin"):
        return f"{requirement.key} {requirement.operator} ({','.join(sorted(requirement.values))})"
    return ("!" if requirement.operator == "!" else "") + requirement.key


@given(st.lists(REQUIREMENTS, max_size=4), st.dictionaries(LABEL_KEYS, LABEL_VALUES))
def test_what_is_written_is_read_back_and_all_of_it_must_hold(
    requirements: list[selectors.Requirement], labels: dict[str, str]
) -> None:
    text = ",".join(written(one) for one in requirements)
    assert selectors.parse_labels(text) == tuple(requirements)
    assert selects(text, **labels) == all(selects(written(one), **labels) for one in requirements)


@given(st.text(max_size=30))
def test_any_text_is_a_selector_or_a_value_error(text: str) -> None:
    try:
        selectors.parse(PODS, text, "")
        selectors.parse(PODS, "", text)
    except ValueError:
        pass


def field_selects(text: str, value: dict[str, object]) -> bool:
    return selectors.parse(PODS, "", text).matches(Stored({"metadata": {"name": "a", "namespace": "b"}, **value}, 1))


def test_fields_of_a_pod_are_selected_and_absent_ones_are_empty() -> None:
    on_node = {"spec": {"nodeName": "n1"}, "status": {"phase": "Running"}}
    assert field_selects("spec.nodeName=n1,status.phase!=Failed", on_node)
    assert not field_selects("spec.nodeName=", on_node)
    assert field_selects("spec.nodeName=", {})
    assert field_selects("metadata.name=a,metadata.namespace==b", {})
    assert field_selects("spec.hostNetwork=false", {"spec": {}})


def test_a_field_the_kind_is_not_selected_by_is_refused() -> None:
    with pytest.raises(ValueError, match=r"field label not supported: spec\.nodeName"):
        selectors.parse(CONFIG_MAPS, "", "spec.nodeName=a")
    with pytest.raises(ValueError, match="can't understand 'a'"):
        selectors.parse(PODS, "", "a")


def test_a_label_selector_object_means_the_same() -> None:
    written_as_object = {
        "matchLabels": {"app": "web"},
        "matchExpressions": [
            {"key": "tier", "operator": "NotIn", "values": ["db"]},
            {"key": "x", "operator": "Exists"},
        ],
    }
    assert set(selectors.from_object(written_as_object)) == set(selectors.parse_labels("app=web,tier notin (db),x"))
