"""Kubernetes' way to say no: a Status object with a code, a reason, a message and causes.

Messages and details are those of k8s.io/apimachinery/pkg/api/errors, because kubectl prints them and clients match on
the reasons. It does not decide when to refuse; the callers do.
"""

from dataclasses import dataclass
from typing import Any, Final

import orjson

from ovnk.lab.apiserver.kinds import Kind


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing wrong with one field; `reason` is a metav1.CauseType such as "FieldValueInvalid"."""

    reason: str
    message: str
    field: str

    def body(self) -> dict[str, str]:
        """The cause as it stands in Status.details.causes."""
        return {"reason": self.reason, "message": self.message, "field": self.field}


class StatusError(Exception):
    """A request that is refused: raised anywhere, answered as `body()` with the HTTP status `code`."""

    def __init__(self, code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code, self.reason, self.message, self.details = code, reason, message, details

    def body(self) -> dict[str, Any]:
        """The metav1.Status object."""
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        if self.details:
            status["details"] = self.details
        return status


def success(kind: Kind, name: str, uid: str) -> dict[str, Any]:
    """What a DELETE answers once the object is gone."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {**_details(kind, name), "uid": uid},
    }


def bad_request(message: str) -> StatusError:
    """400: what was sent cannot be read."""
    return StatusError(400, "BadRequest", message)


def unauthorized() -> StatusError:
    """401: no token, or another one."""
    return StatusError(401, "Unauthorized", "Unauthorized")


def forbidden(kind: Kind, name: str, why: str, causes: tuple[Cause, ...] = ()) -> StatusError:
    """403: the object as such is fine, but not here or not now."""
    details = _details(kind, name)
    if causes:
        details["causes"] = [cause.body() for cause in causes]
    return StatusError(403, "Forbidden", f'{kind.qualified} "{name}" is forbidden: {why}', details)


def no_such_path() -> StatusError:
    """404 for a path or kind that is not served."""
    return StatusError(404, "NotFound", "the server could not find the requested resource")


def not_found(kind: Kind, name: str) -> StatusError:
    """404 for an object that is not there."""
    return StatusError(404, "NotFound", f'{kind.qualified} "{name}" not found', _details(kind, name))


def method_not_allowed() -> StatusError:
    """405: the path exists and this verb does not."""
    return StatusError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")


def not_acceptable(accepted: str) -> StatusError:
    """406: no media type the client takes can be made."""
    return StatusError(406, "NotAcceptable", f"only the following media types are accepted: {accepted}")


def already_exists(kind: Kind, name: str) -> StatusError:
    """409: create of a name in use."""
    return StatusError(409, "AlreadyExists", f'{kind.qualified} "{name}" already exists', _details(kind, name))


def conflict(
    kind: Kind,
    name: str,
    why: str = "the object has been modified; please apply your changes to the latest version and try again",
) -> StatusError:
    """409: the optimistic lock (resourceVersion, or a delete's preconditions) did not hold."""
    message = f'Operation cannot be fulfilled on {kind.qualified} "{name}": {why}'
    return StatusError(409, "Conflict", message, _details(kind, name))


def apply_conflict(causes: list[Cause]) -> StatusError:
    """409: server-side apply would change fields other managers own; one cause a field."""
    count = f"{len(causes)} conflict" + ("s" if len(causes) != 1 else "")
    if len(causes) == 1:
        listed = f": {causes[0].message}: {causes[0].field}"
    else:
        by_manager: dict[str, list[str]] = {}
        for cause in causes:
            by_manager.setdefault(cause.message, []).append(cause.field)
        listed = "".join(
            f": {manager}: {fields[0]}" if len(fields) == 1 else f": {manager}:" + "".join(f"\n- {f}" for f in fields)
            for manager, fields in by_manager.items()
        )
    message = f"Apply failed with {count}{listed}"
    return StatusError(409, "Conflict", message, {"causes": [cause.body() for cause in causes]})


def expired(message: str) -> StatusError:
    """410: that resourceVersion or continue token is older than the log."""
    return StatusError(410, "Expired", message)


def too_large(limit_bytes: int) -> StatusError:
    """413: the body is over the limit."""
    return StatusError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {limit_bytes}")


def unsupported_media_type(accepted: str) -> StatusError:
    """415: a body in a format this server does not read (protobuf and CBOR too: clients then fall back to JSON)."""
    message = f"the body of the request was in an unknown format - accepted media types include: {accepted}"
    return StatusError(415, "UnsupportedMediaType", message)


def invalid(kind: Kind, name: str, causes: list[Cause]) -> StatusError:
    """422: the object breaks its kind's rules; `causes` is not empty."""
    listed = [f"{cause.field}: {cause.message}" if cause.field else cause.message for cause in causes]
    text = listed[0] if len(listed) == 1 else f"[{', '.join(listed)}]"
    details = {"name": name, "group": kind.group, "kind": kind.kind, "causes": [cause.body() for cause in causes]}
    return StatusError(422, "Invalid", f'{kind.kind} "{name}" is invalid: {text}', details)


def too_many_requests(message: str, causes: tuple[Cause, ...] = ()) -> StatusError:
    """429: an eviction a disruption budget does not allow now."""
    return StatusError(429, "TooManyRequests", message, {"causes": [cause.body() for cause in causes]})


def internal(message: str) -> StatusError:
    """500: our bug."""
    return StatusError(500, "InternalError", f"Internal error occurred: {message}")


# The causes, with apimachinery's wording (pkg/util/validation/field/errors.go).


def required(field: str, why: str = "") -> Cause:
    """A field that must be there is not."""
    return Cause("FieldValueRequired", "Required value" + (f": {why}" if why else ""), field)


def invalid_value(field: str, value: object, why: str) -> Cause:
    """A value that breaks a rule."""
    return Cause("FieldValueInvalid", f"Invalid value: {_shown(value)}: {why}", field)


def type_invalid(field: str, value: object, why: str) -> Cause:
    """A value of the wrong type."""
    return Cause("FieldValueTypeInvalid", f"Invalid value: {_shown(value)}: {why}", field)


def not_supported(field: str, value: object, supported: list[Any]) -> Cause:
    """A value outside an enumeration."""
    listed = ", ".join(_shown(one) for one in supported)
    return Cause("FieldValueNotSupported", f"Unsupported value: {_shown(value)}: supported values: {listed}", field)


def duplicate(field: str, value: object) -> Cause:
    """A second entry where each must be its own."""
    return Cause("FieldValueDuplicate", f"Duplicate value: {_shown(value)}", field)


def field_forbidden(field: str, why: str) -> Cause:
    """A field that must not be set, or not be changed."""
    return Cause("FieldValueForbidden", f"Forbidden: {why}", field)


_SHOWN_CHARACTERS_MAX: Final = 400


def _shown(value: object) -> str:
    """The value as Go's field errors quote it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, str):
        return '"' + value[:_SHOWN_CHARACTERS_MAX].replace("\\", "\\\\").replace('"', '\\"') + '"'
    return orjson.dumps(value).decode()[:_SHOWN_CHARACTERS_MAX]


def _details(kind: Kind, name: str) -> dict[str, Any]:
    details: dict[str, Any] = {"name": name, "kind": kind.plural}
    if kind.group:
        details["group"] = kind.group
    return details
