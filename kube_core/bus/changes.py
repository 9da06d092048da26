"""What travels on the bus: `Stored`, one object at one revision, and `Change`, what a revision did to an object.

Both are shared by every reader in the process and never change. Whatever is derived from the stored bytes (the
document, an encoded watch event) is made when first asked for, once, whoever asks.

A decoded document weighs several times what its bytes do. Of the objects that a cache holds, only those that were
`Recent`ly decoded keep theirs; another's is made again when it is asked for, unless a reader still holds it.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from kube_core.meta.documents import Document, FrozenDict, Key, freeze

__all__ = ["Change", "Recent", "Stored", "encode"]

_METADATA = b'"metadata":{'
_PARTIAL = b'{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":'
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
    # These bytes are kept, and orjson's own have room for 16 KB behind them.
    return orjson.dumps(ordered)[:-1] + b"}"


class Recent:
    """The objects that were decoded of late: up to `limit` bytes of their encoded form."""

    def __init__(self, limit: int = 16 << 20) -> None:
        self._limit = limit
        self._held = 0
        self._objects: deque[Stored] = deque()

    def keep(self, stored: Stored) -> None:
        """`stored` has been decoded; whatever was so the longest ago lets go of its document."""
        self._objects.append(stored)
        self._held += len(stored.data)
        while self._held > self._limit:
            oldest = self._objects.popleft()
            self._held -= len(oldest.data)
            oldest.let_go()


class Stored:
    """An object as it stands in the store at `revision`. `data` is what `encode` made."""

    __slots__ = ("_document", "_elsewhere", "_end", "_packed", "_raw", "_recent", "_split", "data", "key", "revision")

    def __init__(
        self,
        key: Key,
        revision: int,
        data: bytes,
        raw: dict[str, Any] | None = None,
        recent: Recent | None = None,
    ) -> None:
        """`raw`: the document that `data` was encoded from, where it is at hand; nobody may write to it any more.

        `recent`: where to say that it was decoded, for an object that is held for long.
        """
        self.key = key
        self.revision = revision
        self.data = data
        self._raw = raw
        self._recent = recent
        self._document: FrozenDict | None = None
        self._elsewhere: weakref.ref[FrozenDict] | None = None
        self._packed: bytes | None = None
        self._split = self._end = 0
        if raw is not None and recent is not None:
            recent.keep(self)

    @property
    def document(self) -> Document:
        """The object with its resourceVersion, frozen."""
        document = self._document
        if document is None:
            document = self._elsewhere() if self._elsewhere is not None else None
            if document is not None:
                self._document = document
                if self._recent is not None:
                    self._recent.keep(self)
                return document
            document = self._document = freeze(self._versioned())
            self._raw = self._elsewhere = None
        return document

    def let_go(self) -> None:
        """Keep what is decoded only as long as somebody else does."""
        if self._document is not None:
            self._elsewhere = weakref.ref(self._document)
        self._document = self._raw = self._packed = None

    def packed(self, pack: Callable[[Document], bytes]) -> bytes:
        """What `pack` makes of the document: kept as long as that is. It must be the same function each time."""
        packed = self._packed
        if packed is None:
            packed = self._packed = pack(self._document if self._document is not None else self._versioned())
        return packed

    def _versioned(self) -> dict[str, Any]:
        """The object with its resourceVersion, for who only reads it now."""
        raw = self._decoded()
        return {**raw, "metadata": {**raw["metadata"], "resourceVersion": str(self.revision)}}

    def _decoded(self) -> dict[str, Any]:
        raw = self._raw
        if raw is None:
            raw = self._raw = orjson.loads(self.data)
            if self._recent is not None:
                self._recent.keep(self)
        return raw

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The metadata, for reading only. Cheaper than `document` where nobody needed that yet."""
        document = self._document if self._document is not None else self._decoded()
        metadata: Mapping[str, Any] = document["metadata"]
        return metadata

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

    @property
    def partial(self) -> bytes:
        """The JSON of a `PartialObjectMetadata`: cut out of the stored bytes, once it is known where it ends there."""
        at = self._metadata_at()
        if not self._end:
            metadata = self.metadata
            if "resourceVersion" in metadata:
                metadata = {name: value for name, value in metadata.items() if name != "resourceVersion"}
            encoded = orjson.dumps(metadata)
            end = at - 1 + len(encoded)
            if self.data[at - 1 : end] != encoded:
                # Whoever wrote it did not write as we do.
                whole = {**metadata, "resourceVersion": str(self.revision)}
                return _PARTIAL + orjson.dumps(whole) + b"}"
            self._end = end
        return b'%b{"resourceVersion":"%d"%b%b}' % (
            _PARTIAL,
            self.revision,
            self._comma(at),
            self.data[at : self._end],
        )

    def apart(self) -> Stored:
        """The same object, sharing nothing that changes: for another thread."""
        return Stored(self.key, self.revision, self.data)

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

    __slots__ = ("_events", "_frames", "after", "before", "key", "revision")

    def __init__(self, key: Key, revision: int, before: Stored | None, after: Stored | None) -> None:
        self.key = key
        self.revision = revision
        self.before = before
        self.after = after
        self._events: dict[str, bytes] = {}
        self._frames: dict[str, bytes] = {}

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

    def framed(self, kind: str, frame: Callable[[str, Stored], bytes]) -> bytes:
        """The same in another form, which `frame` makes: always the same function."""
        made = self._frames.get(kind)
        if made is None:
            made = self._frames[kind] = frame(kind, self.shown(kind))
        return made

    def __repr__(self) -> str:
        verb = "deleted" if self.after is None else "created" if self.before is None else "changed"
        return f"Change({self.key} {verb} at {self.revision})"
