"""Built-in objects as a Go server reads them: typed, without nulls, and without fields it does not know.

For custom resources structural.py does the same with their own schemas. Values are changed in place: they come fresh
from a request. Rules about values (names, ports, immutable fields) are validation.py's.
"""

import re
from functools import cache
from typing import Any, Final

from ovnk.lab.apiserver.schemas import Schema


class WrongType(Exception):  # noqa: N818  the fault of who sent it
    """A field holds JSON of another type; the message is encoding/json's."""


def decode(schema: Schema, value: dict[str, Any], unknown: list[str]) -> None:
    """Make `value` what its schema allows: nulls and unknown fields go (their paths are added to `unknown`),
    quantities become strings. Raises WrongType.
    """
    _object(schema, value, "", unknown)


def missing(schema: Schema, value: dict[str, Any]) -> list[str]:
    """The paths of fields that must be there and are not, outside status, which its writers may fill as they like."""
    found: list[str] = []
    _missing(schema, {key: item for key, item in value.items() if key != "status"}, "", found)
    return found


def _missing(schema: Schema, value: Any, path: str, found: list[str]) -> None:
    if isinstance(value, dict):
        found.extend(f"{path}.{name}" if path else name for name in schema.required if name not in value)
        for key, item in value.items():
            child = schema.of(key)
            if child is not None and _demands(child):
                _missing(child, item, f"{path}.{key}" if path else key, found)
    elif isinstance(value, list) and schema.items is not None:
        for index, item in enumerate(value):
            _missing(schema.items, item, f"{path}[{index}]", found)


@cache
def _demands(schema: Schema) -> bool:
    """Whether anything at or below a place in a built-in object must be there: most of it need not be looked at."""
    below = [*schema.properties.values(), *(one for one in (schema.values, schema.items) if one is not None)]
    return bool(schema.required) or any(_demands(child) for child in below)


def _object(schema: Schema, value: dict[str, Any], path: str, unknown: list[str]) -> None:
    properties, values = schema.properties, schema.values
    for key in list(value):
        item = value[key]
        child = properties.get(key) or values
        if child is None:
            if not schema.preserve_unknown:
                unknown.append(f"{path}.{key}" if path else key)
                del value[key]
        elif item is None:
            if not child.preserve_unknown:
                del value[key]
        elif type(item) is not child.leaf:
            value[key] = _value(child, item, f"{path}.{key}" if path else key, unknown)


def _value(schema: Schema, value: Any, path: str, unknown: list[str]) -> Any:
    if schema.type == "object":
        if not isinstance(value, dict):
            raise _wrong(schema, value, path)
        _object(schema, value, path, unknown)
    elif schema.type == "array":
        if not isinstance(value, list):
            raise _wrong(schema, value, path)
        items = schema.items
        if items is not None:
            for index, item in enumerate(value):
                if type(item) is not items.leaf:
                    value[index] = _value(items, item, f"{path}[{index}]", unknown)
    elif schema.int_or_string:
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise _wrong(schema, value, path)
    elif schema.type == "integer":
        _check_integer(schema, value, path)
    elif schema.type == "string":
        return _string(schema, value, path)
    elif (schema.type == "boolean" and not isinstance(value, bool)) or (
        schema.type == "number" and (isinstance(value, bool) or not isinstance(value, int | float))
    ):
        raise _wrong(schema, value, path)
    return value


_QUANTITY: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+|[numkMGTPE]|[KMGTPE]i)?")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")
_BASE64: Final = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_INT32_MAX: Final = 2**31 - 1


def _string(schema: Schema, value: Any, path: str) -> str:
    if schema.format == "quantity" and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise _wrong(schema, value, path)
    if schema.format == "quantity" and not _QUANTITY.fullmatch(value):
        raise WrongType(
            f"{path}: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        )
    if schema.format == "date-time" and not _TIME.fullmatch(value):
        raise WrongType(f'{path}: parsing time "{value}" as "2006-01-02T15:04:05Z07:00": cannot parse it')
    if schema.format == "byte" and not _BASE64.fullmatch(value.replace("\n", "").replace("\r", "")):
        raise WrongType(f"{path}: illegal base64 data")
    return value


def _check_integer(schema: Schema, value: Any, path: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong(schema, value, path)
    if schema.format == "int32" and not -_INT32_MAX - 1 <= value <= _INT32_MAX:
        raise WrongType(f"json: cannot unmarshal number {value} into Go struct field {path} of type int32")


_JSON_NAMES: Final[dict[type, str]] = {
    dict: "object",
    list: "array",
    str: "string",
    bool: "bool",
    int: "number",
    float: "number",
    type(None): "null",
}
_GO_NAMES: Final = {"object": "struct", "array": "slice", "string": "string", "boolean": "bool", "number": "float64"}


def _wrong(schema: Schema, value: Any, path: str) -> WrongType:
    wanted = "IntOrString" if schema.int_or_string else _GO_NAMES.get(schema.type, schema.format or "int64")
    return WrongType(f"json: cannot unmarshal {_JSON_NAMES[type(value)]} into Go struct field {path} of type {wanted}")
