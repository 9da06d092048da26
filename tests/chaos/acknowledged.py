"""What was acknowledged, and whether a store still has it."""

from __future__ import annotations

import json
from collections.abc import Iterable

import attrs

from kube_core.abc.store import Entry, KeyRange, Store
from kube_core.testing.store import take

__all__ = ["Acknowledged"]

_EVERYTHING = KeyRange("", "\U0010ffff")


@attrs.define
class Acknowledged:
    """The acknowledged transactions: revision → key → value (None: deleted)."""

    writes: dict[int, dict[str, str | None]] = attrs.field(factory=dict)

    def note(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            revision, changes = json.loads(line)
            assert revision not in self.writes, f"revision {revision} was acknowledged twice"
            self.writes[revision] = dict(changes)

    async def check(self, store: Store) -> None:
        """Every acknowledged write is there, whole and under its revision; and no revision is skipped."""
        last = max(self.writes, default=1)
        assert store.revision >= last, f"revisions {store.revision + 1} to {last} are lost"
        history = await take(store.watch(_EVERYTHING, after=store.compacted), store.revision - store.compacted)
        assert [batch.revision for batch in history] == list(range(store.compacted + 1, store.revision + 1))
        for batch in history:
            changes = {change.key: _text(change.entry) for change in batch.changes}
            # What was not acknowledged may be there or not; but once it was found it stays.
            assert changes == self.writes.setdefault(batch.revision, changes)
        expected: dict[str, str] = {}
        for _, changes in sorted(self.writes.items()):
            for key, value in changes.items():
                if value is None:
                    expected.pop(key, None)
                else:
                    expected[key] = value
        assert {entry.key: _text(entry) for entry in (await store.range(_EVERYTHING)).entries} == expected


def _text(entry: Entry | None) -> str | None:
    return entry.value.decode() if entry is not None else None
