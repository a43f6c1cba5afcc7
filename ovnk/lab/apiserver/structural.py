"""Custom resources held against their CRD's structural schema: pruning, defaults, validation.

The rules are those of apiextensions' structural schemas (OpenAPI v3 with Kubernetes' extensions) and the messages of
kube-openapi's validator. CEL (x-kubernetes-validations) is not evaluated.
"""

import copy
import re
from typing import Any, Final

from ovnk.lab.apiserver import schemas, status
from ovnk.lab.apiserver.schemas import Schema
from ovnk.lab.apiserver.status import Cause

# What stands at the root, and at an embedded resource, whatever the schema says.
_OBJECT_FIELDS: Final = ("apiVersion", "kind", "metadata")


def prune(schema: Schema, value: Any, unknown: list[str], path: str = "", *, root: bool = True) -> None:
    """Drop the fields the schema does not name, in place; their paths are added to `unknown`."""
    if isinstance(value, dict):
        keeps = _OBJECT_FIELDS if root or schema.embedded_resource else ()
        for key in list(value):
            child = schema.of(key)
            if key in keeps:
                continue
            here = f"{path}.{key}" if path else key
            if child is not None:
                prune(child, value[key], unknown, here, root=False)
            elif not schema.preserve_unknown:
                unknown.append(here)
                del value[key]
    elif isinstance(value, list) and schema.items is not None:
        for index, item in enumerate(value):
            prune(schema.items, item, unknown, f"{path}[{index}]", root=False)


def default(schema: Schema, value: Any) -> None:
    """Put the schema's defaults where fields are absent, or null without being nullable, in place."""
    if isinstance(value, dict):
        for key, child in schema.properties.items():
            if "default" in child.source and (key not in value or (value[key] is None and not child.nullable)):
                value[key] = copy.deepcopy(child.source["default"])
            elif key in value and value[key] is None and not child.nullable and child.type:
                # Null in a field that is not nullable is dropped before validation (apiextensions, since 1.20).
                del value[key]
        for key, item in value.items():
            child_schema = schema.of(key)
            if child_schema is not None and key != "metadata":
                default(child_schema, item)
    elif isinstance(value, list) and schema.items is not None:
        for item in value:
            default(schema.items, item)


def validate(schema: Schema, value: Any) -> list[Cause]:
    """Everything wrong with the object, in the order of its fields. Metadata is checked elsewhere."""
    causes: list[Cause] = []
    _check(schema, value, "", causes)
    return causes


def _check(schema: Schema, value: Any, path: str, causes: list[Cause]) -> None:
    source = schema.source
    if value is None and schema.nullable:
        return
    if schema.int_or_string:
        if isinstance(value, bool) or not isinstance(value, int | str):
            causes.append(_type_cause(path, value, "integer,string"))
            return
    elif schema.type and not _is(schema.type, value):
        causes.append(_type_cause(path, value, schema.type))
        return
    if "enum" in source and value not in source["enum"]:
        causes.append(status.not_supported(path or "<nil>", value, source["enum"]))
    if isinstance(value, dict):
        _check_object(schema, value, path, causes)
    elif isinstance(value, list):
        _check_array(schema, value, path, causes)
    elif isinstance(value, str):
        _check_string(source, value, path, causes)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        _check_number(source, value, path, causes)
    _check_junctors(source, value, path, causes)


def _check_object(schema: Schema, value: dict[str, Any], path: str, causes: list[Cause]) -> None:
    source = schema.source
    causes.extend(status.required(_join(path, name)) for name in schema.required if name not in value)
    if "maxProperties" in source and len(value) > source["maxProperties"]:
        causes.append(status.invalid_value(path, value, f"must have at most {source['maxProperties']} properties"))
    if "minProperties" in source and len(value) < source["minProperties"]:
        causes.append(status.invalid_value(path, value, f"must have at least {source['minProperties']} properties"))
    for key, item in value.items():
        child = schema.of(key)
        if child is not None and not (path == "" and key == "metadata"):
            _check(child, item, _join(path, key), causes)


def _check_array(schema: Schema, value: list[Any], path: str, causes: list[Cause]) -> None:
    source = schema.source
    if "maxItems" in source and len(value) > source["maxItems"]:
        causes.append(
            Cause("FieldValueTooMany", f"Too many: {len(value)}: must have at most {source['maxItems']} items", path)
        )
    if "minItems" in source and len(value) < source["minItems"]:
        causes.append(
            status.invalid_value(path, len(value), f"{path} in body should have at least {source['minItems']} items")
        )
    if source.get("uniqueItems") or schema.list_type == "set":
        causes.extend(status.duplicate(f"{path}[{i}]", item) for i, item in enumerate(value) if item in value[:i])
    if schema.list_type == "map":
        _check_keys(schema, value, path, causes)
    if schema.items is not None:
        for index, item in enumerate(value):
            _check(schema.items, item, f"{path}[{index}]", causes)


