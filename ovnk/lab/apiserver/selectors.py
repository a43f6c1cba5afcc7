"""Label and field selectors: text in, a predicate out.

The grammar is that of k8s.io/apimachinery/pkg/labels and pkg/fields. A selector that cannot be read, or that names a
field the kind cannot be selected by, is the client's fault: ValueError, with Kubernetes' words.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ovnk.lab.apiserver.kinds import Kind
from ovnk.lab.apiserver.stored import Stored

Labels = Mapping[str, str]

_QUALIFIED: Final = re.compile(
    r"(?:[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*/)?"
    r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
)
_VALUE: Final = re.compile(r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_TOKEN: Final = re.compile(r"\s*(==|!=|[=!,()<>]|[^\s=!,()<>]+)")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label; `operator` is "in", "notin", "exists", "!", "gt" or "lt"."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Labels) -> bool:
        """Whether the labels fulfil it. An absent label fulfils "notin" (so does != of kubectl)."""
        value = labels.get(self.key)
        if self.operator == "in":
            return value in self.values
        if self.operator == "notin":
            return value not in self.values
        if self.operator == "exists":
            return value is not None
        if self.operator == "!":
            return value is None
        return self._compares(value)

    def _compares(self, value: str | None) -> bool:
        (bound,) = self.values
        try:
            number = int(value or "")
        except ValueError:
            return False
        return number > int(bound) if self.operator == "gt" else number < int(bound)


@dataclass(frozen=True, slots=True)
class Selector:
    """What a list or watch is limited to; all requirements must hold."""

    labels: tuple[Requirement, ...] = ()
    fields: tuple[tuple[tuple[str, ...], bool, str], ...] = ()  # (path, equal, value)

    def __bool__(self) -> bool:
        """Whether anything is limited at all."""
        return bool(self.labels or self.fields)

    def matches(self, stored: Stored) -> bool:
        """Whether the object is selected. It is parsed only where a field other than its name is asked for."""
        if not all(requirement.matches(stored.labels) for requirement in self.labels):
            return False
        for path, equal, wanted in self.fields:
            if path == _NAME:
                found = stored.name
            elif path == _NAMESPACE:
                found = stored.namespace
            else:
                found = _text(stored.value, path)
            if (found == wanted) != equal:
                return False
        return True


def parse(kind: Kind, labels: str, fields: str) -> Selector:
    """The selector of a query's labelSelector and fieldSelector. Raises ValueError."""
    return Selector(parse_labels(labels), parse_fields(kind, fields))


def parse_labels(text: str) -> tuple[Requirement, ...]:
    """As in "a=b,c!=d,e in (f,g),h,!i,j>1" → its requirements. Raises ValueError with what is wrong."""
    tokens = _tokens(text)
    requirements: list[Requirement] = []
    position = 0
    while position < len(tokens):
        requirement, position = _requirement(tokens, position)
        requirements.append(requirement)
        if position < len(tokens):
            if tokens[position] != ",":
                raise ValueError(
                    f"unable to parse requirement: found '{tokens[position]}', expected: ',' or 'end of string'"
                )
            position += 1
            if position == len(tokens):
                raise ValueError("unable to parse requirement: found '', expected: identifier after ','")
    return tuple(requirements)


def from_object(selector: Mapping[str, Any]) -> tuple[Requirement, ...]:
    """A metav1.LabelSelector's requirements; an empty one has none and so matches everything."""
    operators = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}
    by_label = [
        Requirement(key, "in", frozenset({value})) for key, value in (selector.get("matchLabels") or {}).items()
    ]
    by_expression = [
        Requirement(one["key"], operators[one["operator"]], frozenset(one.get("values") or ()))
        for one in selector.get("matchExpressions") or ()
    ]
    return (*by_label, *by_expression)


def parse_fields(kind: Kind, text: str) -> tuple[tuple[tuple[str, ...], bool, str], ...]:
    """As in "spec.nodeName=a,status.phase!=Failed" → (path, equal, value). Raises ValueError."""
    parsed = []
    for term in re.split(r"(?<!\\),", text) if text else ():
        match = re.fullmatch(r"([^=!]+)(==|=|!=)(.*)", term)
        if match is None:
            raise ValueError(f"invalid selector: '{text}'; can't understand '{term}'")
        label, operator, value = match.groups()
        supported = kind.selectable_fields if kind.custom else _FIELDS.get((kind.group, kind.kind), frozenset())
        if label not in _COMMON_FIELDS and label not in supported:
            raise ValueError(
                f'Unable to find "{kind.group}/{kind.version}, Resource={kind.plural}" that match label selector "", '
                f'field selector "{text}": field label not supported: {label}'
            )
        unescaped = re.sub(r"\\([\\,=])", r"\1", value)
        parsed.append((tuple(_RENAMED.get(label, label).split(".")), operator != "!=", unescaped))
    return tuple(parsed)


