"""Work on threads that is not left alone: who is cancelled meanwhile hears of it once the work is done.

A thread cannot be stopped. Whoever cleans up after work that was given up, while it still goes on, cleans up too early.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

__all__ = ["to_the_end"]

T = TypeVar("T")


async def to_the_end(act: Callable[..., T], *arguments: object) -> T:
    """Call a function on a thread. A cancellation is raised when it has returned, whatever it returned."""
    import anyio.to_thread  # an API server without nodes has no such work

    working = asyncio.ensure_future(anyio.to_thread.run_sync(act, *arguments))
    cancelled: asyncio.CancelledError | None = None
    while not working.done():
        try:
            await asyncio.wait([working])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not working.cancelled():
            working.exception()  # nobody asks any more
        raise cancelled
    return working.result()