def _check_keys(schema: Schema, value: list[Any], path: str, causes: list[Cause]) -> None:
    seen: list[dict[str, Any]] = []
    for index, item in enumerate(value):
        if isinstance(item, dict):
            key = {name: item[name] for name in schema.list_keys if name in item}
            if key in seen:
                causes.append(status.duplicate(f"{path}[{index}]", key))
            seen.append(key)


def _check_string(source: dict[str, Any], value: str, path: str, causes: list[Cause]) -> None:
    if "maxLength" in source and len(value) > source["maxLength"]:
        causes.append(Cause("FieldValueTooLong", f"Too long: may not be more than {source['maxLength']} bytes", path))
    if "minLength" in source and len(value) < source["minLength"]:
        why = f"{path} in body should be at least {source['minLength']} chars long"
        causes.append(status.invalid_value(path, value, why))
    if "pattern" in source and not _matches(source["pattern"], value):
        causes.append(status.invalid_value(path, value, f"{path} in body should match '{source['pattern']}'"))
    pattern = _FORMATS.get(source.get("format", ""))
    if pattern is not None and not pattern.fullmatch(value):
        why = f'{path} in body must be of type {source["format"]}: "{value}"'
        causes.append(status.invalid_value(path, value, why))


_FORMATS: Final = {
    "date-time": re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)"),
    "date": re.compile(r"\d{4}-\d\d-\d\d"),
    "ipv4": re.compile(r"(\d{1,3}\.){3}\d{1,3}"),
    "ipv6": re.compile(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*"),
    "cidr": re.compile(r"[0-9A-Fa-f:.]+/\d{1,3}"),
    "mac": re.compile(r"([0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}"),
    "uuid": re.compile(r"[0-9A-Fa-f]{8}-?([0-9A-Fa-f]{4}-?){3}[0-9A-Fa-f]{12}"),
    "byte": re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"),
}


def _matches(pattern: str, value: str) -> bool:
    # Go's RE2 and Python's re differ in corners nobody puts in a CRD; one Python cannot read rejects nothing.
    try:
        return re.search(pattern, value) is not None
    except re.error:
        return True


def _check_number(source: dict[str, Any], value: float, path: str, causes: list[Cause]) -> None:
    low, high = source.get("minimum"), source.get("maximum")
    if low is not None and (value < low or (value == low and source.get("exclusiveMinimum"))):
        bound = "greater than" if source.get("exclusiveMinimum") else "greater than or equal to"
        causes.append(status.invalid_value(path, value, f"{path} in body should be {bound} {low}"))
    if high is not None and (value > high or (value == high and source.get("exclusiveMaximum"))):
        bound = "less than" if source.get("exclusiveMaximum") else "less than or equal to"
        causes.append(status.invalid_value(path, value, f"{path} in body should be {bound} {high}"))
    if source.get("multipleOf") and value % source["multipleOf"]:
        causes.append(
            status.invalid_value(path, value, f"{path} in body should be a multiple of {source['multipleOf']}")
        )
    limits = {"int32": 2**31, "int64": 2**63}.get(source.get("format", ""))
    if limits is not None and not -limits <= value < limits:
        causes.append(status.invalid_value(path, value, f"{path} in body must be of type {source['format']}: {value}"))


def _check_junctors(source: dict[str, Any], value: Any, path: str, causes: list[Cause]) -> None:
    for part in source.get("allOf") or ():
        _check(_bare(part), value, path, causes)
    shown = path or "<nil>"
    if source.get("anyOf") and not any(_valid(part, value) for part in source["anyOf"]):
        causes.append(status.invalid_value(shown, value, f"{shown} in body must validate at least one schema (anyOf)"))
    if source.get("oneOf") and sum(_valid(part, value) for part in source["oneOf"]) != 1:
        causes.append(
            status.invalid_value(shown, value, f"{shown} in body must validate one and only one schema (oneOf)")
        )
    if source.get("not") is not None and _valid(source["not"], value):
        causes.append(status.invalid_value(shown, value, f"{shown} in body must not validate the schema (not)"))


def _valid(source: dict[str, Any], value: Any) -> bool:
    causes: list[Cause] = []
    _check(_bare(source), value, "", causes)
    return not causes


def _bare(source: dict[str, Any]) -> Schema:
    return schemas.compile_schema(source)


def _is(kind: str, value: Any) -> bool:
    if kind == "object":
        return isinstance(value, dict)
    if kind == "array":
        return isinstance(value, list)
    if kind == "string":
        return isinstance(value, str)
    if kind == "boolean":
        return isinstance(value, bool)
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (isinstance(value, float) and (kind == "number" or value.is_integer()))


_TYPE_NAMES: Final[dict[type, str]] = {
    dict: "object",
    list: "array",
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
}


def _type_cause(path: str, value: Any, wanted: str) -> Cause:
    shown = f'"{_TYPE_NAMES[type(value)]}"'
    message = f"Invalid value: {shown}: {path or '<nil>'} in body must be of type {wanted}: {shown}"
    return Cause("FieldValueTypeInvalid", message, path or "<nil>")


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
