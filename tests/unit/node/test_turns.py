from __future__ import annotations

import asyncio

import pytest

from fakes.pods import FakeNode, pod
from kube_core._kit.clock import FakeClock
from kube_core.node.pods.turns import LONGEST, PATIENCE, Turns

pytestmark = pytest.mark.anyio


async def loops() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


class Workers:
    """Some who each take a turn, and end when they are told to."""

    def __init__(self, turns: Turns, count: int) -> None:
        self.begun: list[int] = []
        self.end = [asyncio.Event() for _ in range(count)]
        self.tasks = [asyncio.create_task(self._work(turns, number)) for number in range(count)]

    async def _work(self, turns: Turns, number: int) -> None:
        async with turns.taken():
            self.begun.append(number)
            await self.end[number].wait()

    async def over(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def test_turns_come_in_order_as_earlier_ones_end() -> None:
    workers = Workers(Turns(FakeClock(), 2), 5)
    await loops()
    assert workers.begun == [0, 1]
    workers.end[1].set()
    await loops()
    assert workers.begun == [0, 1, 2]
    workers.tasks[3].cancel()  # it waited
    workers.end[0].set()
    await loops()
    assert workers.begun == [0, 1, 2, 4]
    await workers.over()


async def test_who_takes_long_holds_nobody_up_and_gives_one_turn_back_once() -> None:
    clock = FakeClock()
    workers = Workers(Turns(clock, 1), 4)
    await loops()
    await clock.advance(LONGEST)
    await loops()
    assert workers.begun == [0, 1]
    workers.end[0].set()
    await loops()
    assert workers.begun == [0, 1]
    workers.end[1].set()
    await loops()
    assert workers.begun == [0, 1, 2]
    await workers.over()


async def test_without_a_number_everyone_has_a_turn() -> None:
    turns = Turns(FakeClock())
    workers = Workers(turns, 50)
    await loops()
    assert len(workers.begun) == 50
    await turns.calm()
    await workers.over()


async def test_calm_is_when_nobody_has_or_wants_a_turn() -> None:
    turns = Turns(FakeClock(), 1)
    await turns.calm()
    workers = Workers(turns, 2)
    await loops()
    waiting = asyncio.create_task(turns.calm())
    workers.end[0].set()
    await loops()
    assert not waiting.done()
    workers.end[1].set()
    await loops()
    assert waiting.done()


async def test_where_calm_does_not_come_waiting_and_not_waiting_alternate() -> None:
    clock = FakeClock()
    turns = Turns(clock, 1)
    stop = asyncio.Event()

    async def restless() -> None:
        while not stop.is_set():
            async with turns.taken():
                await asyncio.sleep(0)

    others = [asyncio.create_task(restless()) for _ in range(2)]
    await loops()
    waiting = asyncio.create_task(turns.calm())
    await loops()
    assert not waiting.done()
    await clock.advance(PATIENCE)
    await loops()
    assert waiting.done()
    await turns.calm()  # at once
    await clock.advance(PATIENCE)
    again = asyncio.create_task(turns.calm())
    await loops()
    assert not again.done()
    stop.set()
    await asyncio.gather(again, *others)


async def test_pods_beyond_the_number_of_turns_are_brought_up_when_others_are() -> None:
    async with FakeNode(at_once=2) as node:
        for number in range(6):
            node.run(pod(f"p-{number}"))
        await node.settle()
        assert {node.status(f"p-{number}")["phase"] for number in range(6)} == {"Running"}
