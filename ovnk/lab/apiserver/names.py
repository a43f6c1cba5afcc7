"""Names, labels, annotations, owners and finalizers: the rules of every object's metadata.

The patterns and messages are apimachinery's (pkg/util/validation).
"""

import re
from typing import Any, Final

from ovnk.lab.apiserver import status
from ovnk.lab.apiserver.kinds import Kind
from ovnk.lab.apiserver.status import Cause

Object = dict[str, Any]

_LABEL: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*")
_QUALIFIED_PART: Final = re.compile(r"(?:[A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_LABEL_VALUE: Final = re.compile(r"(?:(?:[A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")

_LABEL_WHY: Final = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_SUBDOMAIN_WHY: Final = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_QUALIFIED_WHY: Final = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_LABEL_VALUE_WHY: Final = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)

# Kinds named by a DNS label (63 characters, no dots), and kinds whose names are any path segment.
_LABEL_NAMED: Final = frozenset({("", "Namespace"), ("", "Service")})
_PATH_NAMED: Final = frozenset(
    ("rbac.authorization.k8s.io", kind) for kind in ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
)


def name_causes(kind: Kind, name: str, field: str = "metadata.name") -> list[Cause]:
    """What is wrong with an object's name."""
    if (kind.group, kind.kind) in _PATH_NAMED:
        if name in (".", "..") or "/" in name or "%" in name:
            return [status.invalid_value(field, name, "may not contain '/' or '%' or be '.' or '..'")]
        return []
    if (kind.group, kind.kind) in _LABEL_NAMED:
        return label_causes(name, field)
    return _subdomain(name, field)


def label_causes(name: str, field: str) -> list[Cause]:
    """What keeps a name from being an RFC 1123 label."""
    if len(name) > 63:
        return [status.invalid_value(field, name, "must be no more than 63 bytes")]
    return [] if _LABEL.fullmatch(name) else [status.invalid_value(field, name, _LABEL_WHY)]


def _subdomain(name: str, field: str) -> list[Cause]:
    if len(name) > 253:
        return [status.invalid_value(field, name, "must be no more than 253 bytes")]
    return [] if _SUBDOMAIN.fullmatch(name) else [status.invalid_value(field, name, _SUBDOMAIN_WHY)]


def metadata_causes(kind: Kind, metadata: Object) -> list[Cause]:
    """Everything wrong with an object's metadata."""
    causes = name_causes(kind, metadata["name"])
    for key, label in (metadata.get("labels") or {}).items():
        causes.extend(_qualified(key, "metadata.labels"))
        if len(label) > 63:
            causes.append(status.invalid_value("metadata.labels", label, "must be no more than 63 bytes"))
        elif not _LABEL_VALUE.fullmatch(label):
            causes.append(status.invalid_value("metadata.labels", label, _LABEL_VALUE_WHY))
    size_bytes = 0
    for key, text in (metadata.get("annotations") or {}).items():
        causes.extend(_qualified(key.lower(), "metadata.annotations"))
        size_bytes += len(key) + len(text)
    if size_bytes > 256 * 1024:
        causes.append(Cause("FieldValueTooLong", "Too long: may not be more than 262144 bytes", "metadata.annotations"))
    for index, owner in enumerate(metadata.get("ownerReferences") or ()):
        causes.extend(
            status.required(f"metadata.ownerReferences[{index}].{name}", "must not be empty")
            for name in ("apiVersion", "kind", "name", "uid")
            if not owner.get(name)
        )
    for finalizer in metadata.get("finalizers") or ():
        causes.extend(_qualified(finalizer, "metadata.finalizers"))
    return causes


def _qualified(name: str, field: str) -> list[Cause]:
    prefix, slash, part = name.rpartition("/")
    if slash and (len(prefix) > 253 or not _SUBDOMAIN.fullmatch(prefix)):
        return [status.invalid_value(field, name, f"prefix part {_SUBDOMAIN_WHY}")]
    if len(part) > 63:
        return [status.invalid_value(field, name, "name part must be no more than 63 bytes")]
    return [] if _QUALIFIED_PART.fullmatch(part) else [status.invalid_value(field, name, _QUALIFIED_WHY)]
