"""The reflector: list, then watch, then watch again from where that ended; what keeps a cache like the server.

What always holds:

* It is the only writer of its cache, and it hands every change on, in order, exactly once.
* A watch that ends is resumed after the last resource version that was seen (bookmarks count), without a new list.
* A resource version that the server no longer has (410) means a new list. What that list lacks is told as deleted.
* Failures are waited out with a back-off that grows to half a minute, with jitter; it starts anew once something
  came through. Nothing that a server does or says ends a reflector; only cancelling its task does.

The behaviour is that of upstream's client-go reflector, as documented under "Efficient detection of changes" in the
Kubernetes API concepts. Lists are taken whole: over the local transport a page saves nothing, and upstream's own
reflector asks in a way that makes the server ignore the limit.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Protocol

import attrs

from kube_core._kit.clock import Clock
from kube_core._kit.random import Random
from kube_core.abc.transport import WatchEvent
from kube_core.client.cache import Cache, Change
from kube_core.client.client import Listing
from kube_core.meta.documents import key_of, resource_version_of
from kube_core.meta.status import Expired, Gone, NotFound, ServiceUnavailable, StatusError, TooManyRequests

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

__all__ = ["ListWatch", "Reflector"]

_FIRST_DELAY = 0.8
_LAST_DELAY = 30.0
#: A watch that delivered nothing and ended sooner than this counts as a failure, so that it cannot spin.
_SHORT_WATCH = 1.0


class ListWatch(Protocol):
    """What a reflector reads from: one selection of one resource (made by `informer.py`)."""

    async def list(self) -> Listing: ...

    def watch(self, resource_version: str) -> AsyncIterator[WatchEvent]: ...


@attrs.define
class Reflector:
    """Keeps `cache` like what `source` shows; `changed` is told of every change, `listed` of every whole list."""

    source: ListWatch
    cache: Cache
    clock: Clock
    random: Random
    log: FilteringBoundLogger
    changed: Callable[[Change], None]
    listed: Callable[[], None]
    resource_version: str = ""
    """Where the next watch starts; "" asks for a list first."""
    _failures: int = 0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                if not self.resource_version:
                    await self._list()
                if await self._watch():
                    self._failures = 0
                    continue
            except (Expired, Gone) as error:
                self.log.debug("watch fell behind; listing again", error=error.message)
                relist_at_once = self._failures == 0 and self.resource_version != ""
                self.resource_version = ""
                self._failures += 1
                if relist_at_once:
                    continue
            except (ServiceUnavailable, TooManyRequests) as error:
                self.log.debug("server unavailable", error=error.message)
            except NotFound as error:
                # The resource itself is gone, or not served yet (a CustomResourceDefinition that comes and goes).
                self.log.debug("resource is not served", error=error.message)
                self.resource_version = ""
            except StatusError as error:
                self.log.warning("list or watch failed", error=error.message, code=error.code)
                self.resource_version = ""
            except Exception:
                self.log.exception("list or watch failed")
                self.resource_version = ""
            await self.clock.sleep(self._delay())

    async def _list(self) -> None:
        listing = await self.source.list()
        for change in self.cache.replace(listing.items):
            self.changed(change)
        self.resource_version = listing.resource_version
        self.listed()

    async def _watch(self) -> bool:
        """One watch to its end; whether it did any good."""
        started = self.clock.monotonic()
        delivered = False
        events = self.source.watch(self.resource_version)
        try:
            async for event in events:
                self._take(event)
                self._failures = 0
                delivered = True
        finally:
            close = getattr(events, "aclose", None)
            if close is not None:
                await close()
        return delivered or self.clock.monotonic() - started >= _SHORT_WATCH

    def _take(self, event: WatchEvent) -> None:
        document = event.object
        if event.type in ("ADDED", "MODIFIED"):
            changes = self.cache.put(document)
        elif event.type == "DELETED":
            changes = self.cache.remove(key_of(document), document)
        else:
            changes = ()
        for change in changes:
            self.changed(change)
        self.resource_version = resource_version_of(document) or self.resource_version

    def _delay(self) -> float:
        delay = min(_FIRST_DELAY * 2.0 ** min(self._failures, 10), _LAST_DELAY)
        self._failures += 1
        return self.random.jitter(delay, 1.0)
