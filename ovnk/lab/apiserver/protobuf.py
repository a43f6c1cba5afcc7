"""Kubernetes' protobuf bodies, read: what typed Go clients send (`kubectl create deployment`, `kubectl auth can-i`).

Answers are JSON all the same, which those clients accept. protobuf_fields.json says which number is which field
(Kubernetes' published definitions: {"MESSAGE": {"NUMBER": "FIELD"}}, ">MESSAGE" where JSON inlines it); what a field
is made of, its OpenAPI schema says. Messages of apiextensions are not read.
"""

import base64
import datetime
import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import orjson

from ovnk.lab.apiserver import schemas
from ovnk.lab.apiserver.schemas import REFERENCE

Object = dict[str, Any]
Source = dict[str, Any]

MEDIA_TYPE: Final = "application/vnd.kubernetes.protobuf"
_MAGIC: Final = b"k8s\x00"
_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1"
_TIMES: Final = frozenset({f"{_META}.Time", f"{_META}.MicroTime"})
_INT_OR_STRING: Final = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
# The one-field messages around raw JSON.
_RAW: Final = frozenset({f"{_META}.FieldsV1", "io.k8s.apimachinery.pkg.runtime.RawExtension"})

# Go writes every field that is not a pointer, zero or not, and the wire does not tell them apart. A zero is taken as
# absent, as in JSON, but in these fields, which are pointers and where zero is something else than absent.
_MEANT_ZERO: Final = frozenset(
    {
        "activeDeadlineSeconds",
        "allocateLoadBalancerNodePorts",
        "allowPrivilegeEscalation",
        "automountServiceAccountToken",
        "backoffLimit",
        "completions",
        "controller",
        "enableServiceLinks",
        "failedJobsHistoryLimit",
        "gracePeriodSeconds",
        "hostUsers",
        "parallelism",
        "partition",
        "port",
        "priority",
        "ready",
        "replicas",
        "revisionHistoryLimit",
        "runAsGroup",
        "runAsUser",
        "serving",
        "successfulJobsHistoryLimit",
        "terminationGracePeriodSeconds",
        "tolerationSeconds",
        "ttlSecondsAfterFinished",
        "value",
    }
)


def decode(content: bytes) -> Object:
    """The object in the envelope, as its JSON form. Raises ValueError when it is none, or of a kind not read."""
    if not content.startswith(_MAGIC):
        raise ValueError("it does not start with k8s and a zero byte")
    try:
        envelope = dict(_fields(content[len(_MAGIC) :]))
        type_meta = {number: bytes(value).decode() for number, value in _fields(envelope.get(1, b""))}
        api_version, kind = type_meta.get(1, ""), type_meta.get(2, "")
        message = _message_of(api_version, kind)
        decoded = _message(message, schemas.built_in_sources()[message], envelope.get(2, b""))
    except (IndexError, struct.error, UnicodeDecodeError, TypeError, OverflowError) as error:
        raise ValueError(f"it is not a message of its kind: {error}") from error
    return {**decoded, "apiVersion": api_version, "kind": kind}


def _message_of(api_version: str, kind: str) -> str:
    """The definition of a kind in the envelope. Raises ValueError when it is not read."""
    if kind == "DeleteOptions":
        return f"{_META}.DeleteOptions"
    group, _, version = api_version.rpartition("/")
    package = group.removesuffix(".k8s.io").removesuffix(".authorization") or "core"
    name = f"io.k8s.api.{package}.{version}.{kind}"
    if name not in _table():
        raise ValueError(f"{kind} of {api_version} is not read as protobuf")
    return name


@cache
def _table() -> dict[str, dict[str, str]]:
    loaded: dict[str, dict[str, str]] = orjson.loads(Path(__file__).with_name("protobuf_fields.json").read_bytes())
    return loaded


def _message(name: str, source: Source, content: bytes) -> Object:
    """One message as a JSON object; `source` is the schema whose properties its fields are."""
    numbers = _table().get(name, {})
    properties: Source = source.get("properties") or {}
    result: Object = {}
    for number, value in _fields(content):
        field = numbers.get(str(number))
        if field is None:
            continue
        if field.startswith(">"):
            result.update(_message(field[1:], source, value))
            continue
        schema = properties[field]
        if schema.get("type") == "array":
            result.setdefault(field, []).append(_value(schema["items"], value, ""))
        elif schema.get("type") == "object" and "additionalProperties" in schema:
            entry = dict(_fields(value))
            shown = _value(schema["additionalProperties"], entry.get(2, b""), "")
            result.setdefault(field, {})[bytes(entry.get(1, b"")).decode()] = "" if shown is None else shown
        else:
            shown = _value(schema, value, field)
            if shown is not None:
                result[field] = shown
    return result


def _value(source: Source, value: Any, field: str) -> Any:
    """One value by its schema; None when it stands for nothing. `field` is "" in a list or map, where zeros count."""
    name = source.get("$ref", "").removeprefix(REFERENCE)
    if name:
        return _defined(name, value, field)
    kind = source.get("type")
    if kind == "string":
        if source.get("format") == "byte":
            return base64.b64encode(value).decode()
        return bytes(value).decode() or (None if field else "")
    if kind == "array":
        # A list that is a map's value is a message around it (ExtraValue).
        return [_value(source["items"], item, "") for _, item in _fields(value)]
    counts = not field or field in _MEANT_ZERO
    if kind == "boolean":
        return bool(value) if value or counts else None
    if kind == "integer":
        return _signed(value) if value or counts else None
    if kind == "number":
        return struct.unpack("<d", value)[0]
    return None


def _defined(name: str, value: bytes, field: str) -> Any:
    if name in _TIMES:
        return _time(value, micro=name.endswith("MicroTime"))
    if name in _RAW:
        raw = dict(_fields(value)).get(1)
        return orjson.loads(raw) if raw else None
    if name == _INT_OR_STRING:
        parts = dict(_fields(value))
        shown = bytes(parts.get(3, b"")).decode() if parts.get(1) else _signed(parts.get(2, 0))
        return shown or (shown if not field or field in _MEANT_ZERO else None)
    if name.endswith("resource.Quantity"):
        return bytes(dict(_fields(value)).get(1, b"0")).decode()
    source = schemas.built_in_sources()[name]
    if not source.get("properties"):
        return None
    # An empty one counts: a pointer to nothing but zeros, as in `podSelector: {}`, says something else than none.
    return _message(name, source, value)


def _time(value: bytes, *, micro: bool) -> str | None:
    parts = dict(_fields(value))
    if not parts:
        return None
    moment = datetime.datetime.fromtimestamp(_signed(parts.get(1, 0)), datetime.UTC)
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{_signed(parts.get(2, 0)) // 1000:06}Z" if micro else text + "Z"


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _fields(content: bytes) -> Iterator[tuple[int, Any]]:
    """(field number, int or bytes) of a message. Raises ValueError or IndexError when it is cut short."""
    position, end = 0, len(content)
    while position < end:
        tag, position = _varint(content, position)
        wire = tag & 7
        value: int | bytes
        if wire == 0:
            value, position = _varint(content, position)
        else:
            if wire == 2:
                length, position = _varint(content, position)
            elif wire in (1, 5):
                length = 8 if wire == 1 else 4
            else:
                raise ValueError(f"wire type {wire} is not used by Kubernetes")
            if position + length > end:
                raise ValueError("a field is cut short")
            value = content[position : position + length]
            position += length
        yield tag >> 3, value


def _varint(content: bytes, position: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        byte = content[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, position
        shift += 7
        if shift > 63:
            raise ValueError("a number is longer than 64 bits")
