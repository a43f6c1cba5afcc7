"""A stored object as one of its kinds shows it: another version of a custom resource, or the other group's Event.

Conversion between a custom resource's versions is "None": only apiVersion changes.
"""

from functools import lru_cache
from typing import Any, Final

import orjson

from ovnk.lab.apiserver import events, schemas
from ovnk.lab.apiserver.kinds import Kind
from ovnk.lab.apiserver.schemas import Schema
from ovnk.lab.apiserver.stored import Stored

Object = dict[str, Any]


def value(kind: Kind, stored: Stored) -> Object:
    """The object in the kind's form; not to be changed."""
    if stored.value["apiVersion"] == kind.api_version:
        return stored.value
    return _converted(kind, stored)[0]


def encoded(kind: Kind, stored: Stored) -> bytes:
    """The object in the kind's form, as JSON."""
    if stored.value["apiVersion"] == kind.api_version:
        return stored.encoded
    return _converted(kind, stored)[1]


def storage_schema(kind: Kind) -> Schema:
    """The schema of the form in which the kind's objects are stored."""
    return schemas.definition(_CORE_EVENT) if kind.group == "events.k8s.io" else schemas.of(kind)


_CORE_EVENT: Final = "io.k8s.api.core.v1.Event"


def to_storage(kind: Kind, value: Object) -> Object:
    """The form in which the kind's objects are stored."""
    return events.to_core(value) if kind.group == "events.k8s.io" else value


def shown(kind: Kind, stored_form: Object) -> Object:
    """The kind's form of a value in the form that is stored."""
    if stored_form["apiVersion"] == kind.api_version:
        return stored_form
    if kind.group == "events.k8s.io":
        return events.from_core(stored_form)
    return {**stored_form, "apiVersion": kind.api_version}


# Every watcher of the other form gets the same event, so the last conversions are worth keeping.
@lru_cache(maxsize=512)
def _converted(kind: Kind, stored: Stored) -> tuple[Object, bytes]:
    value = shown(kind, stored.value)
    return value, orjson.dumps(value)
