"""Label selectors: as the API writes them in, a Selector out, or what is wrong with them.

The rules are the API server's (pkg/apis/meta/v1/validation, Kubernetes 1.36). Who has the selector makes of `Wrong`
what it means for him: one that is not understood must never select more than it should.
"""

import re

from msgspec import Struct

from ovnk.kube.policy_objects import Requirement, Selector

_QUALIFIED = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


class Wrong(Exception):  # noqa: N818  a fault of the object, not of ours
    """The field at `path` is wrong because of `why`."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path} {why}")
        self.path, self.why = path, why


class Expression(Struct, gc=False):
    """meta/v1 LabelSelectorRequirement: `operator` is In, NotIn, Exists or DoesNotExist."""

    key: str
    operator: str
    values: list[str] | None = None


class LabelSelector(Struct, rename="camel", gc=False):
    """meta/v1 LabelSelector: all of it must hold, the empty one selects everything."""

    match_labels: dict[str, str] | None = None
    match_expressions: list[Expression] | None = None


def requirements(path: str, given: LabelSelector) -> Selector:
    """The requirements of the selector at `path`, sorted, each once. Raises Wrong."""
    found = set()
    for key, value in (given.match_labels or {}).items():
        found.add(_requirement(f"{path}.matchLabels", key, "In", [value]))
    for index, one in enumerate(given.match_expressions or ()):
        found.add(_requirement(f"{path}.matchExpressions[{index}]", one.key, one.operator, one.values or []))
    return tuple(sorted(found))


def _requirement(path: str, key: str, operator: str, values: list[str]) -> Requirement:
    if not _QUALIFIED.fullmatch(key):
        raise Wrong(path, f'has the key "{key}", which is not that of a label')
    if operator not in ("In", "NotIn", "Exists", "DoesNotExist"):
        raise Wrong(path, f'has the operator "{operator}", which is none of In, NotIn, Exists and DoesNotExist')
    if (operator in ("In", "NotIn")) != bool(values):
        raise Wrong(path, f"has {operator} with{'' if values else 'out'} values")
    for value in values:
        if not _LABEL_VALUE.fullmatch(value):
            raise Wrong(path, f'has the value "{value}", which is not that of a label')
    return Requirement(key, operator, tuple(sorted(set(values))))
