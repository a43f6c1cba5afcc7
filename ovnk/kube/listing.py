"""All objects of a kind at one moment, page by page: a consistent read, for whoever must not rely on a watch."""

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

import msgspec
from msgspec import Raw, Struct, field

from ovnk.errors import InvalidObject
from ovnk.kube import wire
from ovnk.kube.client import GARBAGE, ApiError, Client
from ovnk.kube.objects import Key, KubeObject

PAGE_OBJECTS = 500

V = TypeVar("V", bound=KubeObject)
T = TypeVar("T")


class Listing(Struct, Generic[V]):
    """All objects of a kind at one version: those that can be used, and why others cannot."""

    values: dict[Key, V]
    invalid: dict[Key, InvalidObject]
    version: str


async def read(
    client: Client,
    resource: wire.Resource,
    decoder: Callable[[wire.Json], V],
    selectors: Mapping[str, str] | None = None,
) -> Listing[V]:
    """A LIST without a resourceVersion, which the API server answers from what is committed at this moment.

    Raises ApiError; 410 when it took so long that its later pages are gone: start over.
    """
    query = dict(selectors or {}) | {"limit": str(PAGE_OBJECTS)}
    found: Listing[V] = Listing({}, {}, "")
    while True:
        page = parse(_PAGE, await client.request("GET", resource.path, query=query), f"list of {resource.path}")
        for raw in page.items or ():
            try:
                value = decoder(raw)
                found.values[value.key] = value
            except InvalidObject as error:
                found.invalid[error.key] = error
        if not page.metadata.proceed:
            found.version = page.metadata.resource_version
            return found
        query["continue"] = page.metadata.proceed


async def values(client: Client, resource: wire.Resource, decoder: Callable[[wire.Json], V]) -> list[V]:
    """Every object of the kind that can be used (the informer of the kind reports the others). Raises ApiError."""
    return list((await read(client, resource, decoder)).values.values())


def parse(decoder: "msgspec.json.Decoder[T]", raw: wire.Json, what: str) -> T:
    """What the API server itself has to say, not the objects in it. Raises ApiError for what cannot be read."""
    try:
        return decoder.decode(raw)
    except (ValueError, RecursionError) as error:
        raise ApiError(0, GARBAGE, f"the API server sent something that is no {what}: {error}") from error


class _Metadata(Struct, rename="camel"):
    resource_version: str
    proceed: str | None = field(name="continue", default=None)


class _Page(Struct):
    """Objects stay raw so that one that does not fit its type does not take its neighbours along."""

    metadata: _Metadata
    items: list[Raw] | None = None  # Go writes an empty slice as null


_PAGE = msgspec.json.Decoder(_Page)
