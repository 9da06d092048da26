"""What this controller has written and its cache has not shown yet.

New slices get generated names, so a second look through a cache that is behind would make them twice. After each write
the version of the slice is noted here; until the cache shows that version or a later one (or the slice's end), the
Service is left alone. Versions are compared as numbers, as the API documents since v1.35.
"""

from __future__ import annotations

from collections.abc import Iterable

from kube_core.meta.documents import Document, Key, resource_version_of, uid_of

__all__ = ["SliceTracker"]


class SliceTracker:
    """The versions of slices that were written, by Service and by uid."""

    def __init__(self) -> None:
        self._written: dict[Key, dict[str, int]] = {}

    def wrote(self, service: Key, slice_: Document) -> None:
        """A slice was created or updated; this is the answer."""
        self._written.setdefault(service, {})[uid_of(slice_)] = int(resource_version_of(slice_) or 0)

    def gone(self, service: Key, uid: str) -> None:
        """The cache has shown that a slice is deleted."""
        self._written.get(service, {}).pop(uid, None)

    def is_stale(self, service: Key, present: Iterable[Document]) -> bool:
        """Whether what the cache shows for a Service is older than what was written."""
        written = self._written.get(service)
        if not written:
            return False
        shown = {uid_of(slice_): int(resource_version_of(slice_) or 0) for slice_ in present}
        return any(shown.get(uid, -1) < version for uid, version in written.items())

    def forget(self, service: Key) -> None:
        self._written.pop(service, None)
