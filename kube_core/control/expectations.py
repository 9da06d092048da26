"""Expectations: what a controller has just written and not seen yet, so that it does not write it twice.

A controller that creates pods reads them from a cache that lags behind its writes. Before it writes it notes how many
creations and which deletions (by uid) it is about to make; as its watch shows them they are struck off; until all are,
or five minutes have passed (a watch event can be lost with a relist), `satisfied` is False and the controller leaves
the numbers alone. This mirrors upstream's ControllerExpectations and its uid-tracking form for deletions.

Keys are the controller object's. One owner: the controller; all calls are made from the event loop.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from kube_core._kit.clock import Clock
from kube_core.meta.documents import Key

__all__ = ["EXPIRY", "Expectations"]

#: Seconds after which what was not seen is no longer waited for.
EXPIRY = 300.0


@attrs.define
class _Pending:
    since: float
    creations: int = 0
    deletions: set[str] = attrs.field(factory=set)


class Expectations:
    """The writes of one controller that its caches have yet to show."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pending: dict[Key, _Pending] = {}

    def expect_creations(self, key: Key, count: int) -> None:
        """`count` objects are about to be created for `key`."""
        self._note(key).creations += count

    def expect_deletions(self, key: Key, uids: Iterable[str]) -> None:
        """The objects with these uids are about to be deleted for `key`."""
        self._note(key).deletions.update(uids)

    def creation_observed(self, key: Key) -> None:
        """One creation was seen, or its write failed."""
        pending = self._pending.get(key)
        if pending is not None and pending.creations > 0:
            pending.creations -= 1

    def deletion_observed(self, key: Key, uid: str) -> None:
        """The object is gone or going, or the write failed."""
        pending = self._pending.get(key)
        if pending is not None:
            pending.deletions.discard(uid)

    def satisfied(self, key: Key) -> bool:
        """Whether everything noted for `key` was seen, or has been waited for long enough."""
        pending = self._pending.get(key)
        if pending is None:
            return True
        if not pending.creations and not pending.deletions:
            return True
        return self._clock.monotonic() - pending.since > EXPIRY

    def creations(self, key: Key) -> int:
        """How many creations were not seen yet, of those that are still waited for."""
        return 0 if self.satisfied(key) else self._pending[key].creations

    def forget(self, key: Key) -> None:
        """The controller object is gone."""
        self._pending.pop(key, None)

    def _note(self, key: Key) -> _Pending:
        """The record to add to; a round that is over is dropped first."""
        pending = self._pending.get(key)
        if pending is None or self.satisfied(key):
            pending = self._pending[key] = _Pending(self._clock.monotonic())
        return pending
