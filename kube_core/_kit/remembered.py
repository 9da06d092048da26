"""Answers that hold for a while: what somebody else said, so that it need not be asked at once again.

Bounded: the least recently asked for goes first. Time is the clock's, so virtual time ends what is remembered, too.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final, Generic, TypeVar

from kube_core._kit.clock import Clock

__all__ = ["Remembered"]

_T = TypeVar("_T")
_MOST: Final = 4096


class Remembered(Generic[_T]):
    """Answers, each for a while; the least recently asked for goes first."""

    def __init__(self, clock: Clock, *, most: int = _MOST) -> None:
        self._clock = clock
        self._most = most
        self._answers: OrderedDict[object, tuple[float, _T]] = OrderedDict()

    def get(self, key: object, default: Any = None) -> Any:
        found = self._answers.get(key)
        if found is None:
            return default
        until, answer = found
        if self._clock.monotonic() >= until:
            del self._answers[key]
            return default
        self._answers.move_to_end(key)
        return answer

    def put(self, key: object, answer: _T, ttl: float) -> None:
        """Remember an answer for so many seconds; without any it is not."""
        if ttl <= 0:
            return
        self._answers[key] = (self._clock.monotonic() + ttl, answer)
        if len(self._answers) > self._most:
            self._answers.popitem(last=False)
