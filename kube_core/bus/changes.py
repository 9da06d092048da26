"""What travels on the bus: `Stored`, one object at one revision, and `Change`, what a revision did to an object.

Both are shared by every reader in the process and never change. Whatever is derived from the stored bytes (the
document, an encoded watch event) is made when first asked for, once, whoever asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from kube_core.meta.documents import Document, FrozenDict, Key, freeze

__all__ = ["Change", "Stored", "encode"]

_METADATA = b'"metadata":{'
_NO_LABELS: Mapping[str, str] = {}


def encode(document: Mapping[str, Any]) -> bytes:
    """The stored form of an object: canonical JSON, `kind`, `apiVersion` and `metadata` first, no resourceVersion."""
    metadata = document["metadata"]
    if "resourceVersion" in metadata:
        metadata = {name: value for name, value in metadata.items() if name != "resourceVersion"}
    ordered = {"kind": document["kind"], "apiVersion": document["apiVersion"], "metadata": metadata}
    for name, value in document.items():
        if name not in ordered:
            ordered[name] = value
    return orjson.dumps(ordered)


class Stored:
    """An object as it stands in the store at `revision`. `data` is what `encode` made."""

    __slots__ = ("_document", "_raw", "_split", "data", "key", "revision")

    def __init__(self, key: Key, revision: int, data: bytes, raw: dict[str, Any] | None = None) -> None:
        """`raw`: the document that `data` was encoded from, where it is at hand; nobody may write to it any more."""
        self.key = key
        self.revision = revision
        self.data = data
        self._raw = raw
        self._document: Document | None = None
        self._split = 0

    @property
    def document(self) -> Document:
        """The object with its resourceVersion, frozen."""
        if self._document is None:
            raw = self._raw if self._raw is not None else orjson.loads(self.data)
            metadata = {**raw["metadata"], "resourceVersion": str(self.revision)}
            self._document = FrozenDict({**freeze(raw), "metadata": freeze(metadata)})
            self._raw = None
        return self._document

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The metadata, for reading only. Cheaper than `document` where nobody needed that yet."""
        if self._document is not None:
            found: Mapping[str, Any] = self._document["metadata"]
            return found
        if self._raw is None:
            self._raw = orjson.loads(self.data)
        raw: Mapping[str, Any] = self._raw["metadata"]
        return raw

    @property
    def labels(self) -> Mapping[str, str]:
        return self.metadata.get("labels") or _NO_LABELS

    @property
    def wire(self) -> bytes:
        """The JSON that clients get for the object itself."""
        at = self._metadata_at()
        return b'%b"resourceVersion":"%d"%b%b' % (self.data[:at], self.revision, self._comma(at), self.data[at:])

    def list_item(self, *, typed: bool) -> bytes:
        """The JSON of the object as an item of a list: without kind and apiVersion unless `typed`."""
        if typed:
            return self.wire
        at = self._metadata_at()
        return b'{"metadata":{"resourceVersion":"%d"%b%b' % (self.revision, self._comma(at), self.data[at:])

    def _metadata_at(self) -> int:
        """Where the first member of the metadata begins."""
        if not self._split:
            self._split = self.data.index(_METADATA) + len(_METADATA)
        return self._split

    def _comma(self, at: int) -> bytes:
        return b"" if self.data[at : at + 1] == b"}" else b","

    def __repr__(self) -> str:
        return f"Stored({self.key}, revision={self.revision})"


class Change:
    """What one revision did to one object: created (`before` is None), changed, or deleted (`after` is None)."""

    __slots__ = ("_events", "after", "before", "key", "revision")

    def __init__(self, key: Key, revision: int, before: Stored | None, after: Stored | None) -> None:
        self.key = key
        self.revision = revision
        self.before = before
        self.after = after
        self._events: dict[str, bytes] = {}

    @property
    def latest(self) -> Stored:
        """The object as it is, or as it last was. A deleted one carries the revision of its deletion."""
        if self.after is not None:
            return self.after
        if self.before is None:
            raise AssertionError("a change has a before or an after")
        last = self.before
        return last if last.revision == self.revision else Stored(last.key, self.revision, last.data, last._raw)

    def shown(self, kind: str) -> Stored:
        """What a watcher gets for this change as ADDED, MODIFIED or DELETED.

        An object that left a watcher's selection is shown as it was, with the revision at which it left.
        """
        if kind == "DELETED" and self.before is not None and self.after is not None:
            return Stored(self.key, self.revision, self.before.data)
        return self.latest

    def event(self, kind: str) -> bytes:
        """The line of a watch for this change; encoded once for all watchers."""
        line = self._events.get(kind)
        if line is None:
            line = self._events[kind] = b'{"type":"%b","object":%b}\n' % (kind.encode(), self.shown(kind).wire)
        return line

    def __repr__(self) -> str:
        verb = "deleted" if self.after is None else "created" if self.before is None else "changed"
        return f"Change({self.key} {verb} at {self.revision})"
