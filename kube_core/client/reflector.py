"""The reflector: list, then watch, then watch again from where that ended; what keeps a cache like the server.

What always holds:

* It is the only writer of its cache, and it hands every change on, in order, exactly once.
* A watch that ends is resumed after the last resource version that was seen (bookmarks count), without a new list.
* A resource version that the server no longer has (410) means a new list. What that list lacks is told as deleted.
* Failures are waited out with a back-off that grows to half a minute, with jitter; it starts anew once something
  came through. Nothing that a server does or says ends a reflector, unless it `gives_up`; only cancelling its task
  does.

The behaviour is that of upstream's client-go reflector, as documented under "Efficient detection of changes" in the
Kubernetes API concepts. Lists are taken whole: over the local transport a page saves nothing, and upstream's own
reflector asks in a way that makes the server ignore the limit.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import attrs

from kube_core._kit.clock import Clock
from kube_core._kit.random import Random
from kube_core.abc.transport import WatchEvent
from kube_core.client.cache import Cache, Change
from kube_core.client.pages import Listing
from kube_core.meta.documents import Document, key_of, resource_version_of
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

    async def list(self) -> Listing[Document]: ...

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
    gives_up: bool = False
    """Whether what will not pass by itself (forbidden, not served) is raised, and not waited out."""
    unserved: bool = False
    """Whether the server has answered that there is no such resource."""
    answered: asyncio.Event = attrs.field(factory=asyncio.Event)
    """Set once the server has given a list, or has answered that."""
    _failures: int = 0
    _wake: asyncio.Event = attrs.field(factory=asyncio.Event)

    def retry(self) -> None:
        """The resource is served now: do not wait for the next try."""
        if self.unserved:
            self.unserved = False
            self.answered.clear()
            self._failures = 0
            self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        async for changes in self.follow():
            for change in changes:
                self.changed(change)

    async def follow(self) -> AsyncGenerator[Sequence[Change], None]:
        """The changes, those of a list or of an event at a time, for who takes them at a pace of their own.

        Only the next step goes on from what was given here: nothing is read ahead.
        """
        while True:
            try:
                if not self.resource_version:
                    listing = await self.source.list()
                    yield self.cache.replace(listing.items)
                    self.resource_version = listing.resource_version
                    self.unserved = False
                    self.answered.set()
                    self.listed()
                good = False
                started = self.clock.monotonic()
                events = self.source.watch(self.resource_version)
                try:
                    async for event in events:
                        if changes := self._take(event):
                            yield changes
                        self.resource_version = resource_version_of(event.object) or self.resource_version
                        self._failures = 0
                        good = True
                finally:
                    close = getattr(events, "aclose", None)
                    if close is not None:
                        await close()
                if good or self.clock.monotonic() - started >= _SHORT_WATCH:
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
                if self.gives_up:
                    raise
                self.log.debug("resource is not served", error=error.message)
                self.resource_version = ""
                self.unserved = True
                self.answered.set()
            except StatusError as error:
                if self.gives_up and error.code < 500:
                    raise
                self.log.warning("list or watch failed", error=error.message, code=error.code)
                self.resource_version = ""
            except Exception:
                if self.gives_up:
                    raise
                self.log.exception("list or watch failed")
                self.resource_version = ""
            await self._pause()

    def _take(self, event: WatchEvent) -> Sequence[Change]:
        if event.type in ("ADDED", "MODIFIED"):
            return self.cache.put(event.object)
        if event.type == "DELETED":
            return self.cache.remove(key_of(event.object), event.object)
        return ()

    async def _pause(self) -> None:
        """Wait before the next try, or until `retry`."""
        self._wake.clear()
        timer = self.clock.call_later(self._delay(), self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()

    def _delay(self) -> float:
        delay = min(_FIRST_DELAY * 2.0 ** min(self._failures, 10), _LAST_DELAY)
        self._failures += 1
        return self.random.jitter(delay, 1.0)
