"""Bringing up few pods at a time, so that of many that come together the first run soon, and not all of them late.

    turns = Turns(clock, 8)
    async with turns.taken():     # waits for a turn; whoever has one for long goes on without it
        ...
    await turns.calm()            # until nobody has one, or wants one, but not for long

A turn is never held for longer than `LONGEST`: who pulls an image or runs a hook holds nobody up. Taken by workers for
a pod's first containers; what can wait until pods run (events) waits for `calm`. Upstream has nothing of the kind.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kube_core._kit.clock import Clock

__all__ = ["LONGEST", "PATIENCE", "Turns"]

#: Seconds after which somebody else may begin.
LONGEST = 0.5
#: Seconds that others wait for calm, and then those for which they do not.
PATIENCE = 1.0


class Turns:
    """`at_once` of them; 0: everyone always has one."""

    def __init__(self, clock: Clock, at_once: int = 0) -> None:
        self._clock = clock
        self._free = asyncio.Semaphore(at_once) if at_once else None
        #: Who has a turn, or waits for one.
        self._busy = 0
        self._calm = asyncio.Event()
        self._calm.set()
        self._impatient_until = 0.0

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        if (free := self._free) is None:
            yield
            return
        self._busy += 1
        self._calm.clear()
        try:
            await free.acquire()
        except BaseException:
            self._leave()
            raise
        held = True

        def give_back() -> None:
            nonlocal held
            if held:
                held = False
                free.release()
                self._leave()

        timer = self._clock.call_later(LONGEST, give_back)
        try:
            yield
        finally:
            timer.cancel()
            give_back()

    async def calm(self) -> None:
        """Wait until nobody has a turn or waits for one. While that does not come, seconds of waiting and of not
        waiting alternate.
        """
        if self._calm.is_set() or self._clock.monotonic() < self._impatient_until:
            return
        try:
            async with self._clock.timeout(PATIENCE):
                await self._calm.wait()
        except TimeoutError:
            self._impatient_until = self._clock.monotonic() + PATIENCE

    def _leave(self) -> None:
        self._busy -= 1
        if not self._busy:
            self._calm.set()
