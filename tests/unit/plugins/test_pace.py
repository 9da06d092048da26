"""A key with many objects rests after it was looked at, one with few does not."""

from __future__ import annotations

import pytest

from kube_core._kit.clock import FakeClock
from kube_core.meta.documents import Key
from kube_plugins.controllers.pace import Pace

KEY, OTHER = Key("default", "web"), Key("default", "other")


@pytest.mark.anyio
async def test_the_rest_is_as_long_as_there_was_much_to_look_at() -> None:
    clock = FakeClock()
    pace = Pace(clock, objects_per_second=1000, few=50)
    pace.looked_at(KEY, 49)
    assert pace.rest(KEY) == 0
    pace.looked_at(KEY, 500)
    assert (pace.rest(KEY), pace.rest(OTHER)) == (0.5, 0)
    await clock.advance(0.3)
    assert round(pace.rest(KEY), 6) == 0.2
    await clock.advance(0.2)
    assert pace.rest(KEY) == 0


def test_nobody_rests_longer_than_a_second() -> None:
    pace = Pace(FakeClock(), objects_per_second=1000, few=50)
    pace.looked_at(KEY, 100_000)
    assert pace.rest(KEY) == 1.0
    pace.forget(KEY)
    assert pace.rest(KEY) == 0
