"""What settled means, on a loop with nothing in it but what each test puts there."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

import pytest

from kube_core._kit.backoff import Backoff
from kube_core._kit.clock import Clock, FakeClock, SystemClock
from kube_core._kit.workqueue import WorkQueue
from kube_core.settling import NotSettled, Settling, TimeStandsStill

pytestmark = pytest.mark.anyio


def settling(clock: Clock, *, busy: Sequence[str] = ()) -> Settling:
    return Settling(clock, busy=lambda: busy, next_retry=lambda: None, revision=lambda: 0)


async def test_a_long_chain_of_turns_is_waited_for() -> None:
    steps: list[int] = []

    async def work() -> None:
        for step in range(500):
            await asyncio.sleep(0)
            steps.append(step)

    task = asyncio.create_task(work())
    await settling(FakeClock()).settled(10)
    assert len(steps) == 500
    await task


async def test_what_waits_for_a_later_time_is_settled_and_what_is_due_is_not() -> None:
    clock = FakeClock()
    fired: list[str] = []
    clock.call_later(0, lambda: fired.append("now"))
    clock.call_later(5, lambda: fired.append("later"))
    await settling(clock).settled(10)
    assert fired == ["now"]


async def test_a_hold_is_waited_for_and_so_is_what_it_leads_to() -> None:
    clock = FakeClock()
    done: list[str] = []

    async def outside() -> None:
        with clock.hold("a thread"):
            await asyncio.to_thread(lambda: None)
        await asyncio.sleep(0)
        done.append("after")

    task = asyncio.create_task(outside())
    await settling(clock).settled(10)
    assert done == ["after"]
    await task


async def test_at_the_limit_what_is_busy_is_named() -> None:
    clock = FakeClock()
    with clock.hold("the bank is asked"), pytest.raises(NotSettled, match=r"after 0.01 s.*hold: the bank is asked"):
        await settling(clock).settled(0.01)


async def test_a_task_that_never_rests_is_named() -> None:
    async def spin() -> None:
        for _ in itertools.count():
            await asyncio.sleep(0)

    task = asyncio.create_task(spin(), name="a spinning top")
    with pytest.raises(NotSettled, match="task: a spinning top"):
        await settling(FakeClock()).settled(0.01)
    task.cancel()


async def test_a_timer_that_is_always_due_is_no_endless_loop() -> None:
    clock = FakeClock()

    def again() -> None:
        clock.call_later(0, again)

    again()
    with pytest.raises(NotSettled):
        await settling(clock).settled(0.01)


async def test_time_moves_from_timer_to_timer_and_each_is_settled() -> None:
    clock = FakeClock()
    seen: list[float] = []

    async def tick() -> None:
        for _ in range(3):
            await clock.sleep(10)
            for _ in range(100):
                await asyncio.sleep(0)
            seen.append(clock.monotonic())

    task = asyncio.create_task(tick())
    await settling(clock).advance(35, 10)
    assert seen == [10, 20, 30]
    assert clock.monotonic() == 35
    await task


async def test_another_try_soon_is_waited_for_and_one_far_off_is_not() -> None:
    clock = FakeClock()
    queue: WorkQueue[str] = WorkQueue(clock, Backoff(0.005, 1000.0))
    tries = 0

    async def work() -> None:
        nonlocal tries
        while (key := await queue.get()) is not None:
            tries += 1
            queue.add_rate_limited(key)
            queue.done(key)

    task = asyncio.create_task(work())
    queue.add("fails for ever")
    queue.add_after("has its time", 0.5)
    await Settling(clock, busy=tuple, next_retry=lambda: queue.next_retry, revision=lambda: 0).settled(10)
    assert 5 <= tries <= 20
    assert 0.1 < clock.monotonic() <= 1
    queue.shut_down()
    await task


async def test_only_a_fake_clock_moves_and_only_forward() -> None:
    with pytest.raises(TimeStandsStill, match=r"Cluster\(clock=FakeClock\(\)\)"):
        await settling(SystemClock()).advance(1, 10)
    with pytest.raises(ValueError, match="cannot go back"):
        await settling(FakeClock()).advance(-1, 10)


async def test_on_the_machines_time_busy_parts_are_waited_for() -> None:
    busy = ["node node-1"]
    asyncio.get_running_loop().call_later(0.01, busy.clear)
    await settling(SystemClock(), busy=busy).settled(10)
    assert not busy
    with pytest.raises(NotSettled, match="node node-1"):
        await settling(SystemClock(), busy=["node node-1"]).settled(0.01)


def test_a_loop_that_does_not_show_what_it_has_to_run_is_waited_for_as_well() -> None:
    uvloop = pytest.importorskip("uvloop")
    steps: list[int] = []

    async def work(clock: FakeClock) -> None:
        for step in range(40):
            await asyncio.sleep(0)
            steps.append(step)
        await clock.sleep(0)
        steps.append(-1)
        await clock.sleep(5)
        steps.append(-2)

    async def run() -> None:
        clock = FakeClock()
        task = asyncio.create_task(work(clock))
        await settling(clock).settled(10)
        assert steps == [*range(40), -1]
        await settling(clock).advance(5, 10)
        assert steps[-1] == -2
        await task

    uvloop.run(run())
