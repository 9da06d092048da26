"""The memory store: everything in the event loop's own memory, nothing kept when it is closed.

It is what tests and throw-away clusters run on. Every call is carried out at once, in one turn of the loop, so its
order is the order of the calls and, with a fake clock, the same in every run. The state is copied on write
(`sortedmap`, `history`), so `fork` costs little however much there is. History is kept until it is compacted.

URL: `memory:`, with the option `watch_bound`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import ClassVar

from kube_core._kit.clock import Clock
from kube_core.abc.store import (
    Compacted,
    Entry,
    FutureRevision,
    KeyRange,
    Put,
    Range,
    Revision,
    Store,
    StoreCapabilities,
    StoreError,
    Transaction,
    TransactionResult,
    WatchBatch,
    Written,
)
from kube_drivers.store.history import History, Undos, read, read_past
from kube_drivers.store.leases import Lease, Leases
from kube_drivers.store.options import StoreOptions
from kube_drivers.store.sortedmap import SortedMap
from kube_drivers.store.transactions import holds, plan
from kube_drivers.store.watches import PIECE, Watches

__all__ = ["MemoryStore"]


class MemoryStore(Store):
    """A store in memory."""

    capabilities: ClassVar[StoreCapabilities] = StoreCapabilities(durable=False, snapshot=True)

    def __init__(self, *, clock: Clock, url: str = "memory:") -> None:
        super().__init__(clock=clock, url=url)
        self._options = StoreOptions.parse(url)
        self._state: SortedMap[Entry] = SortedMap()
        self._history = History(after=1)
        self._revision: Revision = 1
        self._undos = Undos(self._history)
        self._watches = Watches(self._options.watch_bound)
        self._leases = Leases(clock, self._expire)
        self._open = False

    async def open(self) -> None:
        self._open = True

    async def close(self) -> None:
        self._open = False
        self._watches.close()
        self._leases.close()

    @property
    def revision(self) -> Revision:
        return self._revision

    @property
    def compacted(self) -> Revision:
        return self._history.after

    async def get(self, key: str, *, revision: Revision = 0) -> Entry | None:
        if not revision:
            if not self._open:
                raise StoreError("the store is not open")
            return self._state.get(key)
        found = await self.range(KeyRange.single(key), revision=revision)
        return found.entries[0] if found.entries else None

    async def range(self, keys: KeyRange, *, revision: Revision = 0, limit: int = 0) -> Range:
        self._require(revision)
        if not revision or revision == self._revision:
            return read(self._state, keys, limit, self._revision)
        undo = await self._undos.back_to(revision)
        return read_past(self._state, undo, keys, limit, self._revision)

    async def transact(self, transaction: Transaction) -> TransactionResult:
        if not self._open:
            raise StoreError("the store is not open")
        lookup = self._state.get
        if not holds(transaction.compares, lookup):
            current = {compare.key: lookup(compare.key) for compare in transaction.compares}
            return TransactionResult(False, self._revision, (), current)
        for operation in transaction.operations:
            if isinstance(operation, Put) and operation.lease:
                self._leases.require(operation.lease)
        written = plan(transaction.operations, lookup, self._revision + 1)
        if written:
            self._write(written)
        return TransactionResult(True, self._revision, written)

    def watch(self, keys: KeyRange, *, after: Revision) -> AsyncIterator[WatchBatch]:
        if not self._open:
            raise StoreError("the store is not open")
        return self._watches.watch(keys, after=after, now=self._revision, past=self._past)

    async def compact(self, revision: Revision) -> None:
        if not self._open:
            raise StoreError("the store is not open")
        if revision > self._revision:
            raise FutureRevision(f"revision {revision} has not happened yet; the last one is {self._revision}")
        self._history.forget(revision)

    async def grant_lease(self, seconds: float) -> int:
        lease = self._leases.make(seconds)
        self._leases.add(lease)
        return lease.id

    async def keep_alive(self, lease: int) -> None:
        self._leases.renew(self._leases.require(lease))

    async def revoke_lease(self, lease: int) -> None:
        found = self._leases.find(lease)
        if found is not None:
            self._expire(found)

    async def fork(self, *, clock: Clock | None = None) -> MemoryStore:
        other = MemoryStore(clock=clock or self.clock, url=self.url)
        other._state = self._state.fork()
        other._history = self._history.fork()
        other._undos = Undos(other._history)
        other._revision = self._revision
        self._leases.copy_to(other._leases)
        other._open = True
        return other

    def _write(self, written: Sequence[Written]) -> None:
        self._revision += 1
        state = self._state
        for change in written:
            if change.entry is not None:
                state.set(change.key, change.entry)
            else:
                state.delete(change.key)
        self._leases.apply(written)
        batch = WatchBatch(self._revision, written)
        self._history.append(batch)
        self._watches.publish(batch)

    def _expire(self, lease: Lease) -> None:
        """A lease is over: its keys go, all in one revision."""
        self._leases.end(lease)
        written = [Written(key, None, self._state.get(key)) for key in sorted(lease.keys)]
        if written:
            self._write(written)
        self._leases.remove(lease)

    def _require(self, revision: Revision) -> None:
        if not self._open:
            raise StoreError("the store is not open")
        if revision > self._revision:
            raise FutureRevision(f"revision {revision} has not happened yet; the last one is {self._revision}")
        if revision and revision < self._history.after:
            raise Compacted(revision, self._history.after)

    async def _past(self, after: Revision) -> Sequence[WatchBatch]:
        # Nothing happened at revision 1, so everything can be watched from before it as long as nothing is compacted.
        oldest = self._history.after
        if after < oldest and not (after == 0 and oldest == 1):
            raise Compacted(after, oldest)
        return self._history.since(max(after, oldest), PIECE)
