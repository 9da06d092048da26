from __future__ import annotations

import pytest

from kube_core._kit.clock import FakeClock
from kube_core.control.expectations import EXPIRY, Expectations
from kube_core.meta.documents import Key

pytestmark = pytest.mark.anyio

KEY = Key("default", "web")


async def test_nothing_expected_is_satisfied() -> None:
    assert Expectations(FakeClock()).satisfied(KEY)


async def test_creations_are_counted_off() -> None:
    expectations = Expectations(FakeClock())
    expectations.expect_creations(KEY, 2)
    expectations.creation_observed(KEY)
    assert not expectations.satisfied(KEY)
    expectations.creation_observed(KEY)
    assert expectations.satisfied(KEY)


async def test_deletion_is_struck_off_once_by_uid() -> None:
    expectations = Expectations(FakeClock())
    expectations.expect_deletions(KEY, ["a", "b"])
    expectations.deletion_observed(KEY, "a")
    expectations.deletion_observed(KEY, "a")
    expectations.deletion_observed(KEY, "other")
    assert not expectations.satisfied(KEY)
    expectations.deletion_observed(KEY, "b")
    assert expectations.satisfied(KEY)


async def test_creations_seen_beforehand_do_not_count_for_later_ones() -> None:
    expectations = Expectations(FakeClock())
    expectations.creation_observed(KEY)
    expectations.expect_creations(KEY, 1)
    assert not expectations.satisfied(KEY)


async def test_what_never_shows_is_waited_for_five_minutes() -> None:
    clock = FakeClock()
    expectations = Expectations(clock)
    expectations.expect_creations(KEY, 1)
    await clock.advance(EXPIRY)
    assert not expectations.satisfied(KEY)
    await clock.advance(1)
    assert expectations.satisfied(KEY)
    expectations.expect_creations(KEY, 1)
    assert not expectations.satisfied(KEY)
    expectations.creation_observed(KEY)
    assert expectations.satisfied(KEY)


async def test_forgotten_key_starts_afresh() -> None:
    expectations = Expectations(FakeClock())
    expectations.expect_creations(KEY, 1)
    expectations.forget(KEY)
    assert expectations.satisfied(KEY)


async def test_creations_that_were_not_seen_are_counted() -> None:
    clock = FakeClock()
    expectations = Expectations(clock)
    assert expectations.creations(KEY) == 0
    expectations.expect_creations(KEY, 3)
    expectations.creation_observed(KEY)
    assert expectations.creations(KEY) == 2
    await clock.advance(EXPIRY + 1)
    assert expectations.creations(KEY) == 0
