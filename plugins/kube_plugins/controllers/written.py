"""What a controller wrote last, until its cache shows it: so that it plans from its own latest word.

A status carries what was counted; planning from one that is older than what was written would count twice. Versions
of one object are compared as numbers, which Kubernetes promises of its resource versions.
"""

from __future__ import annotations

from kube_core.meta.documents import Document, Key, key_of, resource_version_of, uid_of

__all__ = ["LastWritten"]


class LastWritten:
    """The last answers to one controller's writes, by key."""

    def __init__(self) -> None:
        self._written: dict[Key, Document] = {}

    def note(self, document: Document) -> Document:
        """Keep the answer to a write; returns it."""
        self._written[key_of(document)] = document
        return document

    def newest(self, cached: Document) -> Document:
        """The cached object, or what was written of it since."""
        written = self._written.get(key_of(cached))
        if written is None:
            return cached
        if uid_of(written) == uid_of(cached) and _version(written) > _version(cached):
            return written
        del self._written[key_of(cached)]
        return cached

    def is_latest(self, document: Document) -> bool:
        """Whether this is what was written last, and no more than that."""
        written = self._written.get(key_of(document))
        return written is not None and resource_version_of(written) == resource_version_of(document)

    def forget(self, key: Key) -> None:
        self._written.pop(key, None)


def _version(document: Document) -> int:
    text = resource_version_of(document)
    return int(text) if text.isascii() and text.isdigit() else 0
