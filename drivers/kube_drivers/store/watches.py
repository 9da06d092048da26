"""Who watches a store, and how changes get to them.

A watch begins with the past, which it reads in pieces at its own pace, while what happens meanwhile waits in its
queue; then it lives from the queue alone. The queue is bounded: a watch that has `bound` batches unread is ended
with `WatchOverrun`, and nobody else feels it. Publishing never waits. All of it happens in the event loop's thread.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from kube_core._kit.clock import turn
from kube_core.abc.store import KeyRange, Revision, StoreError, WatchBatch, WatchOverrun

__all__ = ["PIECE", "Past", "Watch", "Watches"]

#: How many revisions of the past are read at once.
PIECE = 500

#: Gives the next batches above a revision, in order, at most `PIECE`. Raises `Compacted`.
Past = Callable[[Revision], Awaitable[Sequence[WatchBatch]]]


class _Feed:
    """What waits for one watch. The store holds feeds, the reader holds the watch; so a watch that was let go ends."""

    __slots__ = ("after", "batches", "end", "keys", "waiter")

    def __init__(self, keys: KeyRange, after: Revision) -> None:
        self.keys = keys
        self.after = after
        self.batches: deque[WatchBatch] = deque()
        #: Why there will be no more: an error to raise, or `StopAsyncIteration`.
        self.end: Exception | None = None
        self.waiter: asyncio.Future[None] | None = None

    def wake(self) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


class Watches:
    """Every watch of one store."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._feeds: list[_Feed] = []

    def watch(self, keys: KeyRange, *, after: Revision, now: Revision, past: Past) -> Watch:
        """A watch of the changes above `after`, which reads those up to `now` by `past`."""
        feed = _Feed(keys, after)
        self._feeds.append(feed)
        return Watch(self, feed, after, now, past)

    def publish(self, batch: WatchBatch) -> None:
        """Hand a batch to whoever watches a part of it."""
        overrun = False
        for feed in self._feeds:
            part = _part(batch, feed.keys)
            if part is None or batch.revision <= feed.after:
                continue
            if len(feed.batches) < self._bound:
                feed.batches.append(part)
            else:
                feed.batches.clear()
                feed.end = WatchOverrun(f"the watch was ended: it had {self._bound} revisions unread")
                overrun = True
            if feed.waiter is not None:
                feed.wake()
        if overrun:
            self._feeds = [feed for feed in self._feeds if feed.end is None]

    def remove(self, feed: _Feed) -> None:
        """Forget a feed that nobody reads."""
        self._feeds = [other for other in self._feeds if other is not feed]

    def close(self) -> None:
        """End every watch, each after what it has unread."""
        for feed in self._feeds:
            feed.end = StopAsyncIteration()
            feed.wake()
        self._feeds = []

    def __len__(self) -> int:
        return len(self._feeds)


class Watch(AsyncIterator[WatchBatch]):
    """One watch, for one reader at a time."""

    def __init__(self, watches: Watches, feed: _Feed, after: Revision, now: Revision, past: Past) -> None:
        self._watches = watches
        self._feed = feed
        self._after = after
        self._now = now
        self._past = past
        self._read: deque[WatchBatch] = deque()

    async def __anext__(self) -> WatchBatch:
        feed = self._feed
        while True:
            if self._read:
                return self._read.popleft()
            if isinstance(feed.end, StoreError):
                raise feed.end
            if self._after < self._now:
                await self._read_past()
                continue
            if feed.batches:
                return feed.batches.popleft()
            if feed.end is not None:
                raise StopAsyncIteration
            feed.waiter = asyncio.get_running_loop().create_future()
            try:
                await feed.waiter
            finally:
                feed.waiter = None

    async def aclose(self) -> None:
        """End this watch."""
        self._watches.remove(self._feed)
        self._feed.batches.clear()
        self._read.clear()
        self._after = self._now
        self._feed.end = StopAsyncIteration()
        self._feed.wake()

    def __del__(self) -> None:
        self._watches.remove(self._feed)

    async def _read_past(self) -> None:
        try:
            batches = await self._past(self._after)
        except StoreError as error:
            self._watches.remove(self._feed)
            self._feed.end = error
            raise
        for batch in batches:
            if batch.revision > self._now:
                break
            part = _part(batch, self._feed.keys)
            if part is not None:
                self._read.append(part)
        if not self._read:
            await turn()
        self._after = batches[-1].revision if batches else self._now


def _part(batch: WatchBatch, keys: KeyRange) -> WatchBatch | None:
    """What of a batch lies in a range; the batch itself, where all of it does."""
    changes = batch.changes
    if len(changes) == 1:
        return batch if keys.start <= changes[0].key < keys.end else None
    within = [change for change in changes if keys.start <= change.key < keys.end]
    if len(within) == len(changes):
        return batch
    return WatchBatch(batch.revision, within) if within else None
