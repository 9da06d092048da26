"""How soon a key is looked at again, by how much there was to look at.

A controller that goes through all the objects of a key each time that one of them changes takes the square of their
number. So one that has just looked at many rests for a moment, and what changes meanwhile is looked at together.
Where there are few nothing is put off.
"""

from __future__ import annotations

from kube_core._kit.clock import Clock
from kube_core.meta.documents import Key

__all__ = ["Pace"]

#: The longest rest, in seconds.
_LONGEST = 1.0


class Pace:
    """`objects_per_second` are looked at for one key, at most, where there are `few` of them or more."""

    def __init__(self, clock: Clock, *, objects_per_second: float, few: int) -> None:
        self._clock = clock
        self._rate = objects_per_second
        self._few = few
        self._not_before: dict[Key, float] = {}

    def rest(self, key: Key) -> float:
        """Seconds that the key has to wait yet; 0 where it may be looked at."""
        return max(self._not_before.get(key, 0.0) - self._clock.monotonic(), 0.0)

    def looked_at(self, key: Key, objects: int) -> None:
        """So many objects are being gone through for the key."""
        if objects >= self._few:
            self._not_before[key] = self._clock.monotonic() + min(objects / self._rate, _LONGEST)

    def forget(self, key: Key) -> None:
        self._not_before.pop(key, None)
