"""Whatever a client sends, it is never answered 500, and every answer ends."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fakes.hammer import hammer
from fakes.server import running

pytestmark = pytest.mark.anyio

#: What it takes to ask is nothing to measure here, and a run of requests cannot be made smaller than its seed.
_SETTINGS = settings(
    deadline=None, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck), database=None
)


@settings(_SETTINGS, max_examples=25, derandomize=True)
@given(seed=st.integers(0, 2**32))
async def test_no_request_is_answered_500(seed: int) -> None:
    async with running(upkeep=False) as caller:
        await hammer(caller, seed, 120)


@pytest.mark.chaos
@settings(_SETTINGS, max_examples=2000)
@given(seed=st.integers(0, 2**32))
async def test_no_request_of_very_many_is_answered_500(seed: int) -> None:
    async with running(upkeep=False) as caller:
        await hammer(caller, seed, 200)
