"""The changes of a store in the order of their revisions, and the past that can be had from them.

Every revision has exactly one batch, so a revision is found by counting. Batches lie in chunks; full chunks are never
changed, so that a fork shares them. A state of the past is the present state with the changes since undone: `Undo`
gathers, for each key that was changed after a revision, what it was before.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence

from kube_core._kit.clock import turn
from kube_core.abc.store import Compacted, Entry, KeyRange, Range, Revision, WatchBatch
from kube_drivers.store.sortedmap import SortedMap

__all__ = ["History", "Undo", "Undos", "read", "read_past"]

_CHUNK = 512
#: How many batches are gone through in one turn of the loop.
_STEP = 1000
#: For how many past revisions the way back is remembered.
_REMEMBERED = 8


class History:
    """The batches above a revision, `after`, up to the present one."""

    def __init__(self, after: Revision) -> None:
        self._chunks: list[list[WatchBatch]] = [[]]
        #: The revision of the first batch in the first chunk.
        self._first = after + 1
        #: Batches above this revision are here.
        self.after = after

    def __len__(self) -> int:
        return self.last - self.after

    @property
    def last(self) -> Revision:
        """The revision of the last batch (`after`, when there is none)."""
        return self._first + (len(self._chunks) - 1) * _CHUNK + len(self._chunks[-1]) - 1

    def fork(self) -> History:
        """An independent history with the same batches."""
        other = History.__new__(History)
        other._chunks = [*self._chunks[:-1], self._chunks[-1].copy()]
        other._first = self._first
        other.after = self.after
        return other

    def append(self, batch: WatchBatch) -> None:
        """Add the batch of the next revision."""
        last = self._chunks[-1]
        if len(last) == _CHUNK:
            last = []
            self._chunks.append(last)
        last.append(batch)

    def since(self, after: Revision, limit: int) -> Sequence[WatchBatch]:
        """At most `limit` batches of the revisions above `after`, which must be kept."""
        chunk, at = divmod(after + 1 - self._first, _CHUNK)
        found: list[WatchBatch] = []
        while chunk < len(self._chunks) and len(found) < limit:
            found += self._chunks[chunk][at : at + limit - len(found)]
            chunk, at = chunk + 1, 0
        return found

    def forget(self, revision: Revision) -> None:
        """Let go of the batches up to and with `revision`."""
        self.after = max(self.after, revision)
        whole = min((self.after + 1 - self._first) // _CHUNK, len(self._chunks) - 1)
        if whole:
            del self._chunks[:whole]
            self._first += whole * _CHUNK


class Undo:
    """What every key that was changed above `revision` was at `revision` (None: it did not exist).

    `seen` is how far the changes have been taken in; it goes on with the store, so an old page costs only what
    happened since the last one.
    """

    def __init__(self, revision: Revision) -> None:
        self.revision = revision
        self.seen = revision
        self._before: dict[str, Entry | None] = {}
        self._keys: list[str] = []

    def take(self, batches: Iterable[WatchBatch]) -> None:
        """Take in the batches that follow `seen`."""
        before = self._before
        for batch in batches:
            for change in batch.changes:
                if change.key not in before:
                    before[change.key] = change.previous
                    self._keys.append(change.key)
            self.seen = batch.revision

    def put(self, key: str, entry: Entry | None) -> None:
        """What one key was."""
        self._before[key] = entry
        self._keys.append(key)

    def within(self, keys: KeyRange) -> Iterator[tuple[str, Entry | None]]:
        """The changed keys of a range in order, each with what it was."""
        self._keys.sort()
        for at in range(bisect_left(self._keys, keys.start), bisect_left(self._keys, keys.end)):
            key = self._keys[at]
            yield key, self._before[key]


class Undos:
    """The ways back to past revisions, as far as a history goes. Remembers the last few of them."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._undos: OrderedDict[Revision, Undo] = OrderedDict()

    async def back_to(self, revision: Revision) -> Undo:
        """The way from the present to a revision. Nothing has happened since, when it returns. Raises `Compacted`."""
        history = self._history
        undo = self._undos.get(revision)
        if undo is None:
            undo = self._undos[revision] = Undo(revision)
            if len(self._undos) > _REMEMBERED:
                self._undos.popitem(last=False)
        else:
            self._undos.move_to_end(revision)
        while undo.seen < history.last:
            if undo.seen < history.after:
                self._undos.pop(revision, None)
                raise Compacted(revision, history.after)
            undo.take(history.since(undo.seen, _STEP))
            if undo.seen < history.last:
                await turn()
        return undo


def read(state: SortedMap[Entry], keys: KeyRange, limit: int, revision: Revision) -> Range:
    """The entries of a range as they stand; `revision` is the store's present one."""
    entries = state.range(keys.start, keys.end, limit)
    count = len(entries) if not limit or len(entries) < limit else state.count(keys.start, keys.end)
    return Range(entries, revision, count, count > len(entries))


def read_past(state: SortedMap[Entry], undo: Undo, keys: KeyRange, limit: int, revision: Revision) -> Range:
    """The entries of a range as they stood at `undo.revision`, given the state at `undo.seen`."""
    changed = list(undo.within(keys))
    count = state.count(keys.start, keys.end)
    for key, before in changed:
        count += (before is not None) - (state.get(key) is not None)
    # Enough of the present ones that `limit` remain when each changed key has taken one away.
    present = state.range(keys.start, keys.end, limit + len(changed) if limit else 0)
    if changed:
        hidden = {key for key, _ in changed}
        entries = [entry for entry in present if entry.key not in hidden]
        entries += [before for _, before in changed if before is not None]
        entries.sort(key=lambda entry: entry.key)
    else:
        entries = present
    if limit:
        del entries[limit:]
    return Range(entries, revision, count, count > len(entries))
