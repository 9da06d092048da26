"""Requests that do not stop: visitors who read the page all the time, and count what goes wrong."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

import aiohttp
from observation import StepFailed

__all__ = ["Traffic"]

VISITORS = 4
PAUSE = 0.02
TIMEOUT = aiohttp.ClientTimeout(total=10)


class Traffic:
    """`async with Traffic(url) as traffic:` – requests go on for as long as the block runs."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answered = 0
        self.failures: list[str] = []
        self._stop = asyncio.Event()
        self._visitors: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._visitors = [asyncio.create_task(self._visit()) for _ in range(VISITORS)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        await asyncio.gather(*self._visitors)

    def report(self) -> str:
        return f"{self.answered} requests meanwhile, {len(self.failures)} failed"

    def check(self) -> None:
        """Raises `StepFailed` where any request failed."""
        if self.failures:
            shown = "\n  ".join(self.failures[:5])
            raise StepFailed(f"{len(self.failures)} of {self.answered} requests failed:\n  {shown}")

    async def _visit(self) -> None:
        async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
            while not self._stop.is_set():
                try:
                    async with session.get(self.url) as response:
                        text = await response.text()
                        if response.status != 200:
                            self.failures.append(f"{response.status} {text[:200]!r}")
                except (aiohttp.ClientError, TimeoutError) as error:
                    self.failures.append(f"{type(error).__name__}: {error}")
                self.answered += 1
                await asyncio.sleep(PAUSE)
