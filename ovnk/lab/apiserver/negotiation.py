"""Media types and query parameters: what a request's headers and query mean, as plain values.

JSON is spoken; YAML and protobuf are read too. CBOR is refused with 415, on which clients fall back to JSON.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson
import yaml

from ovnk.lab.apiserver import bodies, discovery, patches, protobuf, status
from ovnk.lab.apiserver.bodies import Write
from ovnk.lab.apiserver.deletion import Delete

Object = dict[str, Any]

READABLE: Final = "application/json, application/yaml, application/vnd.kubernetes.protobuf"


class _Loader(yaml.SafeLoader):
    """YAML as Kubernetes reads it: a timestamp is a string."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}

_DELETE_OPTIONS: Final = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"

Shape = Literal["object", "table", "metadata"]


@dataclass(frozen=True, slots=True)
class Accepted:
    """How the answer is to look; `include` is what a table's rows carry."""

    shape: Shape = "object"
    include: str = "Metadata"


def accepted(header: str, include: str = "") -> Accepted:
    """What an Accept header asks for: the first form this server has. Raises StatusError 406 when it has none."""
    if not header:
        return Accepted()
    for part in header.split(","):
        media_type, *parameters = (piece.strip() for piece in part.split(";"))
        given = dict(piece.split("=", 1) for piece in parameters if "=" in piece)
        if media_type not in ("application/json", "*/*", "application/*", "application/yaml", "text/plain"):
            continue
        if given.get("as") == "Table" and given.get("v") == "v1":
            return Accepted("table", include or "Metadata")
        if given.get("as") in ("PartialObjectMetadata", "PartialObjectMetadataList") and given.get("v") == "v1":
            return Accepted("metadata")
        if "as" not in given:
            return Accepted()
    raise status.not_acceptable("application/json")


def wants_aggregated(header: str) -> bool:
    """Whether a discovery request asks for the aggregated form."""
    return discovery.AGGREGATED.partition(";")[2] in header.replace(" ", "")


def body(content: bytes, content_type: str) -> Any:
    """The parsed body. Raises StatusError 415 for a format that is not read, 400 for one that cannot be."""
    if content_type in ("", "application/json", "application/octet-stream", "text/plain") or content_type in (
        patches.JSON,
        patches.MERGE,
        patches.STRATEGIC,
    ):
        try:
            return orjson.loads(content)
        except orjson.JSONDecodeError as error:
            raise status.bad_request(f"the body of the request is not JSON: {error}") from error
    if content_type in ("application/yaml", patches.APPLY):
        return _yaml(content)
    if content_type == protobuf.MEDIA_TYPE:
        try:
            return protobuf.decode(content)
        except ValueError as error:
            raise status.bad_request(f"the body of the request is not Kubernetes protobuf: {error}") from error
    raise status.unsupported_media_type(READABLE)


def _yaml(content: bytes) -> Any:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        pass  # YAML that is not JSON: the other half of the format
    try:
        # Whatever YAML may say (dates, keys that are numbers) must be sayable in JSON.
        return orjson.loads(orjson.dumps(yaml.load(content, _Loader)))
    except (yaml.YAMLError, orjson.JSONEncodeError, RecursionError) as error:
        raise status.bad_request(f"the body of the request is not YAML: {error}") from error


def write(query: Mapping[str, str], user_agent: str, subresource: str = "") -> Write:
    """How a create, update or patch is asked for. Raises StatusError 400."""
    validation = query.get("fieldValidation") or "Warn"
    if validation not in ("Strict", "Warn", "Ignore"):
        raise status.bad_request(
            f'fieldValidation: Unsupported value: "{validation}": supported values: "", "Ignore", "Strict", "Warn"'
        )
    manager = query.get("fieldManager") or user_agent.partition("/")[0] or "unknown"
    if len(manager) > 128:
        raise status.bad_request(f'fieldManager: Invalid value: "{manager}": may not be more than 128 bytes')
    return Write(manager, dry_run(query), validation, query.get("force") in ("true", "1"), subresource)


def dry_run(query: Mapping[str, str], options: Object | None = None) -> bool:
    """Whether nothing is to be stored. Raises StatusError 400 for a value other than All."""
    given = (
        (options or {}).get("dryRun") or [query["dryRun"]]
        if query.get("dryRun")
        else (options or {}).get("dryRun") or []
    )
    if any(one != "All" for one in given):
        raise status.bad_request(f'dryRun: Unsupported value: "{given[0]}": supported values: "All"')
    return bool(given)


def delete(query: Mapping[str, str], options: Any) -> Delete:
    """metav1.DeleteOptions from a body (None: no body) and the query. Raises StatusError 400."""
    given = bodies.typed(_DELETE_OPTIONS, {} if options is None else options)
    grace = given.get("gracePeriodSeconds", query.get("gracePeriodSeconds"))
    propagation = given.get("propagationPolicy") or query.get("propagationPolicy") or "Background"
    orphan = given.get("orphanDependents", query.get("orphanDependents"))
    if orphan in (True, "true"):
        propagation = "Orphan"
    if propagation not in ("Background", "Foreground", "Orphan"):
        raise status.bad_request(
            f'propagationPolicy: Unsupported value: "{propagation}": '
            'supported values: "Background", "Foreground", "Orphan"'
        )
    preconditions = given.get("preconditions") or {}
    try:
        grace_s = None if grace is None else int(grace)
    except ValueError as error:
        raise status.bad_request(f'gracePeriodSeconds: Invalid value: "{grace}": must be an integer') from error
    return Delete(
        grace_s,
        propagation,
        preconditions.get("uid") or "",
        preconditions.get("resourceVersion") or "",
        dry_run(query, given),
    )
