from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kube_core._kit.backoff import Backoff
from kube_core._kit.clock import FakeClock
from kube_core._kit.random import Random
from kube_core._kit.workqueue import WorkQueue

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def queue(clock: FakeClock) -> WorkQueue[str]:
    return WorkQueue(clock, Backoff(1, 8))


async def take_all(queue: WorkQueue[str]) -> list[str]:
    taken = []
    while len(queue):
        key = await queue.get()
        assert key is not None
        taken.append(key)
        queue.done(key)
    return taken


async def test_keys_come_in_the_order_in_which_they_were_added(queue: WorkQueue[str]) -> None:
    for key in "cab":
        queue.add(key)
    assert await take_all(queue) == ["c", "a", "b"]


async def test_a_key_is_queued_once_however_often_it_is_added(queue: WorkQueue[str]) -> None:
    for key in "aabab":
        queue.add(key)
    assert len(queue) == 2
    assert await take_all(queue) == ["a", "b"]


async def test_a_key_that_is_added_while_it_is_processed_comes_again_after_it_is_done(queue: WorkQueue[str]) -> None:
    queue.add("a")
    assert await queue.get() == "a"
    queue.add("a")
    queue.add("b")
    queue.add("a")
    assert len(queue) == 1
    queue.done("a")
    assert await take_all(queue) == ["b", "a"]


async def test_a_key_that_has_a_rest_comes_when_it_is_over(clock: FakeClock, queue: WorkQueue[str]) -> None:
    queue.add("a")
    assert await queue.get() == "a"
    queue.add("a")
    queue.done("a", rest=2.0)
    queue.add("a")
    queue.add("b")
    assert await take_all(queue) == ["b"]
    assert not queue.idle
    assert queue.next_retry == 2.0
    await clock.advance(1.9)
    assert await take_all(queue) == []
    await clock.advance(0.1)
    assert await take_all(queue) == ["a"]
    assert queue.idle
    assert queue.next_retry is None


async def test_a_rest_ends_with_the_queue(clock: FakeClock, queue: WorkQueue[str]) -> None:
    queue.add("a")
    await queue.get()
    queue.done("a", rest=2.0)
    queue.shut_down()
    assert clock.next_timer() is None


async def test_no_two_workers_have_one_key(queue: WorkQueue[str]) -> None:
    queue.add("a")
    assert await queue.get() == "a"
    queue.add("a")
    waiting = asyncio.ensure_future(queue.get())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    queue.done("a")
    assert await waiting == "a"


async def test_a_busy_key_holds_up_no_other(queue: WorkQueue[str]) -> None:
    queue.add("busy")
    queue.add("other")
    taken = []
    for _ in range(4):
        key = await queue.get()
        assert key is not None
        taken.append(key)
        queue.add("busy")
        queue.done(key)
    assert taken == ["busy", "other", "busy", "busy"]


async def test_waiting_workers_are_woken_one_for_each_key(queue: WorkQueue[str]) -> None:
    workers = [asyncio.ensure_future(queue.get()) for _ in range(3)]
    await asyncio.sleep(0)
    queue.add("a")
    queue.add("b")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [worker.done() for worker in workers] == [True, True, False]
    queue.shut_down()
    assert await asyncio.gather(*workers) == ["a", "b", None]


async def test_a_worker_that_is_cancelled_when_it_is_woken_loses_no_key(queue: WorkQueue[str]) -> None:
    first, second = asyncio.ensure_future(queue.get()), asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    first.cancel()
    async with asyncio.timeout(5):
        assert await second == "a"
    assert first.cancelled()


async def test_a_worker_that_is_cancelled_while_it_waits_is_forgotten(queue: WorkQueue[str]) -> None:
    first, second = asyncio.ensure_future(queue.get()), asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    queue.add("a")
    async with asyncio.timeout(5):
        assert await second == "a"


async def test_a_delayed_key_comes_at_its_time(queue: WorkQueue[str], clock: FakeClock) -> None:
    queue.add_after("a", 10)
    await clock.advance(9.9)
    assert len(queue) == 0
    assert queue.delayed == 1
    await clock.advance(0.1)
    assert await take_all(queue) == ["a"]
    assert queue.delayed == 0


