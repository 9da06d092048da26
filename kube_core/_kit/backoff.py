"""Exponential backoff, for each item on its own: work queues, crash loops, reconnecting.

What always holds: the first failure waits `initial` seconds, each further one `factor` times as long, never longer
than `maximum` (before jitter); one item's failures do not touch another's; what was reset starts anew. Only items that
have failed take memory.

When an item counts as well again (a pod that ran for ten minutes) is the caller's to say, by `reset`.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Generic, TypeVar

from kube_core._kit.random import Random

__all__ = ["Backoff"]

K = TypeVar("K", bound=Hashable)


class Backoff(Generic[K]):
    """How long to wait before each item is tried again.

    Times are in seconds. `jitter` lengthens a delay by up to that fraction of itself, and needs `random`.
    """

    def __init__(
        self, initial: float, maximum: float, factor: float = 2.0, jitter: float = 0.0, random: Random | None = None
    ) -> None:
        if not 0 < initial <= maximum:
            raise ValueError(f"backoff needs 0 < initial <= maximum, not {initial} and {maximum}")
        if factor < 1 or jitter < 0:
            raise ValueError(f"backoff needs factor >= 1 and jitter >= 0, not {factor} and {jitter}")
        if jitter and random is None:
            raise ValueError("backoff with jitter needs a source of chance")
        self._initial = initial
        self._maximum = maximum
        self._factor = factor
        self._jitter = jitter
        self._random = random
        self._failures: dict[K, int] = {}
        # Counting on past the cap would end in a float that overflows.
        self._enough = math.ceil(math.log(maximum / initial, factor)) if factor > 1 else 0

    def next(self, key: K) -> float:
        """The item failed: how many seconds to wait before it is tried again."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = min(self._initial * self._factor ** min(failures, self._enough), self._maximum)
        if self._jitter and self._random is not None:
            delay = self._random.jitter(delay, self._jitter)
        return delay

    def reset(self, key: K) -> None:
        """The item is well; its next failure counts as its first."""
        self._failures.pop(key, None)

    def failures(self, key: K) -> int:
        """How often the item failed since it was last well."""
        return self._failures.get(key, 0)
