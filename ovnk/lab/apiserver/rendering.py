"""Objects and pages of them as the client asked to see them: whole, as metadata alone, or as a table. All as JSON."""

from typing import Any

import orjson

from ovnk.lab.apiserver import listing, representation, tables
from ovnk.lab.apiserver.kinds import Kind
from ovnk.lab.apiserver.negotiation import Accepted
from ovnk.lab.apiserver.stored import Stored

Object = dict[str, Any]


def one(kind: Kind, stored: Stored, accepted: Accepted) -> bytes:
    """One object."""
    if accepted.shape == "table":
        shown = [representation.value(kind, stored)]
        return orjson.dumps(tables.table(kind, shown, str(stored.version), include=accepted.include))
    if accepted.shape == "metadata":
        return orjson.dumps(tables.partial(stored.value))
    return representation.encoded(kind, stored)


def page(kind: Kind, listed: listing.Page, accepted: Accepted) -> bytes:
    """A page of a list, joined from its objects' own JSON where they are shown whole."""
    metadata: Object = {"resourceVersion": str(listed.version)}
    if listed.token:
        metadata["continue"] = listed.token
    if listed.remaining is not None:
        metadata["remainingItemCount"] = listed.remaining
    if accepted.shape == "table":
        values = [representation.value(kind, stored) for stored in listed.items]
        shown = tables.table(kind, values, str(listed.version), include=accepted.include)
        return orjson.dumps({**shown, "metadata": metadata})
    if accepted.shape == "metadata":
        partials = [tables.partial(stored.value) for stored in listed.items]
        head = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}
        return orjson.dumps({**head, "items": partials})
    head = {"kind": kind.list_kind, "apiVersion": kind.api_version, "metadata": metadata}
    items = b",".join(representation.encoded(kind, stored) for stored in listed.items)
    return orjson.dumps(head)[:-1] + b',"items":[' + items + b"]}"
