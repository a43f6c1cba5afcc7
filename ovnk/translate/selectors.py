"""Label selectors: whether one matches, and its canonical text. Kubernetes API, LabelSelector."""

from collections.abc import Mapping

from ovnk.kube.objects import Labels
from ovnk.kube.policy_objects import Requirement, Selector

# A label (key, value) that is required; ANY where none is.
Foothold = tuple[str, str]
ANY: Foothold = ("", "")


def matches(selector: Selector, labels: Mapping[str, str]) -> bool:
    """Whether all requirements hold for these labels; the empty selector matches everything."""
    return all(_holds(requirement, labels) for requirement in selector)


def footholds(selector: Selector) -> list[Foothold]:
    """Whatever the selector matches has one of these labels: those of its requirement of fewest values, or ANY.

    An index of labels by `labelled` leads from here to all that may match, and little else.
    """
    required = [requirement for requirement in selector if requirement.operator == "In"]
    if not required:
        return [ANY]
    best = min(required, key=lambda requirement: len(requirement.values))
    return [(best.key, value) for value in best.values]


def labelled(labels: Labels) -> tuple[Foothold, ...]:
    """Every foothold by which a selector may reach what has these labels."""
    return (ANY, *labels)


def text(selector: Selector) -> str:
    """As kubectl's -l writes it: "app=web,tier in (a,b),!legacy"; "*" for the empty selector.

    Equal selectors have equal texts and different ones different texts: keys and values have no ',' ' ' or '('.
    """
    return ",".join(_text(requirement) for requirement in selector) or "*"


def _holds(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value in requirement.values
        case "NotIn":
            # Also what lacks the key (LabelSelectorRequirement).
            return value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case other:
            raise ValueError(f'operator "{other}"; the decoder lets none but the four through')


def _text(requirement: Requirement) -> str:
    values = ",".join(requirement.values)
    match requirement.operator:
        case "In" if len(requirement.values) == 1:
            return f"{requirement.key}={values}"
        case "In":
            return f"{requirement.key} in ({values})"
        case "NotIn":
            return f"{requirement.key} notin ({values})"
        case "Exists":
            return requirement.key
        case _:
            return f"!{requirement.key}"
