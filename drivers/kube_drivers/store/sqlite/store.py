"""The SQLite store, as the loop sees it.

How it works
    What is current lies in memory, in the same bytes that the file has and the watch cache shares. So reads, and the
    comparisons of a transaction, are answered in the loop in a microsecond. A transaction that writes is planned in
    the loop, gets its revision, and is handed to the writer's thread, which commits whatever waits as one group with
    one sync of the disk. When the loop hears that a group is durable it takes its changes into the state, hands them
    to the watches and lets the callers go, in this order and all in one turn.

What always holds
    Readers and watchers see what is durable, and nothing else. A transaction is planned on top of those that are on
    their way (`_ahead`); whatever it learned from them it tells only when they are durable. When a group fails,
    everything that was planned on top of it fails too, and the next revision is again the one after the last durable
    one: no revision is skipped.

The past
    The last few thousand revisions are in memory; older ones are read from the file on a thread of their own, which
    the writer does not hold up, until they are compacted.

When the disk fails
    A full disk refuses the writes of the moment; later ones are tried again. After any other failure to write or sync
    nobody can know what is on the disk, so the store takes no more writes until it is opened anew.

URL: `sqlite:///absolute/path.db`, with the options `watch_bound` and `recent`.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar, TypeVar

from kube_core._kit.clock import Clock
from kube_core._kit.logs import get_logger
from kube_core.abc.store import (
    Compacted,
    Entry,
    FutureRevision,
    KeyRange,
    Operation,
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
from kube_drivers.store.sqlite import database, sweeping
from kube_drivers.store.sqlite.writer import Job, Statement, Writer
from kube_drivers.store.transactions import holds, plan
from kube_drivers.store.watches import PIECE, Watches

__all__ = ["SqliteStore"]

_log = get_logger("kube_core.store")

#: Operations of one transaction, at most: their rows share the revision's numbers.
_OPERATIONS = 65_536
#: How long to wait before the end of a lease, which could not be written, is tried again, in seconds.
_EXPIRE_AGAIN = 5.0

T = TypeVar("T")


class SqliteStore(Store):
    """A store in one file."""

    capabilities: ClassVar[StoreCapabilities] = StoreCapabilities(durable=True)

    def __init__(self, *, clock: Clock, url: str) -> None:
        super().__init__(clock=clock, url=url)
        self._options = StoreOptions.parse(url)
        self._path = Path(self._options.path)
        self._state: SortedMap[Entry] = SortedMap()
        self._revision: Revision = 1
        self._compacted: Revision = 1
        self._history = History(after=1)
        self._undos = Undos(self._history)
        self._watches = Watches(self._options.watch_bound)
        self._leases = Leases(clock, self._expire)
        self._writer: Writer | None = None
        self._reader: ThreadPoolExecutor | None = None
        self._reading: sqlite3.Connection | None = None
        #: The revision of the last transaction that was planned.
        self._planned: Revision = 1
        #: What the planned transactions that are not yet durable make of their keys.
        self._pending: dict[str, tuple[Revision, Entry | None]] = {}
        self._epoch = 0
        self._failure: StoreError | None = None
        self._outstanding = 0
        self._hold = contextlib.ExitStack()

    async def open(self) -> None:
        if not self._path.is_absolute():
            raise StoreError(f"{self.url}: the SQLite store needs an absolute path, like sqlite:///var/lib/cluster.db")
        with self.clock.hold(f"opening {self._path}"):
            writer = Writer(self._path, asyncio.get_running_loop(), self._finished)
            content = await writer.start()
        self._state = SortedMap.of((entry.key, entry) for entry in content.entries)
        self._revision = self._planned = content.revision
        self._compacted = content.compacted
        self._history = History(after=content.revision)
        self._undos = Undos(self._history)
        self._leases.last_id = content.last_lease
        for number, seconds, deadline in content.leases:
            self._leases.add(Lease(number, seconds, deadline))
        self._leases.apply(Written(entry.key, entry, None) for entry in content.entries if entry.lease)
        self._reader = ThreadPoolExecutor(1, "sqlite-reader")
        self._writer = writer

    async def close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is None:
            return
        self._leases.close()
        with self.clock.hold(f"closing {self._path}"):
            try:
                if self._reader is not None:
                    await asyncio.get_running_loop().run_in_executor(self._reader, self._stop_reading)
                    self._reader.shutdown(wait=False)
            finally:
                await writer.stop()
        self._watches.close()

    @property
    def revision(self) -> Revision:
        return self._revision

    @property
    def compacted(self) -> Revision:
        return self._compacted

    async def get(self, key: str, *, revision: Revision = 0) -> Entry | None:
        if not revision:
            self._require_open()
            return self._state.get(key)
        found = await self.range(KeyRange.single(key), revision=revision)
        return found.entries[0] if found.entries else None

    async def range(self, keys: KeyRange, *, revision: Revision = 0, limit: int = 0) -> Range:
        self._require_open()
        if not revision or revision == self._revision:
            return read(self._state, keys, limit, self._revision)
        self._require_kept(revision)
        if revision >= self._history.after:
            with contextlib.suppress(Compacted):  # it went out of memory while we looked
                undo = await self._undos.back_to(revision)
                return read_past(self._state, undo, keys, limit, self._revision)
        state, present = self._state.fork(), self._revision

        def look_back(connection: sqlite3.Connection) -> Range:
            undo = database.read_undo(connection, revision, present, keys)
            return read_past(state, undo, keys, limit, present)

        found = await self._read(look_back)
        self._require_kept(revision)
        return found

    async def transact(self, transaction: Transaction) -> TransactionResult:
        self._require_writable()
        lookup = self._ahead if self._pending else self._state.get
        if not holds(transaction.compares, lookup):
            current = {compare.key: lookup(compare.key) for compare in transaction.compares}
            # What is not durable yet must not be told.
            if self._concerns_pending(current):
                await self._write(())
            return TransactionResult(False, self._revision, (), current)
        _check(transaction.operations)
        for operation in transaction.operations:
            if isinstance(operation, Put) and operation.lease:
                self._leases.require(operation.lease)
        written = plan(transaction.operations, lookup, self._planned + 1)
        if not written:
            if self._pending:
                await self._write(())
            return TransactionResult(True, self._revision, ())
        return TransactionResult(True, await self._write(written), written)

    def watch(self, keys: KeyRange, *, after: Revision) -> AsyncIterator[WatchBatch]:
        self._require_open()
        return self._watches.watch(keys, after=after, now=self._revision, past=self._past)

    async def compact(self, revision: Revision) -> None:
        self._require_writable()
        if revision > self._revision:
            raise FutureRevision(f"revision {revision} has not happened yet; the last one is {self._revision}")
        if revision > self._compacted:
            await self._write((), sweeping.begin(revision, self._revision))
            self._compacted = max(self._compacted, revision)
            self._history.forget(self._compacted)
        sweep = sweeping.Sweep(self._compacted)
        while not sweep.finished:
            await self._write((), work=sweep.step)

    async def grant_lease(self, seconds: float) -> int:
        self._require_writable()
        lease = self._leases.make(seconds)
        await self._write(
            (),
            [
                ("INSERT INTO leases VALUES (?, ?, ?)", (lease.id, lease.seconds, lease.deadline)),
                ("UPDATE facts SET number = max(number, ?) WHERE name = 'lease'", (lease.id,)),
            ],
        )
        self._leases.add(lease)
        return lease.id

    async def keep_alive(self, lease: int) -> None:
        self._require_writable()
        found = self._leases.require(lease)
        self._leases.renew(found)
        await self._write((), [("UPDATE leases SET deadline = ? WHERE id = ?", (found.deadline, lease))])

    async def revoke_lease(self, lease: int) -> None:
        self._require_writable()
        found = self._leases.find(lease)
        if found is not None:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._end(found, lambda error: _settle(future, error))
            await future

    # Writing

    async def _write(
        self,
        written: Sequence[Written],
        statements: Sequence[Statement] = (),
        work: Callable[[sqlite3.Connection], None] | None = None,
    ) -> Revision:
        """Hand something to the writer and wait until it is durable; the revision that it has."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        revision = self._submit(written, lambda error: _settle(future, error), statements, work)
        await future
        return revision

    def _submit(
        self,
        written: Sequence[Written],
        done: Callable[[StoreError | None], None],
        statements: Sequence[Statement] = (),
        work: Callable[[sqlite3.Connection], None] | None = None,
    ) -> Revision:
        assert self._writer is not None
        if written:
            self._planned += 1
            for change in written:
                self._pending[change.key] = self._planned, change.entry
        if not self._outstanding:
            self._hold.enter_context(self.clock.hold(f"writing {self._path}"))
        self._outstanding += 1
        revision = self._planned
        self._writer.submit(Job(self._epoch, revision, done, written, statements, work))
        return revision

    def _finished(self, group: list[Job], error: Exception | None) -> None:
        """The writer is done with a group: it is durable, or did not happen. One turn of the loop for all of it."""
        self._outstanding -= len(group)
        if not self._outstanding:
            self._hold.close()
        if error is None:
            for job in group:
                if job.changes:
                    self._apply(job.revision, job.changes)
            for job in group:
                job.done(None)
            return
        failure = self._explain(error)
        if group[0].epoch == self._epoch:
            self._epoch += 1
            self._planned = self._revision
            self._pending.clear()
        for job in group:
            job.done(type(failure)(str(failure)))

    def _apply(self, revision: Revision, changes: Sequence[Written]) -> None:
        state, pending = self._state, self._pending
        for change in changes:
            key = change.key
            if change.entry is not None:
                state.set(key, change.entry)
            else:
                state.delete(key)
            if pending[key][0] == revision:
                del pending[key]
        self._leases.apply(changes)
        self._revision = revision
        batch = WatchBatch(revision, changes)
        self._history.append(batch)
        if len(self._history) > 2 * self._options.recent:
            self._history.forget(revision - self._options.recent)
        self._watches.publish(batch)

    def _explain(self, error: Exception) -> StoreError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            return StoreError(f"{self._path}: the disk is full; nothing was written")
        if isinstance(error, sqlite3.DatabaseError):
            if self._failure is None:
                self._failure = StoreError(f"{self._path}: writing failed ({error}); the store takes no more writes")
                _log.error(
                    "the store takes no more writes until it is opened anew", path=str(self._path), error=str(error)
                )
            return self._failure
        return StoreError(f"{self._path}: the transaction cannot be written: {error}")

    @property
    def failure(self) -> StoreError | None:
        return self._failure

    def _ahead(self, key: str) -> Entry | None:
        """A key as it will be when all that is on its way is durable."""
        found = self._pending.get(key)
        return self._state.get(key) if found is None else found[1]

    def _concerns_pending(self, keys: dict[str, Entry | None]) -> bool:
        return any(key in self._pending for key in keys)

    # Leases

    def _expire(self, lease: Lease) -> None:
        """The clock says that a lease is over."""

        def done(error: StoreError | None) -> None:
            if error is not None and self._writer is not None and self._failure is None:
                self._leases.resume(lease, _EXPIRE_AGAIN)

        if self._writer is not None and self._failure is None:
            self._end(lease, done)

    def _end(self, lease: Lease, done: Callable[[StoreError | None], None]) -> None:
        """Delete a lease and its keys, in one revision."""
        self._leases.end(lease)
        candidates = lease.keys | self._pending.keys()
        written = []
        for key in sorted(candidates):
            entry = self._ahead(key)
            if entry is not None and entry.lease == lease.id:
                written.append(Written(key, None, entry))

        def finished(error: StoreError | None) -> None:
            if error is None:
                self._leases.remove(lease)
            else:
                lease.over = False
            done(error)

        self._submit(written, finished, [("DELETE FROM leases WHERE id = ?", (lease.id,))])

    # Reading the past

    async def _past(self, after: Revision) -> Sequence[WatchBatch]:
        self._require_open()
        # Nothing happened at revision 1, so everything can be watched from before it as long as nothing is compacted.
        after = max(after, 1) if self._compacted == 1 else after
        self._require_kept(after)
        if after >= self._history.after:
            return self._history.since(after, PIECE)
        upto = min(after + PIECE, self._revision)
        batches = await self._read(lambda connection: database.read_batches(connection, after, upto))
        self._require_kept(after)
        return batches

    async def _read(self, look: Callable[[sqlite3.Connection], T]) -> T:
        """Read the file on the reader's thread."""
        assert self._reader is not None
        with self.clock.hold(f"reading {self._path}"):
            try:
                return await asyncio.get_running_loop().run_in_executor(self._reader, self._look, look)
            except sqlite3.Error as error:
                raise StoreError(f"{self._path}: reading failed: {error}") from error

    def _look(self, look: Callable[[sqlite3.Connection], T]) -> T:
        if self._reading is None:
            self._reading = database.connect(self._path)
        return look(self._reading)

    def _stop_reading(self) -> None:
        if self._reading is not None:
            self._reading.close()
            self._reading = None

    # What may be asked

    def _require_open(self) -> None:
        if self._writer is None:
            raise StoreError(f"{self._path}: the store is not open")

    def _require_writable(self) -> None:
        self._require_open()
        if self._failure is not None:
            raise StoreError(str(self._failure))

    def _require_kept(self, revision: Revision) -> None:
        if revision > self._revision:
            raise FutureRevision(f"revision {revision} has not happened yet; the last one is {self._revision}")
        if revision < self._compacted:
            raise Compacted(revision, self._compacted)


def _check(operations: Sequence[Operation]) -> None:
    if len(operations) > _OPERATIONS:
        raise StoreError(f"a transaction may have {_OPERATIONS} operations, not {len(operations)}")
    for operation in operations:
        key = operation.key
        if not key.isascii():
            try:
                key.encode()
            except UnicodeEncodeError as error:
                raise StoreError(f"the key {key!r} is not valid text") from error


def _settle(future: asyncio.Future[None], error: StoreError | None) -> None:
    """Tell whoever waits; nobody may, when it was cancelled."""
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
