"""How programs of the project's own set the garbage collector."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from kube_core._kit import garbage


@pytest.fixture(autouse=True)
def _collector_as_it_was() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()
    gc.enable()


def test_what_there_is_at_the_start_is_not_looked_at_again() -> None:
    garbage.hold_off()
    assert not gc.isenabled()
    before = gc.get_freeze_count()
    kept: list[list[int]] = [[] for _ in range(1000)]
    garbage.settle_in()
    assert gc.isenabled()
    assert gc.get_freeze_count() >= before + len(kept)
    assert gc.get_threshold()[0] > 700


def test_a_small_process_keeps_no_garbage_of_its_start() -> None:
    class Circle:
        found = 0

        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            Circle.found += 1

    garbage.hold_off()
    Circle()
    garbage.settle_in(small=True)
    assert Circle.found == 1
    assert 700 < gc.get_threshold()[0] < 20_000


def test_circles_made_later_are_found_all_the_same() -> None:
    garbage.settle_in()

    class Circle:
        found = 0

        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            Circle.found += 1

    held: list[list[int]] = []
    for _ in range(3 * gc.get_threshold()[0]):
        Circle()
        held.append([])
    assert Circle.found
