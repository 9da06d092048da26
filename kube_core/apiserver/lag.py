"""How late the event loop is: what every request waits for besides its own work.

Twice a second a timer asks to be called, and notes how much later it was: as long as something else held the loop. A
turn of the loop should never take more than a few milliseconds; what takes longer belongs on a thread, or in pieces.

It measures real time whatever the server's clock is, so the server starts it only where that is the system's clock.
"""

from __future__ import annotations

import asyncio
from typing import Final

from kube_core._kit.metrics import Metrics

__all__ = ["LoopLag"]

#: Seconds between two looks; each costs some 10 µs.
PERIOD: Final = 0.5
_SECONDS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)


class LoopLag:
    """Watches the loop in which it is started."""

    def __init__(self, metrics: Metrics) -> None:
        about = "How late the event loop was when a timer was due."
        self.seconds = metrics.histogram("kube_core_event_loop_lag_seconds", about, _SECONDS).cell()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._wait(asyncio.get_running_loop())

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(PERIOD, self._look, loop, loop.time() + PERIOD)

    def _look(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self.seconds.observe(max(loop.time() - due, 0.0))
        self._wait(loop)
