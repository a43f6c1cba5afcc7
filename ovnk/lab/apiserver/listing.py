"""LIST: which objects, as of which version, and how the next page goes on exactly where this one ended.

Every page of one list shows the same version: later pages are today's objects with the events since undone, so a
list in pages costs the server no memory and is refused (410) once the log has forgotten its version.
"""

import base64
from bisect import bisect_right
from dataclasses import dataclass

import orjson

from ovnk.lab.apiserver import status
from ovnk.lab.apiserver.kinds import Kind
from ovnk.lab.apiserver.selectors import Selector
from ovnk.lab.apiserver.store import Compacted, Store
from ovnk.lab.apiserver.stored import Stored


@dataclass(frozen=True, slots=True)
class Query:
    """What a LIST asks for. `version` "" is the newest one, `match` its resourceVersionMatch."""

    namespace: str | None
    selector: Selector
    limit: int = 0
    token: str = ""
    version: str = ""
    match: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """Some objects, the version they are of, the token of the next page ("" on the last), and how many are left."""

    items: list[Stored]
    version: int
    token: str = ""
    remaining: int | None = None


def page(store: Store, kind: Kind, query: Query) -> Page:
    """The page asked for. Raises StatusError 400 (token, version), 410 (too old), 504 (from the future)."""
    after: tuple[str, str] | None = None
    if query.token:
        if query.version:
            raise status.bad_request("specifying resource version is not allowed when using continue")
        version, after = _read_token(query.token)
    else:
        version = _version(store, query)
    try:
        at = (
            store.select(kind.storage, query.namespace)
            if version == store.version
            else store.at(kind.storage, version, query.namespace)
        )
    except Compacted as error:
        raise _expired(query, version, error.floor) from error
    if after is not None:
        at = at[bisect_right(at, after, key=lambda stored: (stored.namespace, stored.name)) :]
    selected = [stored for stored in at if query.selector.matches(stored)] if query.selector else at
    if not query.limit or len(selected) <= query.limit:
        return Page(selected, version)
    shown = selected[: query.limit]
    token = _written_token(version, shown[-1])
    # With a selector a real server does not know how many are left, and clients must not either.
    return Page(shown, version, token, None if query.selector else len(selected) - query.limit)


def _version(store: Store, query: Query) -> int:
    if query.version in ("", "0"):
        return store.version
    if not query.version.isdigit():
        raise status.bad_request(f'resourceVersion: Invalid value: "{query.version}": must be an unsigned integer')
    version = int(query.version)
    if version > store.version:
        cause = status.Cause("ResourceVersionTooLarge", "Too large resource version", "")
        message = f"Too large resource version: {version}, current: {store.version}"
        details = {"causes": [cause.body()], "retryAfterSeconds": 1}
        raise status.StatusError(504, "Timeout", f"Timeout: {message}", details)
    exact = query.match == "Exact" or (not query.match and query.limit)
    return version if exact else store.version


def _expired(query: Query, version: int, floor: int) -> status.StatusError:
    if query.token:
        return status.expired(
            "The provided continue parameter is too old to display a consistent list result. "
            "You must start a new list without the continue parameter."
        )
    return status.expired(f"The resourceVersion for the provided list is too old: {version} ({floor})")


def _written_token(version: int, last: Stored) -> str:
    content = {"v": "meta.k8s.io/v1", "rv": version, "after": [last.namespace, last.name]}
    return base64.urlsafe_b64encode(orjson.dumps(content)).decode().rstrip("=")


def _read_token(token: str) -> tuple[int, tuple[str, str]]:
    try:
        content = orjson.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        namespace, name = content["after"]
        return int(content["rv"]), (str(namespace), str(name))
    except (ValueError, TypeError, KeyError) as error:
        raise status.bad_request("continue key is not valid: it is not a token this server gave") from error
