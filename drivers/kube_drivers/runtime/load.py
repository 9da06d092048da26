"""What containers that only seem to run seem to use: CPU as a constant, a curve over time, or a part of a shared load.

    FakeBehaviour(cpu=0.25, memory="64Mi")
    FakeBehaviour(cpu=[[0, 0.1], [60, 0.9]])           # from 0.1 cores to 0.9 in the first minute, and 0.9 from then on
    visitors = SharedLoad(2.0)                         # two cores' worth of work, whoever there is to do it
    FakeBehaviour(cpu=visitors)

A curve is a list of points (seconds since the container started, value) with straight lines between them. The CPU time
that was used is its integral, so it does not matter how often somebody looks. A `SharedLoad` is split evenly among the
running containers that have it, wherever they run, so that an autoscaler sees each replica's part shrink as it adds
some; its `cores` may be set at any time, and are looked at when somebody asks.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

from kube_core.meta import quantities

__all__ = ["Curve", "Load", "SharedLoad", "read_curve"]


class Curve:
    """A value over the seconds since a start: a constant is a curve with one point."""

    def __init__(self, points: Sequence[tuple[float, float]]) -> None:
        """`points` in the order of their times."""
        self._points = tuple(points)

    def at(self, second: float) -> float:
        points = self._points
        if second <= points[0][0]:
            return points[0][1]
        for (begin, before), (end, after) in itertools.pairwise(points):
            if second < end:
                return before + (after - before) * (second - begin) / (end - begin)
        return points[-1][1]

    def integral(self, begin: float, end: float, most: float = math.inf) -> float:
        """The area under it, and under `most`, between two moments."""
        points = [second for second, _ in self._points]
        within = [second for second in (*points, *self._crossings(most)) if begin < second < end]
        moments = [begin, *sorted(within), end]
        # A step (two points of one time) has its earlier value up to it, and the later one from it.
        return sum(
            (later - earlier) * min(self.at((earlier + later) / 2), most)
            for earlier, later in itertools.pairwise(moments)
        )

    def _crossings(self, value: float) -> Iterator[float]:
        """The moments at which it passes a value on its way from one point to the next."""
        if value < math.inf:
            for (begin, before), (end, after) in itertools.pairwise(self._points):
                if min(before, after) < value < max(before, after):
                    yield begin + (end - begin) * (value - before) / (after - before)


class SharedLoad:
    """Work that all containers with it share. `cores` may be changed at any time."""

    def __init__(self, cores: float = 0.0) -> None:
        self.cores = cores
        self._workers: set[str] = set()

    def join(self, container_id: str) -> None:
        """One more to share it."""
        self._workers.add(container_id)

    def leave(self, container_id: str) -> None:
        self._workers.discard(container_id)

    @property
    def part(self) -> float:
        """The cores that each of them uses now."""
        return self.cores / max(len(self._workers), 1)


#: What a container's CPU may be.
Load = Curve | SharedLoad


def read_curve(value: Any) -> Curve:
    """A number, a quantity's text, or a list of points with either. Raises `ValueError`, `TypeError`."""
    if isinstance(value, Curve):
        return value
    if not isinstance(value, str | int | float):
        points = [(float(second), _number(amount)) for second, amount in value]
        if not points:
            raise ValueError("a curve needs a point")
        if any(later < earlier for (earlier, _), (later, _) in itertools.pairwise(points)):
            raise ValueError("the points of a curve go forward in time")
        return Curve(points)
    return Curve([(0.0, _number(value))])


def _number(value: Any) -> float:
    number = value if isinstance(value, int | float) else quantities.parse(value).milli_value / 1000
    if number < 0:
        raise ValueError(f"{value} is less than 0")
    return float(number)
