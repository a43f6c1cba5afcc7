"""Sets of fields of an object, in the form Kubernetes writes them (FieldsV1), and the algebra on them.

A set is a tree of dicts:
    {"f:spec": {"f:replicas": {}, "f:containers": {'k:{"name":"web"}': {".": {}, "f:image": {}}}}}

A path is in the set when its node is empty or holds ".". Which lists have keys, are sets or are atomic is the
schema's to say; where it says nothing, maps are granular and lists atomic (structured-merge-diff's deduced schema).
Pure; who owns a set is ownership.py's.
"""

from typing import Any, Final

import orjson

from ovnk.lab.apiserver import schemas
from ovnk.lab.apiserver.schemas import Schema

Fields = dict[str, Any]

_ITEM: Final = "."
# A key field that a client may leave out has its default in the entry's identity (Service and container ports).
_KEY_DEFAULTS: Final = {"protocol": "TCP"}


def of(schema: Schema, value: Any) -> Fields:
    """Every field the value sets. An empty map or list, and anything atomic, is one field."""
    if isinstance(value, dict):
        if schema.atomic_map:
            return {}
        properties, values = schema.properties, schema.values
        result: Fields = {}
        for key, item in value.items():
            if isinstance(item, dict | list) and item:
                result["f:" + key] = of(properties.get(key) or values or schemas.UNKNOWN, item)
            else:
                result["f:" + key] = {}
        return result
    if isinstance(value, list):
        if schema.list_type == "map":
            items = schema.items or schemas.UNKNOWN
            return {item_key(schema, item): {_ITEM: {}, **of(items, item)} for item in value}
        if schema.list_type == "set":
            return {_value_key(item): {} for item in value}
    return {}


def changed(schema: Schema, old: Any, new: Any) -> tuple[Fields, Fields]:
    """(fields that `new` adds or sets to another value, fields of `old` that `new` no longer has)."""
    if isinstance(old, dict) and isinstance(new, dict) and not schema.atomic_map:
        return _changed_map(schema, old, new)
    if isinstance(old, list) and isinstance(new, list) and schema.list_type in ("map", "set"):
        return _changed_list(schema, old, new)
    return {}, {}


def _changed_map(schema: Schema, old: dict[str, Any], new: dict[str, Any]) -> tuple[Fields, Fields]:
    present: Fields = {}
    absent: Fields = {}
    for key, item in new.items():
        child = schema.of(key) or schemas.UNKNOWN
        if key not in old:
            present["f:" + key] = of(child, item)
        elif old[key] != item:
            _compare(child, "f:" + key, old[key], item, present, absent)
    absent.update({"f:" + key: of(schema.of(key) or schemas.UNKNOWN, old[key]) for key in old if key not in new})
    return present, absent


def _changed_list(schema: Schema, old: list[Any], new: list[Any]) -> tuple[Fields, Fields]:
    present: Fields = {}
    absent: Fields = {}
    items = schema.items or schemas.UNKNOWN
    before = _by_key(schema, old)
    after = _by_key(schema, new)
    for key, item in after.items():
        if key not in before:
            present[key] = {_ITEM: {}, **of(items, item)} if schema.list_type == "map" else {}
        elif before[key] != item:
            _compare(items, key, before[key], item, present, absent)
    for key, item in before.items():
        if key not in after:
            absent[key] = {_ITEM: {}, **of(items, item)} if schema.list_type == "map" else {}
    return present, absent


def _compare(schema: Schema, key: str, old: Any, new: Any, present: Fields, absent: Fields) -> None:
    """Add what changed between two differing values of one field to the two sets."""
    granular = _granular(schema, old) and _granular(schema, new) and isinstance(old, type(new))
    if not granular:
        present[key] = of(schema, new)
        gone = difference(of(schema, old), present[key])
        if gone:
            absent[key] = gone
        return
    inner_present, inner_absent = changed(schema, old, new)
    if inner_present:
        present[key] = inner_present
    if inner_absent:
        absent[key] = inner_absent


def _granular(schema: Schema, value: Any) -> bool:
    if isinstance(value, dict):
        return bool(value) and not schema.atomic_map
    return isinstance(value, list) and bool(value) and schema.list_type in ("map", "set")


def _by_key(schema: Schema, items: list[Any]) -> dict[str, Any]:
    key = _value_key if schema.list_type == "set" else (lambda item: item_key(schema, item))
    return {key(item): item for item in items}


