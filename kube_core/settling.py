"""When a cluster is settled, and how its time is moved: what `Cluster.settled` and `Cluster.advance` do.

Settled means that nothing more happens unless time passes or somebody asks for something: no hold on the clock, no
timer that is due, every change delivered, every queue empty, and nothing left to run in the event loop.

* On a `FakeClock` the event loop says so itself: when a turn finds nothing to run, twice in a row, everything there is
  waits for time, for a hold, or for the world outside. A pod that takes ten seconds to start does not keep a cluster
  from being settled: its time has not come. Work outside (a socket, a thread, a process) is waited for when it holds
  the clock (`with clock.hold("asking the registry"):`), as all of ours does, and cannot be seen otherwise.
* What failed and is tried again within a second counts as work, too: most often two controllers met at one object,
  and the second is to look again in 5 ms. A `FakeClock` is moved by as much.
* On the machine's own time the parts of the cluster are asked as well, and waited for: their queues, what they are
  doing, and the subscriptions of the bus. What only time brings is still not waited for.

`advance` settles before it moves, and again at every timer on the way, so what a timer wakes has run, and has set its
next timer, before time goes on. Limits are in seconds of the machine: they are what ends a test that would hang.

The loop is one: what else runs in it, another cluster or the test itself, is waited for as well.

What a part does to know that it is idle is its own business; who the parts are is `cluster.py`'s.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Sequence

from kube_core._kit.clock import Clock, FakeClock, turn

__all__ = ["NotSettled", "Settling", "TimeStandsStill"]

#: Turns in a row that must find nothing to run: in the second, what sockets and threads brought has been seen, too.
_CALM_TURNS = 2
#: The same where the loop does not show what it has to run (uvloop): longer than any chain of work that nobody sees.
_BLIND_TURNS = 50
#: Turns in which a cluster settles most often, so that nobody has to watch how long it takes.
_SOON_TURNS = 200
#: Seconds within which another try is waited for. The back-off of what keeps failing soon is longer.
_RETRY_SECONDS = 1.0
#: Seconds between two looks at a cluster that is busy on the machine's own time.
_LOOK_AGAIN = 0.001


class NotSettled(TimeoutError):
    """The cluster was still busy at the limit; the message names what with."""

    def __init__(self, limit: float, busy: Sequence[str]) -> None:
        super().__init__(f"not settled after {limit:g} s; still busy: {', '.join(busy) or 'the event loop'}")
        self.busy = tuple(busy)


class TimeStandsStill(RuntimeError):
    """Only a `FakeClock` can be moved."""


class Settling:
    """For one cluster.

    `busy` names the parts that have work, now; `next_retry` is the monotonic moment at which what failed first is tried
    again; `revision` is the store's.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        busy: Callable[[], Iterable[str]],
        next_retry: Callable[[], float | None],
        revision: Callable[[], int],
    ) -> None:
        self._clock = clock
        self._busy = busy
        self._next_retry = next_retry
        self._revision = revision

    async def settled(self, limit: float) -> None:
        """Return when the cluster is settled. Raises `NotSettled` after `limit` seconds of the machine's time."""
        last = self._clock.monotonic() + _RETRY_SECONDS
        await self._within(limit)
        if isinstance(self._clock, FakeClock):
            while (retry := self._next_retry()) is not None and retry <= last:
                await self._move_to(self._clock, retry, limit)

    async def advance(self, seconds: float, limit: float) -> None:
        """Move a `FakeClock` by `seconds`, settling at every timer. `limit` is for each of the settlings.

        Raises `NotSettled`, `TimeStandsStill` and, for time that would go back, `ValueError`.
        """
        if not isinstance(self._clock, FakeClock):
            raise TimeStandsStill(
                "advance() moves a FakeClock, and this cluster runs on the machine's own time: "
                "start it with Cluster(clock=FakeClock())"
            )
        if seconds < 0:
            raise ValueError(f"time cannot go back ({seconds:g} s)")
        await self._move_to(self._clock, self._clock.monotonic() + seconds, limit)
        await self.settled(limit)

    def what_is_busy(self) -> Sequence[str]:
        """Names for a person: holds by their reasons, then parts with work, then tasks that could run."""
        busy = [*(f"hold: {reason}" for reason in self._clock.holds), *self._busy()]
        if not busy:
            busy = sorted(f"task: {task.get_name()}" for task in asyncio.all_tasks() if _runs(task))
        return busy

    async def _move_to(self, clock: FakeClock, moment: float, limit: float) -> None:
        await clock.advance_to(moment, settle=lambda: self._within(limit))

    async def _within(self, limit: float) -> None:
        if isinstance(self._clock, FakeClock) and await self._calm(self._clock, _SOON_TURNS) and not self._clock.holds:
            return
        try:
            # The one limit that is not the clock's own: a clock that stands still would never reach it.
            async with asyncio.timeout(limit):
                await self._settle()
        except TimeoutError:
            raise NotSettled(limit, self.what_is_busy()) from None

    async def _settle(self) -> None:
        while True:
            if isinstance(self._clock, FakeClock):
                await self._calm(self._clock)
            elif not await self._idle():
                await self._clock.sleep(_LOOK_AGAIN)
                continue
            if not self._clock.holds:
                return
            await self._clock.unheld()

    async def _calm(self, clock: FakeClock, turns: float = math.inf) -> bool:
        """Return once the loop has nothing to run and no timer is due: whether that was within so many turns."""
        ready = getattr(asyncio.get_running_loop(), "_ready", None)
        wanted = _CALM_TURNS if ready is not None else _BLIND_TURNS
        calm, seen = 0, self._revision()
        while calm < wanted and turns > 0:
            turns -= 1
            await turn()
            due = clock.next_timer()
            if due is not None and due <= clock.monotonic():
                clock.fire_due()
                calm = 0
            elif ready or self._revision() != seen:
                seen = self._revision()
                calm = 0
            else:
                calm += 1
        return calm >= wanted

    async def _idle(self) -> bool:
        """Whether every part had nothing to do for some turns in a row."""
        retry = self._next_retry()
        if retry is not None and retry - self._clock.monotonic() <= _RETRY_SECONDS:
            return False
        seen = self._revision()
        for _ in range(_BLIND_TURNS):
            await turn()
            if self._clock.holds or self._revision() != seen or any(True for _ in self._busy()):
                return False
        return True


def _runs(task: asyncio.Task[object]) -> bool:
    """Whether a task waits for nothing: it would run in the loop's next turn."""
    waiter = getattr(task, "_fut_waiter", None)
    return task is not asyncio.current_task() and (waiter is None or waiter.done())
