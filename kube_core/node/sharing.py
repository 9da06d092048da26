"""One read for all who want the same thing at the same time.

    reads = SharedReads()
    found = await reads.read(("configmaps", "default", "settings"), lambda: client.get(…))

What always holds: what is answered was read after it was asked for. So whoever asks while a read is under way shares
the next one, with all the others that came meanwhile: fifty pods that start together with one ConfigMap read it twice.
A read goes on while anybody waits for it, and its error is raised to each of them. Used by `sources.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Generic, TypeVar

import attrs

__all__ = ["SharedReads"]

_T = TypeVar("_T")


@attrs.define(eq=False)
class _Read(Generic[_T]):
    """`wanted_by`: how many wait for it. It begins once the one before has ended."""

    act: Callable[[], Awaitable[_T]]
    before: asyncio.Task[Any] | None
    task: asyncio.Task[_T] | None = None
    begun: bool = False
    wanted_by: int = 0

    async def run(self) -> _T:
        if self.before is not None:
            await asyncio.wait([self.before])
            self.before = None
        self.begun = True
        return await self.act()


class SharedReads:
    """Reads by key: the newest of each that has not ended."""

    def __init__(self) -> None:
        self._reads: dict[Hashable, _Read[Any]] = {}

    async def read(self, key: Hashable, act: Callable[[], Awaitable[_T]]) -> _T:
        """What `act` answers, called by this or by another who asks for the same key."""
        read = self._reads.get(key)
        if read is None or read.begun:
            read = self._reads[key] = _Read(act, read.task if read is not None else None)
            read.task = asyncio.create_task(read.run(), name=f"read of {key}")
        assert read.task is not None
        read.wanted_by += 1
        try:
            return await asyncio.shield(read.task)
        finally:
            read.wanted_by -= 1
            if not read.wanted_by:
                read.task.cancel()
                if self._reads.get(key) is read:
                    del self._reads[key]
