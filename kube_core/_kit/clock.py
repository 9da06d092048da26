"""The one door to time.

Every sleep, deadline, timeout, token time and lease time in the project goes through a `Clock`; ruff's
banned-api rule keeps `time` and `asyncio.sleep` out of everything else.

What always holds:

* `now()` is wall-clock time in seconds since the epoch (UTC); `monotonic()` never goes back, and only differences of
  it mean anything. Both are floats in seconds.
* `sleep`, `timeout` and `call_later` count on the monotonic time of this clock.
* Work that time must not overtake (a thread, a socket, a process) runs inside `with clock.hold("what"):`. A fake
  clock does not move past a held moment; a system clock only counts holds, so that `settled()` can ask.
* A call that is due at once is made in the next turn of the loop, by a fake clock too: no time passes for it.
* A call is made in the context (`contextvars`) in which it was asked for.

What does not belong here: periods of a particular component, and anything about Kubernetes.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import contextvars
import heapq
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Final

__all__ = ["Clock", "FakeClock", "StillClock", "SystemClock", "Timer", "inside", "turn"]

#: Whether what runs is part of the world whose time a clock is, and does not move that time or look on from outside.
inside: Final[contextvars.ContextVar[bool]] = contextvars.ContextVar("inside", default=False)


class Timer(abc.ABC):
    """A pending call made by `Clock.call_later`."""

    @abc.abstractmethod
    def cancel(self) -> None:
        """Forget the call. Cancelling twice, or after it ran, does nothing."""


class Clock(abc.ABC):
    """Time as the project sees it. Implementations: `SystemClock`, `FakeClock`."""

    def __init__(self) -> None:
        self._holds: dict[int, str] = {}
        self._hold_ids = itertools.count()
        self._unheld: list[asyncio.Future[None]] = []

    @abc.abstractmethod
    def now(self) -> float:
        """Seconds since the epoch, UTC."""

    @abc.abstractmethod
    def monotonic(self) -> float:
        """Seconds on a scale that never goes back."""

    @abc.abstractmethod
    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` from the event loop once, `delay` seconds from now (at once when not positive)."""

    async def sleep(self, delay: float) -> None:
        """Return after `delay` seconds of this clock; always yields to the loop at least once."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        timer = self.call_later(delay, lambda: None if done.done() else done.set_result(None))
        try:
            await done
        finally:
            timer.cancel()

    async def sleep_until(self, moment: float) -> None:
        """Return when `monotonic()` has reached `moment`."""
        await self.sleep(moment - self.monotonic())

    @contextlib.asynccontextmanager
    async def timeout(self, delay: float | None) -> AsyncIterator[None]:
        """Cancel the block and raise `TimeoutError` when it takes longer than `delay` seconds (`None`: no limit)."""
        if delay is None:
            yield
            return
        scope = asyncio.timeout(None)
        timer = self.call_later(delay, lambda: scope.reschedule(0.0))
        try:
            async with scope:
                yield
        finally:
            timer.cancel()

    @contextlib.contextmanager
    def hold(self, reason: str) -> Iterator[None]:
        """Keep virtual time from passing while the block runs. `reason` is shown when a wait gives up."""
        ticket = next(self._hold_ids)
        self._holds[ticket] = reason
        try:
            yield
        finally:
            del self._holds[ticket]
            if not self._holds and self._unheld:
                self._release()

    @property
    def holds(self) -> tuple[str, ...]:
        """The reasons of the holds in force, oldest first."""
        return tuple(self._holds.values())

    async def unheld(self) -> None:
        """Return when no hold is in force."""
        while self._holds:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._unheld.append(waiter)
            await waiter

    def _release(self) -> None:
        waiters, self._unheld = self._unheld, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class _LoopTimer(Timer):
    def __init__(self, handle: asyncio.Handle) -> None:
        self._handle = handle

    def cancel(self) -> None:
        self._handle.cancel()


class SystemClock(Clock):
    """The machine's own time, on the running event loop."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        return _LoopTimer(asyncio.get_running_loop().call_later(max(delay, 0.0), callback))

    def block(self, delay: float) -> None:
        """Sleep in a program without an event loop. Never call it from a coroutine."""
        time.sleep(delay)


