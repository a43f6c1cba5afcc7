"""Conditions in an object's status: found by type, and renewed only when they say something else.

Pure. The times follow the API conventions: lastTransitionTime moves when the status does, lastUpdateTime (which only
Deployments have) with any word of it.
"""

import datetime

from ovnk.lab.controllers.resources import Object


def found(value: Object, kind: str) -> Object | None:
    """The condition of that type in the object's status, or None."""
    held: list[Object] = (value.get("status") or {}).get("conditions") or []
    return next((entry for entry in held if entry["type"] == kind), None)


def true(value: Object, kind: str) -> bool:
    """Whether the object's condition of that type is there and true."""
    held = found(value, kind)
    return held is not None and held["status"] == "True"


def renewed(held: Object | None, kind: str, status: bool, reason: str, message: str, now: datetime.datetime) -> Object:
    """The condition as it is held, or a new one where it says something else."""
    text = "True" if status else "False"
    # An empty reason or message is left out by the server.
    if held and (held["status"], held.get("reason", ""), held.get("message", "")) == (text, reason, message):
        return held
    at = written(now)
    since = held["lastTransitionTime"] if held and held["status"] == text else at
    return {"type": kind, "status": text, "reason": reason, "message": message, "lastTransitionTime": since}


def written(moment: datetime.datetime) -> str:
    """A time as the API writes it (RFC 3339, UTC, whole seconds)."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
