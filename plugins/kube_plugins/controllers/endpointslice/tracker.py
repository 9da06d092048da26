"""What this controller has written and its cache has not shown yet.

New slices get generated names, so a second look through a cache that is behind would make them twice. After each write
the version of the slice is noted here; until the cache shows that version or a later one (or the slice's end), the
Service is left alone. Versions are compared as numbers, as the API documents since v1.35.

A note holds for `PATIENCE` seconds: a slice may be deleted so soon that its end is shown before the write is answered,
and would otherwise be waited for until the end of days.
"""

from __future__ import annotations

from collections.abc import Iterable

from kube_core._kit.clock import Clock
from kube_core.meta.documents import Document, Key, resource_version_of, uid_of

__all__ = ["PATIENCE", "SliceTracker"]

#: Seconds for which the cache may be behind what was written.
PATIENCE = 5.0


class SliceTracker:
    """The versions of slices that were written, by Service and by uid; each with the moment of the write."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._written: dict[Key, dict[str, tuple[int, float]]] = {}

    def wrote(self, service: Key, slice_: Document) -> None:
        """A slice was created or updated; this is the answer."""
        noted = int(resource_version_of(slice_) or 0), self._clock.monotonic()
        self._written.setdefault(service, {})[uid_of(slice_)] = noted

    def gone(self, service: Key, uid: str) -> None:
        """The cache has shown that a slice is deleted."""
        self._written.get(service, {}).pop(uid, None)

    def is_stale(self, service: Key, present: Iterable[Document]) -> bool:
        """Whether what the cache shows for a Service is older than what was written."""
        written = self._written.get(service)
        if not written:
            return False
        since = self._clock.monotonic() - PATIENCE
        shown = {uid_of(slice_): int(resource_version_of(slice_) or 0) for slice_ in present}
        return any(shown.get(uid, -1) < version for uid, (version, moment) in written.items() if moment > since)

    def forget(self, service: Key) -> None:
        self._written.pop(service, None)
