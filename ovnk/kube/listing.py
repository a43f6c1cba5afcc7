"""All objects of a kind at one moment, page by page: a consistent read, for whoever must not rely on a watch."""

from collections.abc import AsyncGenerator, Callable, Mapping
from typing import TypeVar

import msgspec
from msgspec import Raw, Struct, field

from ovnk.errors import InvalidObject
from ovnk.kube import decode
from ovnk.kube.client import ApiError, Client

V = TypeVar("V")

PAGE_OBJECTS = 500


class Page(Struct):
    """One page; objects stay raw so that one that does not fit its type does not take its neighbours along."""

    metadata: "PageMetadata"
    items: list[Raw] | None = None  # Go writes an empty slice as null


class PageMetadata(Struct, rename="camel"):
    """`proceed` is the token of the next page, if there is one."""

    resource_version: str
    proceed: str | None = field(name="continue", default=None)


async def pages(client: Client, path: str, query: Mapping[str, str]) -> AsyncGenerator[Page, None]:
    """The pages of a LIST without a resourceVersion, which the API server answers from the newest data.

    Raises ApiError; 410 when the list took so long that its later pages are gone.
    """
    query = dict(query) | {"limit": str(PAGE_OBJECTS)}
    while True:
        raw = await client.request("GET", path, query=query)
        try:
            page = _PAGE.decode(raw)
        except (ValueError, RecursionError) as error:
            raise ApiError(0, "Garbage", f"{path}: the API server sent a list that cannot be read: {error}") from error
        yield page
        if not page.metadata.proceed:
            return
        query["continue"] = page.metadata.proceed


async def values(client: Client, resource: decode.Resource, decoder: Callable[[decode.Json], V]) -> list[V]:
    """Every object of the kind that can be used. Raises ApiError."""
    found: list[V] = []
    async for page in pages(client, resource.path, {}):
        for raw in page.items or ():
            try:
                found.append(decoder(raw))
            except InvalidObject:
                continue  # the informer of the kind reports it
    return found


_PAGE = msgspec.json.Decoder(Page)
