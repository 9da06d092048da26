"""Whatever a client sends, it is never answered 500, and every answer ends.

The requests are made by chance, from seeds that are always the same: one run asks what every other asks.
"""

from __future__ import annotations

import pytest

from fakes.hammer import hammer
from fakes.server import running

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("first", range(0, 30, 5))
async def test_no_request_is_answered_500(first: int) -> None:
    await _ask_by(range(first, first + 5), 120)


@pytest.mark.chaos
@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(1_000, 3_000, 100))
async def test_no_request_of_very_many_is_answered_500(first: int) -> None:
    await _ask_by(range(first, first + 100), 200)


async def _ask_by(seeds: range, times: int) -> None:
    """A fresh server is asked so many requests for each seed."""
    for seed in seeds:
        async with running(upkeep=False) as caller:
            await hammer(caller, seed, times)
