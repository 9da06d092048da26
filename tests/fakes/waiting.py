"""Waiting in tests against a real server: for a condition, with a limit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def eventually(look: Callable[[], Awaitable[T | None]], *, seconds: float = 20) -> T:
    """What `look()` answers once that is true. Fails after `seconds`."""
    async with asyncio.timeout(seconds):
        while not (answer := await look()):  # noqa: ASYNC110 (the answer is a server's, there is no event to await)
            await asyncio.sleep(0.005)
    assert answer is not None
    return answer


def soon(look: Callable[[], T], *, seconds: float = 20) -> T:
    """The same of a function that is not async, such as a command."""
    until = time.monotonic() + seconds
    while not (answer := look()):
        assert time.monotonic() < until, f"nothing true after {seconds} s, but {answer!r}"
        time.sleep(0.02)
    return answer
