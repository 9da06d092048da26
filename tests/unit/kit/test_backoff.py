from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_core._kit.backoff import Backoff
from kube_core._kit.random import Random


def test_delays_double_up_to_the_maximum() -> None:
    backoff: Backoff[str] = Backoff(0.5, 5)
    assert [backoff.next("a") for _ in range(6)] == [0.5, 1, 2, 4, 5, 5]


def test_each_item_has_its_own_failures() -> None:
    backoff: Backoff[str] = Backoff(1, 100)
    backoff.next("a")
    backoff.next("a")
    assert (backoff.next("b"), backoff.next("a")) == (1, 4)
    assert (backoff.failures("a"), backoff.failures("b"), backoff.failures("c")) == (3, 1, 0)


def test_an_item_that_was_reset_begins_anew() -> None:
    backoff: Backoff[str] = Backoff(1, 100)
    backoff.next("a")
    backoff.next("a")
    backoff.reset("a")
    backoff.reset("unknown")
    assert backoff.failures("a") == 0
    assert backoff.next("a") == 1


def test_a_factor_of_one_waits_the_same_each_time() -> None:
    backoff: Backoff[str] = Backoff(2, 100, factor=1)
    assert [backoff.next("a") for _ in range(3)] == [2, 2, 2]


def test_thousands_of_failures_do_not_overflow() -> None:
    backoff: Backoff[str] = Backoff(0.005, 1000, factor=10)
    assert [backoff.next("a") for _ in range(5000)][-1] == 1000


@given(
    initial=st.floats(0.001, 10),
    times=st.floats(1, 1000),
    factor=st.floats(1, 10),
    jitter=st.floats(0, 1),
    seed=st.integers(0, 2**32),
)
def test_delays_grow_within_their_bounds(initial: float, times: float, factor: float, jitter: float, seed: int) -> None:
    maximum = initial * times
    plain: Backoff[int] = Backoff(initial, maximum, factor)
    jittered: Backoff[int] = Backoff(initial, maximum, factor, jitter, Random(seed))
    delays = [plain.next(0) for _ in range(40)]
    assert delays[0] == initial
    assert delays == sorted(delays)
    assert delays[-1] <= maximum
    for delay in delays:
        assert delay <= jittered.next(0) <= delay * (1 + jitter)


@pytest.mark.parametrize(
    ("initial", "maximum", "factor", "jitter"),
    [(0, 1, 2, 0), (2, 1, 2, 0), (1, 2, 0.5, 0), (1, 2, 2, -1), (1, 2, 2, 1)],
)
def test_settings_that_make_no_sense_are_refused(initial: float, maximum: float, factor: float, jitter: float) -> None:
    with pytest.raises(ValueError, match="backoff"):
        Backoff(initial, maximum, factor, jitter)
