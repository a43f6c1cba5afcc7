"""The status of a CustomResourceDefinition: accepted as soon as its names are free, and served at once."""

from typing import Any

from ovnk.lab.apiserver.kinds import Kind

Object = dict[str, Any]

CLEANUP = "customresourcecleanup.apiextensions.k8s.io"


def status_of(definition: Object, others: list[Kind], now: str) -> Object:
    """The status to store with it. `others` are the kinds its group serves apart from its own.

    Conditions that stay as they were keep their lastTransitionTime.
    """
    spec = definition["spec"]
    names = spec["names"]
    taken = [other for other in others if other.kind == names["kind"] or other.plural == names["plural"]]
    before = definition.get("status") or {}
    if taken:
        why = f'"{names["kind"]}" is already in use'
        conditions = [
            ("NamesAccepted", "False", "KindConflict", why),
            ("Established", "False", "NotAccepted", "not all names are accepted"),
        ]
    else:
        conditions = [
            ("NamesAccepted", "True", "NoConflicts", "no conflicts found"),
            ("Established", "True", "InitialNamesAccepted", "the initial names have been accepted"),
        ]
    storage = next(version["name"] for version in spec["versions"] if version.get("storage"))
    stored = before.get("storedVersions") or []
    since = {(one["type"], one["status"]): one["lastTransitionTime"] for one in before.get("conditions") or ()}
    return {
        "acceptedNames": names if not taken else before.get("acceptedNames", {"plural": "", "kind": ""}),
        "conditions": [
            {
                "type": name,
                "status": state,
                "reason": reason,
                "message": message,
                "lastTransitionTime": since.get((name, state), now),
            }
            for name, state, reason, message in conditions
        ],
        "storedVersions": stored if storage in stored else [*stored, storage],
    }
