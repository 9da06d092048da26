"""Seats, queues, turns, and what levels lend each other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_core._kit.clock import FakeClock, turn
from kube_core.apiserver.fairness.levels import LONGEST_WAIT, Level, Limits, Refused, Seats, Turn, deal
from kube_core.apiserver.fairness.work import LEAST, Work

pytestmark = pytest.mark.anyio


def queued(shares: int = 10, *, length: int = 50, queues: int = 8, hand: int = 2, **limits: int) -> Limits:
    return Limits("", False, shares, queues=queues, hand_size=hand, queue_length=length, **limits)


def levels(total: int, *limits: Limits) -> Sequence[Level]:
    seats, clock = Seats(total), FakeClock()
    made = [Level(str(number), each, seats, clock) for number, each in enumerate(limits)]
    seats.share_out(made)
    return made


async def some_turns() -> None:
    for _ in range(5):
        await turn()


def waiting(level: Level, flow: str, order: list[str] | None = None, work: Work = LEAST) -> asyncio.Task[Turn]:
    async def wait() -> Turn:
        had = await level.wait(flow, work)
        if order is not None:
            order.append(flow)
        return had

    return asyncio.create_task(wait())


async def test_seats_are_shared_out_by_shares() -> None:
    first, second = levels(600, Limits(shares=20), Limits(shares=100))
    assert (first.nominal, second.nominal) == (100, 500)


async def test_who_finds_no_seat_on_a_level_that_does_not_queue_is_refused() -> None:
    (level,) = levels(1, Limits(shares=10))
    assert level.enter()
    assert not level.enter()
    with pytest.raises(Refused, match="concurrency-limit"):
        await level.wait("a")
    level.leave()
    assert level.enter()


async def test_an_exempt_level_lets_everybody_in() -> None:
    exempt, _ = levels(1, Limits(exempt=True, shares=0), Limits(shares=10))
    assert all(exempt.enter() for _ in range(100))


async def test_a_seat_goes_to_who_waits_and_not_to_who_comes() -> None:
    (level,) = levels(1, queued())
    assert level.enter()
    first = waiting(level, "a")
    await some_turns()
    level.leave()
    assert not level.enter()
    level.leave(await first)
    assert level.enter()


async def test_a_full_queue_refuses() -> None:
    (level,) = levels(1, queued(length=2, queues=1, hand=1))
    level.enter()
    tasks = [waiting(level, "a") for _ in range(2)]
    await some_turns()
    with pytest.raises(Refused, match="queue-full"):
        await level.wait("a")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert level.waiting == 0


async def test_a_flow_that_asks_little_is_not_kept_waiting_by_one_that_asks_much() -> None:
    (level,) = levels(1, queued(queues=64, hand=1))
    level.enter()
    order: list[str] = []
    greedy = [waiting(level, "greedy", order) for _ in range(10)]
    await some_turns()
    modest = waiting(level, "modest", order)
    await some_turns()
    level.leave()
    running = [modest, *greedy]
    while running:
        (done, *_), _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        running.remove(done)
        level.leave(await done)
        await some_turns()
    assert order.index("modest") <= 1


async def test_who_waits_too_long_is_refused_and_leaves_its_place() -> None:
    seats, clock = Seats(1), FakeClock()
    level = Level("l", queued(), seats, clock)
    seats.share_out([level])
    level.enter()
    task = waiting(level, "a")
    await some_turns()
    await clock.advance(LONGEST_WAIT)
    with pytest.raises(Refused, match="time-out"):
        await task
    assert (level.waiting, seats.waiting) == (0, 0)
    level.leave()
    assert level.enter()


async def test_a_seat_given_to_who_is_gone_is_not_lost() -> None:
    (level,) = levels(1, queued())
    level.enter()
    task = waiting(level, "a")
    await some_turns()
    level.leave()
    # Its turn has come, but it never gets to know.
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (level.executing, level.waiting) == (0, 0)


async def test_a_level_borrows_what_others_lend_and_no_more() -> None:
    lender, borrower = levels(100, Limits(shares=50, lendable_percent=40), Limits(shares=50))
    assert sum(borrower.enter() for _ in range(100)) == 50 + 20
    assert sum(lender.enter() for _ in range(100)) == 50


async def test_a_level_borrows_no_more_than_it_may() -> None:
    _, borrower = levels(100, Limits(shares=50, lendable_percent=100), Limits(shares=50, borrowing_percent=10))
    assert sum(borrower.enter() for _ in range(100)) == 55


async def test_who_waits_gets_what_another_level_gives_back() -> None:
    lender, borrower = levels(2, Limits(shares=10, lendable_percent=100), queued())
    lender.enter()
    borrower.enter()
    task = waiting(borrower, "a")
    await some_turns()
    assert not task.done()
    lender.leave()
    await task
    assert borrower.executing == 2


async def test_more_seats_let_in_who_waits() -> None:
    seats, clock = Seats(1), FakeClock()
    level = Level("l", queued(), seats, clock)
    seats.share_out([level])
    level.enter()
    task = waiting(level, "a")
    await some_turns()
    seats.total = 2
    seats.share_out([level])
    await task


async def test_a_wide_request_waits_for_all_its_seats_and_nobody_passes_it() -> None:
    (level,) = levels(4, queued(queues=64, hand=1))
    for _ in range(3):
        assert level.enter()
    assert not level.enter(Work(2))
    order: list[str] = []
    wide = waiting(level, "wide", order, Work(2))
    await some_turns()
    narrow = waiting(level, "narrow", order)
    await some_turns()
    assert not order
    level.leave()
    await some_turns()
    assert order == ["wide"]
    assert level.taken == 4
    level.leave(await wide, Work(2))
    level.leave(await narrow)
    assert (level.taken, level.executing) == (2, 2)


async def test_who_gives_up_waiting_for_many_seats_makes_way() -> None:
    (level,) = levels(2, queued(queues=64, hand=1))
    assert level.enter()
    wide = waiting(level, "wide", work=Work(2))
    await some_turns()
    narrow = waiting(level, "narrow")
    await some_turns()
    assert not narrow.done()
    wide.cancel()
    await asyncio.gather(wide, return_exceptions=True)
    assert (await narrow).number >= 0
    assert level.taken == 2


async def test_a_request_wider_than_its_level_is_let_in_alone() -> None:
    (level,) = levels(2, Limits(shares=10))
    assert level.enter()
    assert not level.enter(Work(5))
    level.leave()
    assert level.enter(Work(5))
    assert not level.enter()


async def test_a_level_borrows_no_more_seats_for_one_request_than_are_lent() -> None:
    first, _ = levels(10, Limits(shares=5), Limits(shares=5, lendable_percent=60))
    assert first.enter(Work(5))
    assert not first.enter(Work(4))
    assert first.enter(Work(3))


@pytest.mark.parametrize(
    ("total", "limits", "widest"),
    [
        (600, queued(queues=64, hand=8), 75),
        (600, queued(queues=64, hand=4), 90),
        (4, queued(queues=64, hand=8), 1),
        (600, Limits(), 0),
    ],
)
def test_one_request_takes_a_part_of_a_level_at_most(total: int, limits: Limits, widest: int) -> None:
    assert levels(total, limits)[0].widest == widest


async def test_seats_that_are_kept_come_back_a_while_after_the_answer() -> None:
    (level,) = levels(3, queued())
    work = Work(3, 2, 0.001)
    assert level.enter(work)
    level.leave(work=work)
    assert (level.executing, level.taken) == (0, 2)
    # Who waits for them is let in when they are there.
    level.leave(await level.wait("a", Work(3)), Work(3))
    assert level.taken == 0


@given(st.text(), st.integers(1, 200), st.integers(1, 200))
def test_a_hand_has_different_cards_of_the_deck_and_is_always_the_same(flow: str, queues: int, size: int) -> None:
    hand = deal(flow, queues, size)
    assert len(set(hand)) == len(hand) == min(size, queues)
    assert all(0 <= card < queues for card in hand)
    assert hand == deal(flow, queues, size)


def test_flows_rarely_share_a_whole_hand() -> None:
    hands = [frozenset(deal(f"user-{number}", 128, 6)) for number in range(500)]
    assert len(set(hands)) == 500
