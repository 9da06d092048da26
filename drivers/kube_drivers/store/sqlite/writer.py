"""The thread that writes: it alone has the connection that changes the file, and commits whatever waits as one group.

What always holds:

* Jobs are carried out in the order in which they were given; each group is one SQLite transaction, so all of it is
  on disk or none.
* The loop hears of a group once, by one `call_soon_threadsafe`, after it is durable or has failed.
* Jobs are planned on top of those before them. So when a group fails, the jobs of the same epoch that were already
  waiting fail with it, untried; the store begins a new epoch once it has gone back to what is on disk.

A group without anything but changes is one statement, which SQLite commits by itself: the interpreter's lock is let go
of once for the whole of it, rather than for each row.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sqlite3
import threading
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import attrs

from kube_core.abc.store import Revision, StoreError, Written
from kube_drivers.store.sqlite import database
from kube_drivers.store.sqlite.ownership import Ownership

__all__ = ["Job", "Writer"]

#: How many jobs a group may have: what the loop does for each when it is done adds up to a turn of the loop.
_GROUP = 256
#: How many rows one statement may have; SQLite takes 32,766 parameters.
_ROWS = 1024

Statement = tuple[str, Sequence[Any]]


@attrs.define(slots=True, eq=False)
class Job:
    """Something to write. `done` is called in the loop, with None or why it did not happen."""

    epoch: int
    #: The revision of the changes; the present one, where there are none.
    revision: Revision
    done: Callable[[StoreError | None], None]
    changes: Sequence[Written] = ()
    statements: Sequence[Statement] = ()
    #: Further work on the connection, within the same SQLite transaction.
    work: Callable[[sqlite3.Connection], None] | None = None


class Writer:
    """The thread. `start` opens the file, `stop` closes it; in between, `submit`."""

    def __init__(
        self, path: Path, loop: asyncio.AbstractEventLoop, finished: Callable[[list[Job], Exception | None], None]
    ) -> None:
        self._path = path
        self._loop = loop
        self._finished = finished
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._opened: asyncio.Future[database.Content] = loop.create_future()
        self._closed: asyncio.Future[None] = loop.create_future()
        self._failed_epoch = -1
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=f"sqlite-writer {path.name}", daemon=True)

    async def start(self) -> database.Content:
        """Take and open the file. Raises `StoreBusy`, `StoreCorrupt`, `StoreError`; then it is not held."""
        self._thread.start()
        try:
            return await self._opened
        except asyncio.CancelledError:
            self._jobs.put(None)
            raise
        except Exception:
            await self._closed
            raise

    def submit(self, job: Job) -> None:
        """Give the thread a job."""
        self._jobs.put(job)

    async def stop(self) -> None:
        """Carry out what was given, then close the file and let go of it."""
        self._jobs.put(None)
        await asyncio.shield(self._closed)
        self._thread.join()

    def _run(self) -> None:
        ownership: Ownership | None = None
        connection: sqlite3.Connection | None = None
        try:
            ownership = Ownership.take(self._path)
            database.prepare(self._path)
            content = database.load(self._path)
            connection = database.connect_to_write(self._path)
            self._tell(_resolve, self._opened, content)
            del content
            self._write(connection)
        except Exception as error:
            self._tell(_refuse, self._opened, error)
        finally:
            # SQLite takes the log into the file when the last connection goes. If it cannot, the log stays: no harm.
            with contextlib.suppress(sqlite3.Error):
                if connection is not None:
                    connection.close()
            if ownership is not None:
                ownership.release()
            self._tell(_resolve, self._closed, None)

    def _write(self, connection: sqlite3.Connection) -> None:
        while True:
            group, stop = self._take()
            # What was planned on top of a failed group cannot be written. (Such jobs are all before the next epoch's.)
            stale = [job for job in group if job.epoch == self._failed_epoch]
            if stale:
                self._tell(self._finished, stale, self._failure)
                del group[: len(stale)]
            del stale
            if group:
                self._tell(self._finished, group, self._commit(connection, group))
            del group
            if stop:
                return

    def _take(self) -> tuple[list[Job], bool]:
        """Wait for a job; it and what else waits, and whether to stop after that."""
        job = self._jobs.get()
        group: list[Job] = []
        while job is not None:
            group.append(job)
            if len(group) == _GROUP:
                return group, False
            try:
                job = self._jobs.get_nowait()
            except Empty:
                return group, False
        return group, True

    def _commit(self, connection: sqlite3.Connection, group: list[Job]) -> Exception | None:
        """Write a group. A group that failed leaves nothing behind."""
        try:
            _carry_out(connection, group)
        except Exception as error:
            with contextlib.suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.rollback()
            self._failed_epoch = group[-1].epoch
            self._failure = error
            return error
        return None

    def _tell(self, callback: Callable[..., None], *arguments: Any) -> None:
        # A loop that is closed already has nobody who waits.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback, *arguments)


def _carry_out(connection: sqlite3.Connection, group: list[Job]) -> None:
    rows = [database.row(job.revision, place, change) for job in group for place, change in enumerate(job.changes)]
    further = [job for job in group if job.statements or job.work is not None]
    if not further and len(rows) <= _ROWS:
        if rows:
            connection.execute(_insert(len(rows)), list(chain.from_iterable(rows)))
        return
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(_insert(1), rows)
    for job in further:
        for statement, parameters in job.statements:
            connection.execute(statement, parameters)
        if job.work is not None:
            job.work(connection)
    connection.execute("COMMIT")


@functools.lru_cache(128)
def _insert(rows: int) -> str:
    one = f"({', '.join('?' * database.COLUMNS)})"
    return f"INSERT INTO changes VALUES {', '.join([one] * rows)}"


def _resolve(future: asyncio.Future[Any], value: object) -> None:
    if not future.done():
        future.set_result(value)


def _refuse(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
