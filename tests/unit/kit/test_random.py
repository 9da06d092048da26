from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st

from kube_core._kit.random import SUFFIX_ALPHABET, Random


def test_one_seed_gives_the_same_twice() -> None:
    first, second = Random(7), Random(7)
    assert [(r.uid(), r.suffix(), r.jitter(1, 1), r.below(9)) for r in (first,)] == [
        (r.uid(), r.suffix(), r.jitter(1, 1), r.below(9)) for r in (second,)
    ]


def test_without_a_seed_no_two_are_alike() -> None:
    assert Random().uid() != Random().uid()


@given(st.integers())
def test_a_uid_is_a_version_4_uuid(seed: int) -> None:
    uid = uuid.UUID(Random(seed).uid())
    assert (uid.version, uid.variant) == (4, uuid.RFC_4122)


@given(st.integers(), st.integers(1, 20))
def test_a_suffix_may_stand_in_a_name(seed: int, length: int) -> None:
    suffix = Random(seed).suffix(length)
    assert len(suffix) == length
    assert set(suffix) <= set(SUFFIX_ALPHABET)


@given(st.integers(), st.floats(0, 1000), st.floats(0, 2), st.integers(1, 1000))
def test_chance_stays_within_its_bounds(seed: int, duration: float, factor: float, bound: int) -> None:
    random = Random(seed)
    assert duration <= random.jitter(duration, factor) <= duration * (1 + factor)
    assert duration <= random.uniform(duration, duration + factor) <= duration + factor
    assert 0 <= random.below(bound) < bound
