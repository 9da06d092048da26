from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kube_core._kit.broadcast import Broadcast, Lagged, Receiver

pytestmark = pytest.mark.anyio


async def drain(receiver: Receiver[int]) -> list[int]:
    return [item async for item in receiver]


async def test_every_subscriber_gets_every_item_in_order() -> None:
    broadcast: Broadcast[int] = Broadcast()
    receivers = [broadcast.subscribe() for _ in range(3)]
    for item in range(5):
        broadcast.send(item)
    broadcast.close()
    assert [await drain(receiver) for receiver in receivers] == [[0, 1, 2, 3, 4]] * 3


async def test_a_subscriber_gets_what_is_sent_after_it_came() -> None:
    broadcast: Broadcast[int] = Broadcast()
    broadcast.send(1)
    receiver = broadcast.subscribe()
    broadcast.send(2)
    broadcast.close()
    assert await drain(receiver) == [2]


async def test_a_waiting_subscriber_is_woken() -> None:
    broadcast: Broadcast[int] = Broadcast()
    receiver = broadcast.subscribe()
    waiting = asyncio.ensure_future(anext(receiver))
    await asyncio.sleep(0)
    broadcast.send(7)
    async with asyncio.timeout(5):
        assert await waiting == 7


async def test_a_slow_subscriber_is_cut_off_and_the_others_feel_nothing() -> None:
    broadcast: Broadcast[int] = Broadcast(bound=2)
    slow, roomy = broadcast.subscribe(), broadcast.subscribe(bound=10)
    for item in range(3):
        broadcast.send(item)
    assert len(broadcast) == 1
    assert len(slow) == 0
    with pytest.raises(Lagged):
        await anext(slow)
    with pytest.raises(Lagged):
        await anext(slow)
    broadcast.close()
    assert await drain(roomy) == [0, 1, 2]


async def test_a_subscriber_that_reads_in_time_is_never_cut_off() -> None:
    broadcast: Broadcast[int] = Broadcast(bound=1)
    receiver = broadcast.subscribe()
    for item in range(10):
        broadcast.send(item)
        assert await anext(receiver) == item


async def test_a_closed_subscriber_costs_nothing_more() -> None:
    broadcast: Broadcast[int] = Broadcast()
    async with broadcast.subscribe() as receiver:
        broadcast.send(1)
        assert len(broadcast) == 1
    assert len(broadcast) == 0
    broadcast.send(2)
    assert await drain(receiver) == []


async def test_a_cancelled_read_loses_nothing() -> None:
    broadcast: Broadcast[int] = Broadcast()
    receiver = broadcast.subscribe()
    waiting = asyncio.ensure_future(anext(receiver))
    await asyncio.sleep(0)
    broadcast.send(1)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert await anext(receiver) == 1


async def test_after_the_close_a_new_subscriber_ends_at_once() -> None:
    broadcast: Broadcast[int] = Broadcast()
    broadcast.close()
    broadcast.send(1)
    assert await drain(broadcast.subscribe()) == []


def test_room_for_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Broadcast[int](bound=0)


@settings(deadline=None)
@given(st.lists(st.one_of(st.just("send"), st.integers(0, 2)), max_size=60), st.integers(1, 4))
def test_each_reads_a_prefix_without_gap_and_is_cut_off_only_beyond_its_bound(
    steps: list[str | int], bound: int
) -> None:
    async def run() -> None:
        broadcast: Broadcast[int] = Broadcast(bound)
        receivers = [broadcast.subscribe() for _ in range(3)]
        unread = [0, 0, 0]
        read = [0, 0, 0]
        cut_off = [False] * 3
        sent = 0
        for step in steps:
            if isinstance(step, str):
                broadcast.send(sent)
                sent += 1
                for index in range(3):
                    cut_off[index] |= unread[index] == bound
                    unread[index] += 1
            elif cut_off[step]:
                with pytest.raises(Lagged):
                    await anext(receivers[step])
            elif unread[step]:
                assert await anext(receivers[step]) == read[step]
                read[step] += 1
                unread[step] -= 1
        assert len(broadcast) == cut_off.count(False)

    asyncio.run(run())
