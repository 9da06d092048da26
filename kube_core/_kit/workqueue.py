"""A queue of keys that need work: fair, deduplicating, and never two workers on one key.

What always holds:

* A key is at most once in the queue, however often it is added; a key that is added while a worker has it is queued
  again when the worker is done with it, so no addition is ever lost.
* No two workers hold the same key.
* Keys come out in the order in which they went in: a key that is added all the time holds up no other.
* A key may be given a rest when its worker is done: added meanwhile, it comes out when that is over.
* A key that is added with a delay comes at its time; of several delays of one key the earliest counts.
* Of keys that failed, each has its own back-off; with `turns` all of them together have so many a second.
* Delays count on the clock that was given; what happens at one moment comes in the order in which it was asked for.

This is the queue of every controller, and mirrors the promises of upstream's client-go work queue. It belongs to one
event loop. What is done with a key, and what a failure means, is the worker's business.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

from kube_core._kit.backoff import Backoff
from kube_core._kit.clock import Clock, Timer

__all__ = ["QueueMeter", "RetryTurns", "WorkQueue"]

K = TypeVar("K", bound=Hashable)


class QueueMeter(Protocol):
    """Who is told what becomes of keys. Times are in seconds."""

    def added(self) -> None: ...

    def taken(self, waited: float) -> None: ...

    def done(self, worked: float) -> None: ...

    def retried(self) -> None: ...


class RetryTurns:
    """A token bucket for all keys that failed together: how long the next of them waits for its turn."""

    def __init__(self, clock: Clock, per_second: float, burst: int) -> None:
        self._clock = clock
        self._interval = 1.0 / per_second
        #: When the bucket is as full as it gets.
        self._full_at = 0.0
        self._room = burst * self._interval

    def next(self) -> float:
        """Take a token, which may be one of the future: seconds until it is there."""
        now = self._clock.monotonic()
        self._full_at = max(self._full_at, now) + self._interval
        return max(self._full_at - now - self._room, 0.0)


class WorkQueue(Generic[K]):
    """Keys for workers, each of which does:

        while (key := await queue.get()) is not None:
            try: ...                    # and queue.forget(key), or queue.add_rate_limited(key) to try again
            finally: queue.done(key)
    """  # fmt: skip

    def __init__(
        self,
        clock: Clock,
        backoff: Backoff[K],
        *,
        turns: RetryTurns | None = None,
        meter: QueueMeter | None = None,
    ) -> None:
        self._clock = clock
        self._backoff = backoff
        self._turns = turns
        self._meter = meter
        #: For the meter: since when each key waits, and since when a worker has it.
        self._since: dict[K, float] = {}
        self._ready: deque[K] = deque()
        #: Keys that need work: those in `_ready`, and those that are to go there when their worker is done.
        self._dirty: set[K] = set()
        self._processing: set[K] = set()
        #: Keys that are to be added later, each with its moment.
        self._delayed: dict[K, tuple[float, Timer]] = {}
        #: Keys that have a rest, each with its end.
        self._resting: dict[K, tuple[float, Timer]] = {}
        self._getters: deque[asyncio.Future[None]] = deque()
        self._shut_down = False

    def __len__(self) -> int:
        """How many keys a worker could take, now."""
        return len(self._ready)

    @property
    def idle(self) -> bool:
        """Whether nothing is queued, nothing is being worked on and nothing that was delayed is due."""
        if self._dirty or self._processing:
            return False
        now = self._clock.monotonic()
        return all(moment > now for moment, _ in self._delayed.values())

    @property
    def processing(self) -> int:
        """How many keys workers have, now."""
        return len(self._processing)

    @property
    def delayed(self) -> int:
        """How many keys wait for their time."""
        return len(self._delayed)

    @property
    def next_retry(self) -> float | None:
        """The monotonic moment at which the first key comes back that failed, or was added while it had a rest.

        None when no key waits for that.
        """
        moments = [moment for key, (moment, _) in self._delayed.items() if self._backoff.failures(key)]
        moments += [moment for key, (moment, _) in self._resting.items() if key in self._dirty]
        return min(moments, default=None)

    def add(self, key: K) -> None:
        """The key needs work. Does nothing once the queue is shut down."""
        if self._shut_down or key in self._dirty:
            return
        self._dirty.add(key)
        if self._meter is not None:
            self._meter.added()
        if key not in self._processing and key not in self._resting:
            self._make_ready(key)

    def add_after(self, key: K, delay: float) -> None:
        """The key needs work in `delay` seconds (now, when that is not positive)."""
        if self._shut_down:
            return
        if delay <= 0:
            self.add(key)
            return
        moment = self._clock.monotonic() + delay
        waiting = self._delayed.get(key)
        if waiting is not None:
            if waiting[0] <= moment:
                return
            waiting[1].cancel()
        self._delayed[key] = moment, self._clock.call_later(delay, lambda: self._due(key))

    def add_rate_limited(self, key: K) -> None:
        """The work failed: the key needs it again after its backoff."""
        if self._shut_down:
            return
        if self._meter is not None:
            self._meter.retried()
        delay = self._backoff.next(key)
        if self._turns is not None:
            delay = max(delay, self._turns.next())
        self.add_after(key, delay)

    def forget(self, key: K) -> None:
        """The work went well: the key's next failure counts as its first."""
        self._backoff.reset(key)

    def failures(self, key: K) -> int:
        """How often the key was added rate-limited since it was last forgotten."""
        return self._backoff.failures(key)

    async def get(self) -> K | None:
        """Wait for a key and take it; it is the caller's until `done`. None once the queue is shut down."""
        while not self._ready:
            if self._shut_down:
                return None
            getter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._getters.append(getter)
            try:
                await getter
            except asyncio.CancelledError:
                # Woken and cancelled in one turn: the key is another worker's.
                if getter in self._getters:
                    self._getters.remove(getter)
                elif self._ready:
                    self._wake()
                raise
        key = self._ready.popleft()
        self._dirty.discard(key)
        self._processing.add(key)
        if self._meter is not None:
            now = self._clock.monotonic()
            self._meter.taken(now - self._since.get(key, now))
            self._since[key] = now
        return key

    def done(self, key: K, *, rest: float = 0.0) -> None:
        """The worker lets go of the key, which no worker gets for `rest` seconds.

        A key that nobody has is a mistake: `KeyError`.
        """
        self._processing.remove(key)
        if self._meter is not None:
            self._meter.done(self._clock.monotonic() - self._since.pop(key))
        if self._shut_down:
            return
        if rest > 0:
            end = self._clock.monotonic() + rest
            self._resting[key] = end, self._clock.call_later(rest, lambda: self._rested(key))
        elif key in self._dirty:
            self._make_ready(key)

    def shut_down(self) -> None:
        """Give out no more keys, take no more, and wake every worker that waits. Twice is once."""
        self._shut_down = True
        self._ready.clear()
        self._dirty.clear()
        for _, timer in self._delayed.values():
            timer.cancel()
        self._delayed.clear()
        for _, timer in self._resting.values():
            timer.cancel()
        self._resting.clear()
        while self._getters:
            self._wake()

    def unfinished(self) -> tuple[float, float]:
        """Seconds that workers have had their keys: of all together, and of the one that is longest at it.

        Zeros without a meter.
        """
        now = self._clock.monotonic()
        spent = [now - self._since[key] for key in self._processing if key in self._since]
        return sum(spent), max(spent, default=0.0)

    def _make_ready(self, key: K) -> None:
        if self._meter is not None:
            self._since[key] = self._clock.monotonic()
        self._ready.append(key)
        self._wake()

    def _rested(self, key: K) -> None:
        del self._resting[key]
        if key in self._dirty:
            self._make_ready(key)

    def _due(self, key: K) -> None:
        del self._delayed[key]
        self.add(key)

    def _wake(self) -> None:
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return