async def test_of_two_delays_of_a_key_the_earlier_counts(queue: WorkQueue[str], clock: FakeClock) -> None:
    queue.add_after("a", 10)
    queue.add_after("a", 5)
    queue.add_after("a", 7)
    await clock.advance(5)
    assert await take_all(queue) == ["a"]
    await clock.advance(10)
    assert len(queue) == 0


async def test_no_delay_is_now(queue: WorkQueue[str]) -> None:
    queue.add_after("a", 0)
    queue.add_after("b", -1)
    assert await take_all(queue) == ["a", "b"]


async def test_failures_wait_longer_until_they_are_forgotten(queue: WorkQueue[str], clock: FakeClock) -> None:
    moments = []
    for _ in range(5):
        queue.add_rate_limited("a")
        start = clock.monotonic()
        while not len(queue):
            await clock.advance(1)
        moments.append(clock.monotonic() - start)
        await take_all(queue)
    assert moments == [1, 2, 4, 8, 8]
    assert queue.failures("a") == 5
    queue.forget("a")
    assert queue.failures("a") == 0
    queue.add_rate_limited("a")
    await clock.advance(1)
    assert len(queue) == 1


async def test_it_is_idle_when_nothing_is_queued_processed_or_due(queue: WorkQueue[str], clock: FakeClock) -> None:
    assert queue.idle
    queue.add("a")
    assert not queue.idle
    await queue.get()
    assert not queue.idle
    assert queue.processing == 1
    queue.done("a")
    assert queue.idle
    queue.add_after("a", 5)
    assert queue.idle
    await clock.advance(5)
    assert not queue.idle


async def test_shutting_down_gives_out_no_more_keys_and_ends_every_worker(
    queue: WorkQueue[str], clock: FakeClock
) -> None:
    worker = asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    queue.add_after("later", 5)
    queue.shut_down()
    queue.shut_down()
    assert await worker is None
    queue.add("a")
    queue.add_after("a", 1)
    queue.add_rate_limited("a")
    await clock.advance(10)
    assert await queue.get() is None
    assert queue.idle


async def test_a_key_in_work_can_be_done_after_the_shutdown(queue: WorkQueue[str]) -> None:
    queue.add("a")
    await queue.get()
    queue.add("a")
    queue.shut_down()
    queue.done("a")
    assert await queue.get() is None
    assert queue.idle


async def test_done_without_the_key_is_a_mistake(queue: WorkQueue[str]) -> None:
    with pytest.raises(KeyError):
        queue.done("a")


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), workers=st.integers(1, 5), keys=st.integers(1, 6), additions=st.integers(0, 60))
def test_every_addition_is_followed_by_work_on_its_key(seed: int, workers: int, keys: int, additions: int) -> None:
    """Whatever the workers do: never two on one key, and the last work on a key begins after its last addition."""

    async def run() -> None:
        random, clock = Random(seed), FakeClock()
        queue: WorkQueue[int] = WorkQueue(clock, Backoff(0.5, 4))
        at_work: Counter[int] = Counter()
        added: Counter[int] = Counter()
        seen: Counter[int] = Counter()

        async def work() -> None:
            while (key := await queue.get()) is not None:
                at_work[key] += 1
                assert at_work[key] == 1
                seen[key] = added[key]
                for _ in range(random.below(4)):
                    await asyncio.sleep(0)
                if random.below(4) == 0:
                    queue.add_rate_limited(key)
                else:
                    queue.forget(key)
                at_work[key] -= 1
                queue.done(key)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(workers):
                tasks.create_task(work())
            for _ in range(additions):
                key = random.below(keys)
                added[key] += 1
                if random.below(2):
                    queue.add(key)
                else:
                    queue.add_after(key, random.uniform(0, 3))
                for _ in range(random.below(3)):
                    await asyncio.sleep(0)
                if random.below(5) == 0:
                    await clock.advance(1)
            while not queue.idle or queue.delayed:
                await clock.advance(10)
            queue.shut_down()
        assert seen == added

    asyncio.run(run())
