"""A request's body as an object of its kind: typed, pruned, or refused; and a patch applied to one.

What fieldValidation asks for happens here: unknown fields are an error, a warning, or silently dropped.
"""

from dataclasses import dataclass, field
from typing import Any

from ovnk.lab.apiserver import decoding, patches, schemas, status, structural
from ovnk.lab.apiserver.kinds import Kind

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Write:
    """How a write is asked for. `warnings` collects what the client is to be told although it succeeds."""

    manager: str = "unknown"
    dry_run: bool = False
    field_validation: str = "Warn"
    force: bool = False
    subresource: str = ""
    warnings: list[str] = field(default_factory=list)


def decoded(kind: Kind, body: Any, write: Write) -> Object:
    """The body as an object of the kind, pruned. Raises 400 when it is none, or not strictly one."""
    if not isinstance(body, dict):
        raise _unreadable(kind, "json: cannot unmarshal into Go value: the body is not an object")
    if not isinstance(body.setdefault("metadata", {}), dict):
        if body["metadata"] is not None:
            raise _unreadable(kind, "json: cannot unmarshal into Go struct field metadata of type v1.ObjectMeta")
        body["metadata"] = {}
    if (
        body.setdefault("kind", kind.kind) != kind.kind
        or body.setdefault("apiVersion", kind.api_version) != kind.api_version
    ):
        raise status.bad_request(
            f'{body.get("kind")} in version "{body.get("apiVersion")}" cannot be handled as a {kind.kind}: '
            f"the request is for {kind.api_version}, Kind={kind.kind}"
        )
    unknown: list[str] = []
    schema = schemas.of(kind)
    try:
        if kind.definition:
            decoding.decode(schema, body, unknown)
        else:
            decoding.decode(schemas.object_meta(), body["metadata"], unknown)
            structural.prune(schema, body, unknown)
    except decoding.WrongType as error:
        raise _unreadable(kind, str(error)) from error
    if unknown and write.field_validation != "Ignore":
        listed = [f'unknown field "{path}"' for path in unknown]
        if write.field_validation == "Strict":
            raise _unreadable(kind, f"strict decoding error: {', '.join(listed)}")
        write.warnings.extend(listed)
    return body


def typed(definition: str, body: Any) -> Object:
    """The body as a message of that built-in definition that is no object of its own (Scale, DeleteOptions).

    Raises StatusError 400 when it is none.
    """
    if not isinstance(body, dict):
        raise status.bad_request("the body of the request is not an object")
    try:
        decoding.decode(schemas.definition(definition), body, [])
    except decoding.WrongType as error:
        name = definition.rpartition(".")[2]
        raise status.bad_request(f"the body of the request cannot be handled as a {name}: {error}") from error
    return body


def patched(kind: Kind, value: Object, media_type: str, patch: Any) -> Any:
    """The object after a JSON, merge or strategic merge patch. Raises 400, 415, 422."""
    try:
        if media_type == patches.JSON:
            return patches.json_patch(value, patch)
        if not isinstance(patch, dict):
            raise status.bad_request("error decoding patch: the body is not an object")
        if media_type == patches.MERGE:
            return patches.merge_patch(value, patch)
        if media_type == patches.STRATEGIC and not kind.custom:
            return patches.strategic_merge(schemas.of(kind), value, patch)
    except patches.PatchMalformed as error:
        raise status.bad_request(f"error decoding patch: {error}") from error
    except patches.PatchDoesNotApply as error:
        message = "the server rejected our request due to an error in our request"
        cause = status.Cause("UnexpectedServerResponse", str(error), "")
        raise status.StatusError(422, "Invalid", message, {"causes": [cause.body()]}) from error
    accepted = [patches.JSON, patches.MERGE, *([] if kind.custom else [patches.STRATEGIC]), patches.APPLY]
    raise status.unsupported_media_type(", ".join(accepted))


def _unreadable(kind: Kind, why: str) -> status.StatusError:
    return status.bad_request(f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: {why}')
