"""What every decoder shares: JSON in, checked names, labels and addresses out, or InvalidObject that names the field.

Only the fields that are used are decoded: msgspec skips the rest without building it, so that 5.3 KB of Pod cost
11 µs and 0.9 KB (measured, 10,000 pods). Every part may be absent or null, since a manifest on disk has not been
through an API server. Which kinds there are is said in decode.py.
"""

import ipaddress
import re
import sys
from functools import lru_cache
from typing import TypeVar

import msgspec
from msgspec import Raw, Struct, field

from ovnk.errors import InvalidObject
from ovnk.kube.objects import Key, Labels

Json = bytes | Raw

# A name's characters and its length at most: RFC 1123, as the API server checks it. A '/' or ':' in a name could pass
# for another port's iface-id.
NameRule = tuple[re.Pattern[str], int]
LABEL: NameRule = (re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"), 63)
SUBDOMAIN: NameRule = (re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?"), 253)


class Resource(Struct, frozen=True):
    """A kind and where the API lists it ("/api/v1/pods", or a namespace's "/api/v1/namespaces/shop/pods").

    `otherwise` are paths of other versions of the same, for a server that does not serve the first.
    """

    path: str
    kind: type
    otherwise: tuple[str, ...] = ()


class Identity(Struct, frozen=True):
    """What every object has, whatever else is wrong with it. Absent parts are ""."""

    key: Key
    uid: str
    resource_version: str


class Annotations(Struct, gc=False):
    """The annotations that are read, of any kind."""

    config_hash: str | None = field(name="kubernetes.io/config.hash", default=None)
    config_mirror: str | None = field(name="kubernetes.io/config.mirror", default=None)
    load_balancer_ips: str | None = field(name="ovnk.io/load-balancer-ips", default=None)
    log: str | None = field(name="ovnk.io/log", default=None)


class Metadata(Struct, rename="camel", gc=False):
    """ObjectMeta, as far as it is read."""

    name: str | None = None
    namespace: str | None = None
    uid: str | None = None
    resource_version: str | None = None
    generation: int | None = None
    creation_timestamp: str | None = None
    labels: dict[str, str] | None = None
    annotations: Annotations | None = None


class Identified(Struct, gc=False):
    """Any object, of which nothing but its metadata is read."""

    metadata: Metadata | None = None


IDENTIFIED = msgspec.json.Decoder(Identified)

Wire = TypeVar("Wire")


def identity(raw: Json) -> Identity:
    """The object's key, uid and version; all "" when there is no metadata to be read."""
    try:
        metadata = IDENTIFIED.decode(raw).metadata or Metadata()
    except (ValueError, RecursionError):
        return Identity("", "", "")
    name, namespace = metadata.name or "", metadata.namespace or ""
    key = f"{namespace}/{name}" if namespace else name
    return Identity(key, metadata.uid or "", metadata.resource_version or "")


def decode(kind: type, decoder: "msgspec.json.Decoder[Wire]", raw: Json) -> Wire:
    """`raw` as the decoder's type. Raises InvalidObject of `kind`, with the path where it does not fit."""
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        path = where.rstrip("`").lstrip(".") or "object"
        raise invalid(kind, raw, path, f"cannot be used: {what[0].lower()}{what[1:]}") from None
    except (ValueError, RecursionError) as error:  # malformed JSON, bytes that are not UTF-8, nesting without end
        raise invalid(kind, raw, "object", f"is not JSON that can be read: {error}") from None


def invalid(kind: type, raw: Json, path: str, why: str) -> InvalidObject:
    """The error to raise about the field at `path` of the object in `raw`."""
    found = identity(raw)
    return InvalidObject(kind.__name__, found.key, path, why, found.uid)


def name(kind: type, raw: Json, text: str | None, rule: NameRule, path: str = "metadata.name") -> str:
    """The name, checked. Raises InvalidObject."""
    pattern, length = rule
    if not text:
        raise invalid(kind, raw, path, "is missing")
    if len(text) > length or not pattern.fullmatch(text):
        why = f'"{text}" is not a name: at most {length} of a–z, 0–9, "-" and, where dots are allowed, "."'
        raise invalid(kind, raw, path, why)
    # The same namespace a thousand times is one string.
    return sys.intern(text) if rule is LABEL else text


def namespace(kind: type, raw: Json, metadata: Metadata) -> str:
    """The namespace, checked. Raises InvalidObject.

    A manifest that names none goes to "default", as with kubectl; the API always names one.
    """
    return name(kind, raw, metadata.namespace or "default", LABEL, "metadata.namespace")


def labels(given: dict[str, str] | None) -> Labels:
    """Labels as sorted pairs; those of a Deployment's pods are one value."""
    return _shared(tuple(sorted((given or {}).items())))


@lru_cache(4096)
def _shared(labels: Labels) -> Labels:
    return tuple((sys.intern(key), sys.intern(value)) for key, value in labels)


def family(address: str) -> int:
    """4 or 6, of an address or network that has been checked."""
    return 6 if ":" in address else 4


def address(kind: type, raw: Json, path: str, text: str) -> str:
    """The address in its canonical form ("FD00::01" → "fd00::1"); one with a zone ("fe80::1%eth0") is none.

    Raises InvalidObject.
    """
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        raise invalid(kind, raw, path, f'"{text}" is not an IP address') from None
    if "%" in text:
        raise invalid(kind, raw, path, f'"{text}" has a zone, which means nothing to another machine')
    return str(parsed)
