"""One Event, two kinds: core/v1 and events.k8s.io/v1 are one stored object under two names for its fields.

Stored as core/v1. Pure; `to_core` and `from_core` undo each other.
"""

from typing import Any, Final

Object = dict[str, Any]

# events.k8s.io/v1 → core/v1, where the name differs (pkg/apis/events/v1/conversion.go)
_NAMES: Final = {
    "regarding": "involvedObject",
    "note": "message",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
    "reportingController": "reportingComponent",
}
_NEW_NAMES: Final = {old: new for new, old in _NAMES.items()}


def to_core(value: Object) -> Object:
    """The core/v1 form of an events.k8s.io/v1 Event."""
    return {**{_NAMES.get(name, name): item for name, item in value.items()}, "apiVersion": "v1"}


def from_core(value: Object) -> Object:
    """The events.k8s.io/v1 form of a core/v1 Event."""
    renamed = {_NEW_NAMES.get(name, name): item for name, item in value.items()}
    return {**renamed, "apiVersion": "events.k8s.io/v1"}
