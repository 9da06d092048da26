"""The machine's clock is set, forward or back: what counts time goes on, and only what names a time of day notices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from fakes.server import ALICE, Caller, running
from kube_core.apiserver.fairness.levels import LONGEST_WAIT, Level, Limits, Refused, Seats

pytestmark = pytest.mark.anyio

MAPS = "/api/v1/namespaces/default/configmaps"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
DAY = 86_400.0
STEPS = (30 * DAY, -30 * DAY)


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    async with running(upkeep=False) as started:
        yield started


def step(caller: Caller, seconds: float) -> None:
    """Set the time of day, as an administrator or NTP does: no time passes."""
    caller.clock._start += seconds


@pytest.mark.parametrize("seconds", STEPS)
async def test_bookmarks_and_the_end_of_a_watch_come_when_their_time_has_passed(caller: Caller, seconds: float) -> None:
    answer = await caller.ask("GET", f"{MAPS}?watch=1&allowWatchBookmarks=1&timeoutSeconds=90")
    stream: Any = answer.stream
    reading = asyncio.create_task(anext(stream))
    await caller.clock.advance(30)
    step(caller, seconds)
    await caller.clock.advance(29)
    assert not reading.done()
    await caller.clock.advance(1)
    assert orjson.loads(await reading)["type"] == "BOOKMARK"
    ending = asyncio.create_task(anext(stream, None))
    await caller.clock.advance(29)
    assert not ending.done()
    await caller.clock.advance(1)
    assert await ending is None


@pytest.mark.parametrize("seconds", STEPS)
async def test_objects_are_written_and_read_as_before(caller: Caller, seconds: float) -> None:
    await caller.post(MAPS, {"metadata": {"name": "before"}})
    step(caller, seconds)
    await caller.post(MAPS, {"metadata": {"name": "after"}})
    await caller.patch(f"{MAPS}/before", {"data": {"a": "b"}})
    listed = await caller.get(MAPS)
    revisions = [int(each["metadata"]["resourceVersion"]) for each in listed["items"]]
    # By name: `after` was made before `before` was changed.
    assert revisions[0] < revisions[1]


async def test_a_token_holds_until_the_clock_says_that_it_does_not(caller: Caller) -> None:
    await caller.post(ACCOUNTS, {"metadata": {"name": "robot"}})
    asked = {"spec": {"expirationSeconds": 3600}}
    token = (await caller.post(f"{ACCOUNTS}/robot/token", asked))["status"]["token"]
    # Known and forbidden, not unknown.
    assert (await caller.ask("GET", MAPS, token=token)).status == 403
    step(caller, 2 * 3600)
    assert (await caller.ask("GET", MAPS, token=token)).status == 401
    step(caller, -2 * 3600)
    assert (await caller.ask("GET", MAPS, token=token)).status == 403
    # It is of a time to come, for a clock that was set back.
    step(caller, -DAY)
    assert (await caller.ask("GET", MAPS, token=token)).status == 401


@pytest.mark.parametrize("seconds", STEPS)
async def test_who_waits_for_a_seat_waits_as_long_as_ever(caller: Caller, seconds: float) -> None:
    seats = Seats(1)
    level = Level("l", Limits(shares=1, queues=1, hand_size=1, queue_length=1), seats, caller.clock)
    seats.share_out([level])
    level.enter()
    waiting = asyncio.create_task(level.wait(ALICE.name))
    await caller.clock.advance(1)
    step(caller, seconds)
    await caller.clock.advance(LONGEST_WAIT - 2)
    assert not waiting.done()
    await caller.clock.advance(1)
    with pytest.raises(Refused, match="time-out"):
        await waiting