class _FakeTimer(Timer):
    __slots__ = ("callback", "context")

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback
        self.context = contextvars.copy_context()

    def cancel(self) -> None:
        self.callback = None


class FakeClock(Clock):
    """Time that moves only when a test says so.

    Timers fire in order of their moment, and in order of creation within one moment. `advance` is what moves it.
    """

    def __init__(self, start: float = 1_767_225_600.0) -> None:  # 2026-01-01T00:00:00Z
        super().__init__()
        self._start = start
        self._elapsed = 0.0
        self._timers: list[tuple[float, int, _FakeTimer]] = []
        #: Those of them that were set from outside.
        self._onlookers: list[tuple[float, int, _FakeTimer]] = []
        self._moves_to = 0.0
        self._order = itertools.count()

    def now(self) -> float:
        return self._start + self._elapsed

    def monotonic(self) -> float:
        return self._elapsed

    def set_now(self, now: float) -> None:
        """Let it be another time of day. Timers, and `monotonic`, do not notice."""
        self._start = now - self._elapsed

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        timer = _FakeTimer(callback)
        entry = self._elapsed + max(delay, 0.0), next(self._order), timer
        heapq.heappush(self._timers, entry)
        if not inside.get():
            heapq.heappush(self._onlookers, entry)
        if delay <= 0:
            asyncio.get_running_loop().call_soon(self.fire_due)
        return timer

    def next_timer(self) -> float | None:
        """The monotonic moment of the earliest pending timer, or None."""
        return _first_moment(self._timers)

    @property
    def undisturbed_until(self) -> float:
        """The monotonic moment to which time surely moves on before anybody outside does anything at a time of theirs.

        That is the end of the move that is under way, or the first timer that was not set `inside`; it has passed
        already while time stands still.
        """
        first = _first_moment(self._onlookers)
        return self._moves_to if first is None else min(first, self._moves_to)

    def fire_due(self) -> int:
        """Run every timer that is due at the present moment; returns how many ran.

        One that is set meanwhile, for at once, is left to the next turn: nothing can keep this one from ending.
        """
        due: list[_FakeTimer] = []
        while (moment := self.next_timer()) is not None and moment <= self._elapsed:
            due.append(heapq.heappop(self._timers)[2])
        fired = 0
        for timer in due:
            callback, timer.callback = timer.callback, None
            if callback is not None:
                timer.context.run(callback)
                fired += 1
        return fired

    async def advance(self, seconds: float, *, settle: Callable[[], Awaitable[None]] | None = None) -> None:
        """Move time on by `seconds`, stopping at each timer on the way.

        Before the first move and after every stop `settle()` is awaited (by default a few turns of the loop), so that
        what a timer woke has run, and has set its next timer, before time goes on; and time waits for every hold.
        """
        await self.advance_to(self._elapsed + seconds, settle=settle)

    async def advance_to(self, end: float, *, settle: Callable[[], Awaitable[None]] | None = None) -> None:
        """The same, until `monotonic()` is `end`."""
        await self._settle(settle or _some_turns)
        self._moves_to = end
        try:
            while (moment := self.next_timer()) is not None and moment <= end:
                self._elapsed = max(self._elapsed, moment)
                self.fire_due()
                await self._settle(settle or _some_turns)
        finally:
            self._moves_to = self._elapsed
        if end > self._elapsed:
            self._elapsed = end
            await self._settle(settle or _some_turns)

    async def _settle(self, settle: Callable[[], Awaitable[None]]) -> None:
        await settle()
        while self._holds:
            await self.unheld()
            await settle()


class StillClock(Clock):
    """One moment, for good: what is to happen later does not. For what is kept rather than run."""

    def __init__(self, now: float) -> None:
        super().__init__()
        self._now = now

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return 0.0

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        return _FakeTimer(callback)


async def turn() -> None:
    """Let the loop run what is ready, while no time passes: for long work that must give way."""
    await asyncio.sleep(0)


def _first_moment(timers: list[tuple[float, int, _FakeTimer]]) -> float | None:
    """The moment of the earliest one that is pending."""
    while timers and timers[0][2].callback is None:
        heapq.heappop(timers)
    return timers[0][0] if timers else None


async def _some_turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)
