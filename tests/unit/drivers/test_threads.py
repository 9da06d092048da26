from __future__ import annotations

import asyncio
import threading

import pytest

from kube_drivers.threads import to_the_end

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("fails", [False, True])
async def test_who_is_cancelled_hears_of_it_once_the_work_is_done(fails: bool) -> None:
    begun, go, done = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go.wait(20)
        done.set()
        if fails:
            raise OSError("too late for anybody")

    task = asyncio.create_task(to_the_end(work))
    while not begun.is_set():  # noqa: ASYNC110 (a thread sets it)
        await asyncio.sleep(0)
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done.is_set()


async def test_what_the_work_returns_or_raises_is_the_callers() -> None:
    assert await to_the_end(int, "7") == 7
    with pytest.raises(ValueError, match="invalid literal"):
        await to_the_end(int, "x")
