from __future__ import annotations

import asyncio

import pytest

from kube_core.node.sharing import SharedReads

pytestmark = pytest.mark.anyio


class Source:
    """Reads that end when the test says so; each answers how many had begun by then."""

    def __init__(self) -> None:
        self.begun = 0
        self.cancelled = 0
        self.ends: list[asyncio.Future[None]] = []

    async def __call__(self) -> int:
        self.begun += 1
        number = self.begun
        self.ends.append(asyncio.get_running_loop().create_future())
        try:
            await self.ends[-1]
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return number


async def loops() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_those_who_ask_during_a_read_share_the_next_one() -> None:
    reads, source = SharedReads(), Source()
    first = asyncio.create_task(reads.read("a", source))
    await loops()
    others = [asyncio.create_task(reads.read("a", source)) for _ in range(5)]
    await loops()
    assert source.begun == 1
    source.ends[0].set_result(None)
    await loops()
    assert (await first, source.begun) == (1, 2)
    late = asyncio.create_task(reads.read("a", source))
    await loops()
    source.ends[1].set_result(None)
    assert await asyncio.gather(*others) == [2] * 5
    await loops()
    source.ends[2].set_result(None)
    assert await late == 3


async def test_what_differs_is_not_shared_and_nothing_is_kept() -> None:
    reads, source = SharedReads(), Source()
    tasks = [asyncio.create_task(reads.read(key, source)) for key in "ab"]
    await loops()
    assert source.begun == 2
    for end in source.ends:
        end.set_result(None)
    await asyncio.gather(*tasks)
    again = asyncio.create_task(reads.read("a", source))
    await loops()
    source.ends[2].set_result(None)
    assert await again == 3


async def test_who_gives_up_takes_nothing_from_the_others_and_the_last_one_ends_the_read() -> None:
    reads, source = SharedReads(), Source()
    tasks = [asyncio.create_task(reads.read("a", source)) for _ in range(2)]
    await loops()
    tasks[0].cancel()
    await loops()
    assert (source.begun, source.cancelled) == (1, 0)
    tasks[1].cancel()
    await loops()
    assert source.cancelled == 1
    again = asyncio.create_task(reads.read("a", source))
    await loops()
    source.ends[-1].set_result(None)
    assert await again == 2


async def test_who_waits_for_the_next_read_is_served_where_the_one_before_was_given_up() -> None:
    reads, source = SharedReads(), Source()
    first = asyncio.create_task(reads.read("a", source))
    await loops()
    second = asyncio.create_task(reads.read("a", source))
    await loops()
    first.cancel()
    await loops()
    assert source.begun == 2
    source.ends[1].set_result(None)
    assert await second == 2


async def test_an_error_is_everyones_and_the_next_read_is_another_one() -> None:
    reads, source = SharedReads(), Source()
    tasks = [asyncio.create_task(reads.read("a", source)) for _ in range(2)]
    await loops()
    after = asyncio.create_task(reads.read("a", source))
    await loops()
    source.ends[0].set_exception(ValueError("no"))
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(each) for each in outcomes] == ["no", "no"]
    await loops()
    source.ends[1].set_result(None)
    assert await after == 2
