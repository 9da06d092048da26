"""One to many within a process: each subscriber gets every item that is sent after it came, in order.

What always holds: sending never waits and never fails; a subscriber that has `bound` items unread is cut off (its
next read raises `Lagged`) and the others feel nothing; a subscriber that was let go of costs nothing more.

It belongs to one event loop. Filtering, history and indexes are not its business: the bus of the API server has its
own fan-out, because there they decide everything.
"""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType
from typing import Generic, Self, TypeVar

__all__ = ["Broadcast", "Lagged", "Receiver"]

T = TypeVar("T")


class Lagged(Exception):
    """The subscriber was too slow and was cut off."""


class Broadcast(Generic[T]):
    """The sending end."""

    def __init__(self, bound: int = 1024) -> None:
        if bound < 1:
            raise ValueError(f"a subscriber needs room for at least one item, not {bound}")
        self._bound = bound
        self._receivers: list[Receiver[T]] = []
        self._closed = False

    def __len__(self) -> int:
        """How many subscribers there are."""
        return len(self._receivers)

    def subscribe(self, bound: int | None = None) -> Receiver[T]:
        """A new subscriber, with room for `bound` unread items. After `close` it ends at once."""
        receiver = Receiver(self, bound or self._bound)
        if self._closed:
            receiver._finish(None)
        else:
            self._receivers.append(receiver)
        return receiver

    def send(self, item: T) -> None:
        """Hand the item to every subscriber. Does nothing after `close`."""
        cut_off = False
        for receiver in self._receivers:
            if not receiver._offer(item):
                receiver._finish(Lagged(f"the subscriber was cut off: it had {receiver._bound} items unread"))
                cut_off = True
        if cut_off:
            self._receivers = [receiver for receiver in self._receivers if not receiver._finished]

    def close(self) -> None:
        """No more items: every subscriber ends after what it has unread."""
        self._closed = True
        for receiver in self._receivers:
            receiver._finish(None)
        self._receivers = []

    def _remove(self, receiver: Receiver[T]) -> None:
        self._receivers = [other for other in self._receivers if other is not receiver]


class Receiver(Generic[T]):
    """The receiving end, for one reader at a time: `async with broadcast.subscribe() as items: …`.

    Raises `Lagged` in place of the items that it missed.
    """

    def __init__(self, broadcast: Broadcast[T], bound: int) -> None:
        self._broadcast = broadcast
        self._bound = bound
        self._items: deque[T] = deque()
        self._finished = False
        self._failure: Lagged | None = None
        self._waiter: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        """How many items are unread."""
        return len(self._items)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while not self._items:
            if self._failure is not None:
                raise self._failure
            if self._finished:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._items.popleft()

    def close(self) -> None:
        """Stop receiving; what is unread is dropped."""
        self._broadcast._remove(self)
        self._items.clear()
        self._finish(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _offer(self, item: T) -> bool:
        if len(self._items) >= self._bound:
            return False
        self._items.append(item)
        self._wake()
        return True

    def _finish(self, failure: Lagged | None) -> None:
        if failure is not None:
            self._items.clear()
            self._failure = failure
        self._finished = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
