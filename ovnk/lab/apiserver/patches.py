"""The patches that need no field ownership: JSON (RFC 6902), merge (RFC 7386) and strategic merge.

Pure: each takes a value and a patch and gives a new value; nothing passed in is changed. Server-side apply is
ownership.py's.
"""

import copy
from typing import Any, Final

import jsonpatch

from ovnk.lab.apiserver import schemas
from ovnk.lab.apiserver.schemas import Schema

JSON: Final = "application/json-patch+json"
MERGE: Final = "application/merge-patch+json"
STRATEGIC: Final = "application/strategic-merge-patch+json"
APPLY: Final = "application/apply-patch+yaml"


class PatchDoesNotApply(Exception):  # noqa: N818  the fault of who sent it
    """The patch is well formed and this object is not one it fits (a test that fails, a path that is missing)."""


class PatchMalformed(Exception):  # noqa: N818  as above
    """It is not a patch of its kind at all."""


def json_patch(value: dict[str, Any], operations: Any) -> Any:
    """RFC 6902. Raises PatchMalformed and PatchDoesNotApply."""
    if not isinstance(operations, list):
        raise PatchMalformed("a JSON patch is a list of operations")
    try:
        return jsonpatch.JsonPatch(operations).apply(value)
    except jsonpatch.InvalidJsonPatch as error:
        raise PatchMalformed(str(error)) from error
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
        raise PatchDoesNotApply(str(error)) from error
    except (TypeError, KeyError, AttributeError) as error:
        raise PatchMalformed(f"an operation of the JSON patch is malformed: {error}") from error


def merge_patch(value: Any, patch: Any) -> Any:
    """RFC 7386: objects are merged, null removes, anything else replaces."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(value) if isinstance(value, dict) else {}
    for key, item in patch.items():
        if item is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), item)
    return merged


def strategic_merge(schema: Schema, value: Any, patch: Any) -> Any:
    """A strategic merge patch, by the schema's merge keys. Raises PatchMalformed.

    The directives: "$patch": replace, delete or merge; "$retainKeys"; "$deleteFromPrimitiveList/FIELD";
    "$setElementOrder/FIELD" (community/contributors/devel/sig-api-machinery/strategic-merge-patch.md).
    """
    if not isinstance(patch, dict):
        raise PatchMalformed("a strategic merge patch is an object")
    directive = patch.get("$patch")
    if directive == "replace":
        return _plain({key: item for key, item in patch.items() if key != "$patch"})
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise PatchMalformed(f'unknown patch directive "{directive}"')
    live = value if isinstance(value, dict) else {}
    merged = dict(live)
    if "$retainKeys" in patch:
        kept = _list(patch, "$retainKeys")
        merged = {key: item for key, item in merged.items() if key in kept}
    for name, gone in _directives(patch, "$deleteFromPrimitiveList/"):
        merged[name] = [one for one in merged.get(name) or () if one not in gone]
    for key, item in patch.items():
        if key.startswith("$"):
            continue
        child = schema.of(key) or schemas.UNKNOWN
        if item is None:
            merged.pop(key, None)
        elif isinstance(item, dict):
            merged[key] = strategic_merge(child, merged.get(key), item)
        elif isinstance(item, list) and child.merges:
            merged[key] = _merge_list(child, key, merged.get(key) or [], item)
        else:
            merged[key] = _plain(item)
    for name, order in _directives(patch, "$setElementOrder/"):
        if isinstance(merged.get(name), list):
            merged[name] = _in_order(schema.of(name) or schemas.UNKNOWN, merged[name], order, live.get(name) or [])
    return merged


def _directives(patch: dict[str, Any], prefix: str) -> list[tuple[str, list[Any]]]:
    """(field, the directive's list) of every directive of that kind. Raises PatchMalformed."""
    return [(key.removeprefix(prefix), _list(patch, key)) for key in patch if key.startswith(prefix)]


def _list(patch: dict[str, Any], key: str) -> list[Any]:
    listed = patch[key]
    if not isinstance(listed, list):
        raise PatchMalformed(f'the directive "{key}" is not a list')
    return listed


def _merge_list(schema: Schema, field: str, live: list[Any], patch: list[Any]) -> list[Any]:
    if not schema.merge_key:
        return [*live, *(_plain(item) for item in patch if item not in live)]
    for item in patch:
        if isinstance(item, dict) and item.get("$patch") == "replace":
            return [_plain(one) for one in patch if one is not item]
    key = schema.merge_key
    merged = list(live)
    for item in patch:
        if not isinstance(item, dict) or key not in item:
            raise PatchMalformed(f'an entry of "{field}" does not contain its merge key "{key}"')
        at = [index for index, one in enumerate(merged) if one.get(key) == item[key]]
        if item.get("$patch") == "delete":
            merged = [one for index, one in enumerate(merged) if index not in at]
        elif at:
            merged[at[0]] = strategic_merge(schema.items or schemas.UNKNOWN, merged[at[0]], item)
        else:
            merged.append(strategic_merge(schema.items or schemas.UNKNOWN, {}, item))
    return merged


def _in_order(schema: Schema, merged: list[Any], order: list[Any], live: list[Any]) -> list[Any]:
    """The list with the named entries in the patch's order; the others keep their place among the live ones."""

    def name(item: Any) -> Any:
        found = item.get(schema.merge_key) if isinstance(item, dict) else item
        if isinstance(found, (list, dict)):
            raise PatchMalformed(f"{found!r} names no entry of a list; give the value of its merge key")
        return found

    wanted = {name(item): index for index, item in enumerate(order)}
    before = {name(item): index for index, item in enumerate(live)}
    named = sorted((item for item in merged if name(item) in wanted), key=lambda item: wanted[name(item)])
    others = [item for item in merged if name(item) not in wanted]
    result: list[Any] = []
    while named and others:
        # A named entry that is new has no place among the live ones and comes before the rest.
        other_first = before.get(name(others[0]), len(live)) < before.get(name(named[0]), -1)
        result.append(others.pop(0) if other_first else named.pop(0))
    return [*result, *named, *others]


def _plain(value: Any) -> Any:
    """What a patch adds where there was nothing: without nulls and directives."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if item is not None and not key.startswith("$")}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