def merge(schema: Schema, live: Any, applied: Any) -> Any:
    """The live value with the applied one laid over it, lists by key; nothing is taken away."""
    if isinstance(applied, dict) and isinstance(live, dict) and not schema.atomic_map:
        merged = dict(live)
        for key, item in applied.items():
            merged[key] = merge(schema.of(key) or schemas.UNKNOWN, live.get(key), item)
        return merged
    if isinstance(applied, list) and isinstance(live, list) and schema.list_type in ("map", "set"):
        items = schema.items or schemas.UNKNOWN
        by_key = _by_key(schema, live)
        for key, item in _by_key(schema, applied).items():
            by_key[key] = merge(items, by_key.get(key), item)
        return list(by_key.values())
    return applied


def remove(schema: Schema, value: Any, gone: Fields, kept: Fields) -> Any:
    """The value without the fields of `gone`; a map or list entry stays while anything below it is in `kept`."""
    if isinstance(value, dict):
        return _remove_from_map(schema, value, gone, kept)
    if isinstance(value, list) and schema.list_type in ("map", "set"):
        items = schema.items or schemas.UNKNOWN
        result = []
        for key, item in _by_key(schema, value).items():
            node = gone.get(key)
            if node is None:
                result.append(item)
            elif kept.get(key) is not None or not _is_member(node):
                result.append(remove(items, item, node, kept.get(key) or {}))
        return result
    return value


def _remove_from_map(schema: Schema, value: dict[str, Any], gone: Fields, kept: Fields) -> dict[str, Any]:
    result = {}
    for key, item in value.items():
        node = gone.get("f:" + key)
        others = kept.get("f:" + key)
        if node is None:
            result[key] = item
        elif node == {}:
            if others is not None:
                result[key] = item
        else:
            rest = remove(schema.of(key) or schemas.UNKNOWN, item, node, others or {})
            # A map or list this emptied is no field of anybody's, unless another manager owns it as such.
            if rest not in ({}, []) or others is not None:
                result[key] = rest
    return result


def union(one: Fields, other: Fields) -> Fields:
    """The paths in either set."""
    result = dict(one)
    for key, node in other.items():
        result[key] = _union_nodes(result[key], node) if key in result else node
    return result


def _union_nodes(one: Fields, other: Fields) -> Fields:
    return _node(_is_member(one) or _is_member(other), union(_below(one), _below(other)))


def difference(one: Fields, other: Fields) -> Fields:
    """The paths of `one` that are not in `other`. An empty result is the empty set."""
    result: Fields = {}
    for key, node in one.items():
        beside = other.get(key)
        if beside is None:
            result[key] = node
            continue
        member = _is_member(node) and not _is_member(beside)
        rest = difference(_below(node), beside)
        if member or rest:
            result[key] = _node(member, rest)
    return result


def intersection(one: Fields, other: Fields) -> Fields:
    """The paths in both sets. An empty result is the empty set."""
    result: Fields = {}
    for key, node in one.items():
        beside = other.get(key)
        if beside is None:
            continue
        member = _is_member(node) and _is_member(beside)
        inner = intersection(_below(node), _below(beside))
        if member or inner:
            result[key] = _node(member, inner)
    return result


def paths(fields: Fields, prefix: str = "") -> list[str]:
    """The set as structured-merge-diff prints it: '.spec.replicas', '.spec.containers[name="web"].image'."""
    result = []
    for key, node in sorted(fields.items()):
        if key == _ITEM:
            continue
        here = prefix + _shown(key)
        if _is_member(node):
            result.append(here)
        result.extend(paths(node, here))
    return result


def item_key(schema: Schema, item: Any) -> str:
    """'k:{"name":"web"}': an entry's identity in a list with keys. Key fields may have defaults."""
    if not isinstance(item, dict):
        return _value_key(item)
    key = {}
    for name in schema.list_keys:
        value = item.get(name, _KEY_DEFAULTS.get(name))
        if value is not None:
            key[name] = value
    return "k:" + orjson.dumps(key, option=orjson.OPT_SORT_KEYS).decode()


def _value_key(item: Any) -> str:
    return "v:" + orjson.dumps(item).decode()


def _is_member(node: Fields) -> bool:
    return not node or _ITEM in node


def _below(node: Fields) -> Fields:
    """The set of the paths below a node, as a set of its own."""
    return {key: child for key, child in node.items() if key != _ITEM} if _ITEM in node else node


def _node(member: bool, below: Fields) -> Fields:
    """A node for a path that is in the set or not, with these paths below it."""
    return {_ITEM: {}, **below} if member and below else below


def _shown(key: str) -> str:
    kind, _, rest = key.partition(":")
    if kind == "f":
        return "." + rest
    if kind == "k":
        pairs = orjson.loads(rest).items()
        return "[" + ",".join(f"{name}={orjson.dumps(value).decode()}" for name, value in pairs) + "]"
    return f"[={rest}]"
