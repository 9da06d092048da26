"""Work that runs beside the start of a cluster, and as long as it does. Knows nothing of what the work is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Self, TypeVar

from kube_core._kit.logs import get_logger

__all__ = ["Background", "begin", "first"]

_T = TypeVar("_T")

_log = get_logger("kube_core.cluster")


class Background:
    """Tasks that run as long as the cluster does. One that fails is logged, and the others go on."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def start(
        self, name: str, work: Coroutine[Any, Any, None], ready: asyncio.Event | None = None
    ) -> asyncio.Task[None]:
        """`ready`: set once the work is under way; what fails before that is for who waits for it to tell."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(lambda task: self._finished(task, ready))
        return task

    def _finished(self, task: asyncio.Task[None], ready: asyncio.Event | None) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and (ready is None or ready.is_set()):
            _log.error("a part of the cluster failed", part=task.get_name(), exc_info=error)


def begin(
    stack: contextlib.AsyncExitStack, work: Coroutine[Any, Any, _T], undo: Callable[[], Awaitable[None]]
) -> asyncio.Task[_T]:
    """Begin `work`, which is to be awaited with `asyncio.shield`: only what is whole can be undone, so it comes to its
    end even when a start is given up, and then `undo` follows when the stack unwinds."""
    task = asyncio.create_task(work)

    async def end() -> None:
        await asyncio.gather(task, return_exceptions=True)
        await undo()

    stack.push_async_callback(end)
    return task


async def first(ready: asyncio.Event, running: asyncio.Task[None]) -> None:
    """Return once `ready` is set. Raises what ended `running` before that."""
    waiting = asyncio.create_task(ready.wait())
    try:
        await asyncio.wait([waiting, running], return_when=asyncio.FIRST_COMPLETED)
        if not ready.is_set():
            await running
    finally:
        waiting.cancel()
