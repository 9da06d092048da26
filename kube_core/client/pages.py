"""Lists: one page, or every object, page after page.

`ApiClient.list` returns a `Pages`. Awaiting it asks once and gives a `Listing` (the whole list, unless `limit` was
given); iterating over it gives object after object, fetching pages as they are needed, so that a large list is never
in memory as a whole:

    listing = await client.list(core.Pod)
    async for pod in client.list(core.Pod):
        ...

What iterating promises: every object that is there from the first page to the last is given exactly once. Pages show
one moment, that of the first. Where the server has forgotten that moment (410), it offers to go on with what there is
now, which is taken; where it offers nothing, the list starts again and skips what was given. Upstream documents this
under "Retrieving large results sets in chunks".
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Sequence
from typing import Any, Generic, TypeVar

import attrs

from kube_core.meta.status import Expired, Gone

__all__ = ["Listing", "Pages"]

T = TypeVar("T")

#: How many objects a page has when nobody says so; kubectl's own figure.
_PAGE = 500


@attrs.frozen
class Listing(Generic[T]):
    """A list as of one resource version. `continue_token` is "" on the last page."""

    items: Sequence[T]
    resource_version: str
    continue_token: str = ""
    remaining: int | None = None


class Pages(Generic[T]):
    """A list that was asked for. `fetch(limit, continue_token)` gets one page."""

    def __init__(
        self,
        fetch: Callable[[int, str], Awaitable[Listing[T]]],
        identify: Callable[[T], Any],
        *,
        limit: int = 0,
        continue_token: str = "",
    ) -> None:
        self._fetch = fetch
        self._identify = identify
        self._limit = limit
        self._token = continue_token

    def __await__(self) -> Generator[Any, None, Listing[T]]:
        return self._fetch(self._limit, self._token).__await__()

    async def __aiter__(self) -> AsyncIterator[T]:
        token = self._token
        seen: set[Any] = set()
        again = False
        while True:
            try:
                page = await self._fetch(self._limit or _PAGE, token)
            except (Expired, Gone) as error:
                if not token:
                    raise
                token, again = getattr(error, "continue_token", ""), True
                continue
            for item in page.items:
                identity = self._identify(item)
                if not (again and identity in seen):
                    yield item
                seen.add(identity)
            token = page.continue_token
            if not token:
                return
