"""What a list answers: which objects, of which revision, and where its next page begins.

A list of the present comes from the watch cache; one of the past (a continue token, an exact resource version) from
the store. All pages of a list are of one revision. When that is compacted, the next page is answered with 410 and
another token, with which the list goes on with what there is now, inconsistently, if the client would rather have that.

Called by the verbs `list` and `deletecollection`. Mirrors "Resource versions" and "Retrieving large results sets in
chunks" in upstream's API concepts.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from kube_core.apiserver.selecting import Selection
from kube_core.bus.changes import Stored
from kube_core.meta.documents import Key
from kube_core.meta.status import BadRequest, Expired, Timeout
from kube_core.registry.generic import Registry
from kube_core.registry.options import LATEST, ContinueToken, ListOptions, parse_revision
from kube_core.storage.keys import store_key

__all__ = ["Listed", "find", "too_large"]

_INCONSISTENT = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)


@attrs.frozen
class Listed:
    """A list, or a page of one. `continue_token` is "" and `remaining` 0 at its end."""

    items: Sequence[Stored]
    revision: int
    continue_token: str = ""
    #: How many objects follow; 0 also where nobody knows, because a selector is at work.
    remaining: int = 0


async def find(registry: Registry, selection: Selection, options: ListOptions) -> Listed:
    """The list that the options ask for. Raises `BadRequest`, `Expired`, `Timeout`."""
    cache = registry.objects.cache
    await cache.caught_up()
    exact = options.resource_version_match == "Exact"
    asked = options.resource_version
    wanted = parse_revision(asked)
    if options.continue_token:
        token = ContinueToken.decode(options.continue_token)
        if asked not in ("", "0"):
            raise BadRequest("specifying resource version is not allowed when using continue")
        return await _past(registry, selection, token.revision, options.limit, token.start)
    if wanted > cache.revision:
        raise too_large(wanted, cache.revision)
    # A limited list at a resource version is of exactly that version, as upstream serves it.
    if exact or (options.limit and asked not in ("", "0") and not options.resource_version_match):
        return await _past(registry, selection, wanted, options.limit, "")
    return await _present(registry, selection, 0 if asked == "0" else options.limit)


def too_large(revision: int, current: int) -> Timeout:
    """What a client is told that knows of a revision which this server has not reached."""
    cause = "Too large resource version"
    return Timeout(
        f"Timeout: {cause}: {revision}, current: {current}",
        details={"causes": [{"reason": "ResourceVersionTooLarge", "message": cause}], "retryAfterSeconds": 1},
    )


async def _present(registry: Registry, selection: Selection, limit: int) -> Listed:
    """The first page of what there is now; all of it where `limit` is 0."""
    revision = registry.objects.cache.revision
    if selection.name and (selection.namespace or not registry.type.namespaced):
        found = registry.cache.get(Key(selection.namespace, selection.name))
        matched: Sequence[Stored] = [found] if found is not None else []
    else:
        matched = registry.cache.list(selection.namespace)
    fetched = len(matched)
    matched = await selection.among(matched)
    registry.cache.was_listed(selection.namespace, fetched, min(len(matched), limit or fetched))
    if not limit or len(matched) <= limit:
        return Listed(matched, revision)
    page = matched[:limit]
    start = store_key(registry.stored_as, page[-1].key) + "\0"
    remaining = len(matched) - len(page) if selection.everything else 0
    return Listed(page, revision, ContinueToken(revision, start).encode(), remaining)


async def _past(registry: Registry, selection: Selection, revision: int, limit: int, start: str) -> Listed:
    """A page of the list as it was at a revision (`LATEST`: as it is), read from the store."""
    if revision > registry.objects.cache.revision:
        raise too_large(revision, registry.objects.cache.revision)
    found: list[Stored] = []
    while True:
        try:
            page = await registry.objects.page(
                registry.stored_as, selection.namespace, revision=max(revision, 0), limit=limit, start=start
            )
        except Expired as error:
            if not start:
                raise
            gone = Expired(_INCONSISTENT)
            gone.continue_token = ContinueToken(LATEST, start).encode()
            raise gone from error
        found += await selection.among(page.items)
        revision = page.revision
        if page.next_key is None:
            return Listed(found, revision)
        if len(found) >= limit:
            token = ContinueToken(revision, page.next_key).encode()
            return Listed(found, revision, token, page.remaining if selection.everything else 0)
        start = page.next_key
