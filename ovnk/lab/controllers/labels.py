"""Label selectors over plain label maps, as the API's LabelSelector and NodeSelectorTerm define them.

Pure. Both kinds of requirement share their operators; Gt and Lt are of node selectors alone. An empty LabelSelector
selects everything, an absent one nothing (apimachinery's LabelSelectorAsSelector).
"""

from collections.abc import Mapping
from typing import Any

Labels = Mapping[str, str]


def selects(selector: Mapping[str, Any] | None, labels: Labels) -> bool:
    """Whether a LabelSelector (matchLabels, matchExpressions) selects an object with those labels."""
    if selector is None:
        return False
    return includes(selector.get("matchLabels") or {}, labels) and all(
        meets(requirement, labels) for requirement in selector.get("matchExpressions") or ()
    )


def includes(wanted: Labels, labels: Labels) -> bool:
    """Whether each wanted label is there with its value: a Service's selector, a Pod's nodeSelector."""
    return all(labels.get(key) == value for key, value in wanted.items())


def meets(requirement: Mapping[str, Any], labels: Labels) -> bool:
    """Whether one requirement (key, operator, values) is met; an operator nobody defined is never met."""
    value = labels.get(requirement["key"])
    values = list(requirement.get("values") or ())
    match requirement["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt":
            return _number(value) is not None and int(value or 0) > int(values[0])
        case "Lt":
            return _number(value) is not None and int(value or 0) < int(values[0])
    return False


def _number(value: str | None) -> int | None:
    try:
        return int(value or "")
    except ValueError:
        return None