_COMMON_FIELDS: Final = frozenset({"metadata.name", "metadata.namespace"})
_NAME: Final = ("metadata", "name")
_NAMESPACE: Final = ("metadata", "namespace")
_RENAMED: Final = {"source": "source.component"}
_EVENT_FIELDS: Final = frozenset(
    {
        f"involvedObject.{part}"
        for part in ["kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath"]
    }
    | {"reason", "reportingComponent", "source", "type"}
)
# What each kind can be selected by beyond its name (its registry strategy's ToSelectableFields).
_FIELDS: Final[dict[tuple[str, str], frozenset[str]]] = {
    ("", "Event"): _EVENT_FIELDS,
    ("events.k8s.io", "Event"): _EVENT_FIELDS,
    ("", "Namespace"): frozenset({"status.phase", "name"}),
    ("", "Node"): frozenset({"spec.unschedulable"}),
    ("", "Pod"): frozenset(
        {
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        }
    ),
    ("", "Secret"): frozenset({"type"}),
    ("", "Service"): frozenset({"spec.clusterIP", "spec.type"}),
    ("apps", "ReplicaSet"): frozenset({"status.replicas"}),
    ("batch", "Job"): frozenset({"status.successful"}),
}
_ABSENT_BOOLEANS: Final = frozenset({("spec", "unschedulable"), ("spec", "hostNetwork")})


def _text(value: Mapping[str, Any], path: tuple[str, ...]) -> str:
    """The field as a selector compares it; absent is "" (booleans: "false")."""
    found: Any = value
    for part in path:
        found = found.get(part) if isinstance(found, dict) else None
        if found is None:
            return "false" if path in _ABSENT_BOOLEANS else ""
    if isinstance(found, bool):
        return "true" if found else "false"
    return str(found)


def _tokens(text: str) -> list[str]:
    tokens, position = [], 0
    text = text.strip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"unable to parse requirement: found '{text[position:]}'")
        tokens.append(match[1])
        position = match.end()
    return tokens


def _requirement(tokens: list[str], position: int) -> tuple[Requirement, int]:
    negated = tokens[position] == "!"
    position += negated
    key = tokens[position] if position < len(tokens) else ""
    if not _QUALIFIED.fullmatch(key):
        raise ValueError(f'unable to parse requirement: <nil>: Invalid value: "{key}": not a qualified label name')
    position += 1
    following = tokens[position] if position < len(tokens) else ","
    if negated or following == ",":
        return Requirement(key, "!" if negated else "exists"), position
    if following in ("in", "notin"):
        values, position = _value_list(tokens, position + 1)
        return Requirement(key, following, values), position
    name = {"=": "in", "==": "in", "!=": "notin", ">": "gt", "<": "lt"}.get(following)
    if name is None:
        raise ValueError(f"unable to parse requirement: found '{following}', expected: in, notin, =, ==, !=, gt, lt")
    position += 1
    value = tokens[position] if position < len(tokens) and tokens[position] != "," else ""
    position += value != ""
    _check_value(value)
    if name in ("gt", "lt") and not re.fullmatch(r"[+-]?\d+", value):
        raise ValueError(
            f'unable to parse requirement: values[0][{key}]: Invalid value: "{value}": '
            "for 'Gt', 'Lt' operators, the value must be an integer"
        )
    return Requirement(key, name, frozenset({value})), position


def _value_list(tokens: list[str], position: int) -> tuple[frozenset[str], int]:
    if position >= len(tokens) or tokens[position] != "(":
        found = tokens[position] if position < len(tokens) else ""
        raise ValueError(f"unable to parse requirement: found '{found}', expected: '('")
    values: list[str] = []
    value = ""
    for index in range(position + 1, len(tokens)):
        token = tokens[index]
        if token in (",", ")"):
            _check_value(value)
            values.append(value)
            value = ""
            if token == ")":
                return frozenset(values), index + 1
        elif value:
            break
        else:
            value = token
    raise ValueError("unable to parse requirement: a value list is not closed by ')'")


def _check_value(value: str) -> None:
    if not _VALUE.fullmatch(value):
        raise ValueError(
            f'unable to parse requirement: values[0]: Invalid value: "{value}": a valid label must be an empty string '
            "or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric one"
        )
