from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kube_core._kit.clock import Clock, FakeClock, SystemClock, inside, turn

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[FakeClock, SystemClock])
def any_clock(request: pytest.FixtureRequest) -> Clock:
    clock: Clock = request.param()
    return clock


async def test_fake_time_stands_still_until_it_is_moved() -> None:
    clock = FakeClock(start=1000)
    await asyncio.sleep(0.001)
    assert (clock.now(), clock.monotonic()) == (1000, 0)
    await clock.advance(2.5)
    assert (clock.now(), clock.monotonic()) == (1002.5, 2.5)


async def test_a_sleeper_wakes_at_its_moment() -> None:
    clock = FakeClock()
    woken = []

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((seconds, clock.monotonic()))

    async with asyncio.TaskGroup() as tasks:
        for seconds in (3, 1, 2):
            tasks.create_task(sleeper(seconds))
        await clock.advance(2)
        assert woken == [(1, 1), (2, 2)]
        await clock.advance(5)
    assert woken == [(1, 1), (2, 2), (3, 3)]


async def test_time_stops_at_what_a_woken_task_sets() -> None:
    clock = FakeClock()
    moments = []

    async def ticker() -> None:
        while True:
            await clock.sleep(10)
            moments.append(clock.monotonic())

    task = asyncio.ensure_future(ticker())
    await clock.advance(35)
    task.cancel()
    assert moments == [10, 20, 30]
    assert clock.monotonic() == 35


async def test_sleeping_until_a_moment_that_is_over_returns(any_clock: Clock) -> None:
    async with asyncio.timeout(5):
        await any_clock.sleep_until(any_clock.monotonic() - 1)
        await any_clock.sleep(0)
        await any_clock.sleep(-1)


async def test_a_call_that_is_due_at_once_is_made_without_time_passing(any_clock: Clock) -> None:
    called = asyncio.Event()
    any_clock.call_later(0, called.set)
    assert not called.is_set()
    async with asyncio.timeout(5):
        await called.wait()


async def test_a_cancelled_call_is_not_made(any_clock: Clock) -> None:
    calls: list[int] = []
    timer = any_clock.call_later(0, lambda: calls.append(1))
    timer.cancel()
    timer.cancel()
    any_clock.call_later(0, lambda: calls.append(2))
    async with asyncio.timeout(5):
        while not calls:
            await turn()
    assert calls == [2]


async def test_a_timeout_ends_what_takes_too_long() -> None:
    clock = FakeClock()

    async def wait() -> str:
        try:
            async with clock.timeout(10):
                await asyncio.Event().wait()
        except TimeoutError:
            return f"at {clock.monotonic()}"
        return "never"

    waiting = asyncio.ensure_future(wait())
    await clock.advance(9)
    assert not waiting.done()
    await clock.advance(5)
    assert await waiting == "at 10.0"


async def test_a_timeout_leaves_what_is_done_in_time(any_clock: Clock) -> None:
    async with any_clock.timeout(1000):
        await turn()
    async with any_clock.timeout(None):
        await turn()


async def test_a_timeout_of_nothing_expires_at_the_first_wait(any_clock: Clock) -> None:
    with pytest.raises(TimeoutError):
        async with any_clock.timeout(0), asyncio.timeout(5):
            await asyncio.Event().wait()


async def test_a_finished_timeout_leaves_no_timer() -> None:
    clock = FakeClock()
    async with clock.timeout(10):
        await turn()
    assert clock.next_timer() is None


async def test_an_outer_cancellation_is_no_timeout() -> None:
    clock = FakeClock()

    async def wait() -> None:
        async with clock.timeout(10):
            await asyncio.Event().wait()

    waiting = asyncio.ensure_future(wait())
    await turn()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert clock.next_timer() is None


async def test_holds_are_known_by_their_reasons(any_clock: Clock) -> None:
    with any_clock.hold("one"), any_clock.hold("two"):
        assert list(any_clock.holds) == ["one", "two"]
    assert not any_clock.holds


async def test_fake_time_does_not_pass_a_hold() -> None:
    clock = FakeClock()
    release = asyncio.Event()
    seen = []

    async def held() -> None:
        with clock.hold("work"):
            await release.wait()
            seen.append(clock.monotonic())

    async def sleeper() -> None:
        await clock.sleep(5)
        await held()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(held())
        tasks.create_task(sleeper())
        advancing = tasks.create_task(clock.advance(10))
        for _ in range(50):
            await turn()
        assert (clock.monotonic(), clock.holds) == (0, ("work",))
        release.set()
        await advancing
    assert seen == [0, 5]
    assert clock.monotonic() == 10


@settings(deadline=None)
@given(st.lists(st.floats(0, 100), max_size=20), st.lists(st.floats(0, 50), max_size=8))
def test_timers_fire_in_the_order_of_their_moments_then_of_their_making(
    delays: list[float], advances: list[float]
) -> None:
    async def run() -> None:
        clock = FakeClock()
        fired: list[tuple[float, int]] = []
        for number, delay in enumerate(delays):
            clock.call_later(delay, lambda delay=delay, number=number: fired.append((delay, number)))  # type: ignore[misc]
        for seconds in advances:
            await clock.advance(seconds)
        await turn()
        expected = sorted((delay, number) for number, delay in enumerate(delays))
        assert fired == [pair for pair in expected if pair[0] <= clock.monotonic()]

    asyncio.run(run())


async def test_everyone_who_waits_for_the_last_hold_to_end_goes_on() -> None:
    clock = FakeClock()
    with clock.hold("first"):
        with clock.hold("second"):
            waiting = [asyncio.create_task(clock.unheld()) for _ in range(3)]
            await turn()
        await turn()
        assert not any(task.done() for task in waiting)
    await asyncio.gather(*waiting)
    await clock.unheld()


async def test_a_timer_that_sets_itself_again_for_at_once_lets_the_loop_turn() -> None:
    clock = FakeClock()
    fired = 0

    def again() -> None:
        nonlocal fired
        fired += 1
        clock.call_later(0, again)

    clock.call_later(0, again)
    assert clock.fire_due() == 1
    await turn()
    assert 1 < fired < 10


async def test_a_call_is_made_in_the_context_in_which_it_was_asked_for(any_clock: Clock) -> None:
    called = asyncio.Event()
    seen = []

    def call() -> None:
        seen.append(inside.get())
        called.set()

    token = inside.set(True)
    any_clock.call_later(0.0, call)
    inside.reset(token)
    await called.wait()
    assert seen == [True]


async def test_who_waits_outside_bounds_the_time_that_passes_undisturbed() -> None:
    clock = FakeClock()
    seen: dict[float, float] = {}

    def look() -> None:
        seen[clock.monotonic()] = clock.undisturbed_until
        clock.call_later(10.0, look)

    token = inside.set(True)
    clock.call_later(10.0, look)
    inside.reset(token)
    clock.call_later(25.0, lambda: None)
    cancelled = clock.call_later(35.0, lambda: None)
    cancelled.cancel()
    await clock.advance(40.0)
    assert seen == {10.0: 25.0, 20.0: 25.0, 30.0: 40.0, 40.0: 40.0}
    assert clock.undisturbed_until <= clock.monotonic()
