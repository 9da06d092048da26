"""The file: its format, how it is made, checked and read.

One table, `changes`, has a row for every change of a key, under a number made of its revision and its place in it. So
rows are only ever added at the end, there is no index to keep, a revision or a piece of the past is a range of row
numbers, and each row names the revision that it superseded. A deletion is a row without a value. Compacting takes
away superseded rows.

What is checked when a file is opened, before anything is written to it: that it is a store and no other database, that
SQLite finds its structure whole, that every row has its checksum, and that no revision is missing. A new file is
made under another name and renamed, so a store that is there is whole; an empty file in its place is damage.

Everything here blocks, and belongs on a thread.
"""

from __future__ import annotations

import os
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import attrs

from kube_core.abc.store import Entry, KeyRange, Revision, StoreCorrupt, StoreError, WatchBatch, Written
from kube_drivers.store.history import Undo

__all__ = [
    "COLUMNS", "Content", "Row", "connect", "connect_to_write", "first_row", "last_row", "load", "prepare",
    "read_batches", "read_undo", "row",
]  # fmt: skip

#: What SQLite's `application_id` says of our files: "kube".
APPLICATION_ID = 0x6B756265
FORMAT = 1
#: FULL: the log is on the disk itself before a commit returns. (Nothing less keeps the store's promise.)
SYNCHRONOUS = "FULL"
#: How many pages the log has before they are taken into the file.
CHECKPOINT_PAGES = 1000
COLUMNS = 8
#: The changes of one revision are numbered in this many bits.
_PLACE_BITS = 16
_HEADER = b"SQLite format 3\0"

_SCHEMA = """
CREATE TABLE changes (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    value BLOB,
    created INTEGER NOT NULL,
    version INTEGER NOT NULL,
    lease INTEGER NOT NULL,
    previous INTEGER NOT NULL,
    checksum INTEGER NOT NULL
);
CREATE TABLE leases (id INTEGER PRIMARY KEY, seconds REAL NOT NULL, deadline REAL NOT NULL);
CREATE TABLE facts (name TEXT PRIMARY KEY, number INTEGER NOT NULL);
INSERT INTO facts VALUES ('revision', 1), ('compacted', 1), ('swept', 1), ('lease', 0);
"""

#: id, key, value, create revision, version, lease, revision of the superseded change (0: none), checksum.
Row = tuple[int, str, bytes | None, int, int, int, int, int]


def first_row(revision: Revision) -> int:
    """The lowest row number that a revision has."""
    return revision << _PLACE_BITS


def last_row(revision: Revision) -> int:
    """The highest row number that a revision may have."""
    return ((revision + 1) << _PLACE_BITS) - 1


def row(revision: Revision, place: int, change: Written) -> Row:
    """The row of a change."""
    number = (revision << _PLACE_BITS) + place
    entry, previous = change.entry, change.previous
    superseded = 0 if previous is None else previous.mod_revision
    if entry is None:
        checksum = _checksum(number, change.key, None, 0, 0, 0, superseded)
        return number, change.key, None, 0, 0, 0, superseded, checksum
    value, created, version, lease = entry.value, entry.create_revision, entry.version, entry.lease
    checksum = _checksum(number, change.key, value, created, version, lease, superseded)
    return number, change.key, value, created, version, lease, superseded, checksum


def _checksum(
    number: int, key: str, value: bytes | None, created: int, version: int, lease: int, superseded: int
) -> int:
    head = f"{number} {created} {version} {lease} {superseded} {'-' if value is None else len(value)} {key}"
    checksum = zlib.crc32(head.encode())
    return checksum if value is None else zlib.crc32(value, checksum)


@attrs.frozen
class Content:
    """What a file holds, as the store needs it at start."""

    #: In key order.
    entries: list[Entry]
    revision: Revision
    compacted: Revision
    #: id, seconds, deadline.
    leases: list[tuple[int, float, float]]
    last_lease: int


def prepare(path: Path) -> None:
    """Make sure that there is a store under this name; a new one, where there is nothing.

    Changes nothing that is there. Raises `StoreCorrupt` for what is no store, `StoreError` where it cannot be made.
    """
    try:
        _prepare(path)
    except sqlite3.Error as error:
        raise _refusal(path, error) from error
    except OSError as error:
        raise StoreError(f"{path}: the store cannot be opened: {error.strerror}") from error


def load(path: Path) -> Content:
    """Read and check everything, without a change to the file. Raises `StoreCorrupt`, `StoreError`."""
    try:
        connection = connect(path)
        try:
            for (problem,) in connection.execute("PRAGMA quick_check(1)"):
                if problem != "ok":
                    detail = problem.removeprefix("*** in database main ***").split()
                    raise StoreCorrupt(f"{path}: the store is damaged: {' '.join(detail)}")
            return _load(connection, path)
        finally:
            connection.close()
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise _refusal(path, error) from error


def connect_to_write(path: Path) -> sqlite3.Connection:
    """The writer's connection to a store that was checked. Raises `StoreError`."""
    connection = sqlite3.connect(_uri(path, "rw"), uri=True, isolation_level=None, check_same_thread=False)
    try:
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise StoreError(f"{path}: the file system does not carry SQLite's write-ahead log")
        connection.execute(f"PRAGMA synchronous = {SYNCHRONOUS}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        # What cannot be written is found out here, and not by the first client.
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        connection.close()
        raise _refusal(path, error) from error
    except BaseException:
        connection.close()
        raise
    return connection


def connect(path: Path) -> sqlite3.Connection:
    """A connection for reading; not even closing it writes to the file."""
    return sqlite3.connect(_uri(path, "ro"), uri=True, isolation_level=None, check_same_thread=False)


def read_batches(connection: sqlite3.Connection, after: Revision, upto: Revision) -> list[WatchBatch]:
    """The changes of the revisions above `after`, up to and with `upto`."""
    rows = connection.execute(
        "SELECT id, key, value, created, version, lease, previous FROM changes WHERE id BETWEEN ? AND ? ORDER BY id",
        (first_row(after + 1), last_row(upto)),
    )
    known: dict[str, Entry | None] = {}
    batches: list[WatchBatch] = []
    for revision, group in groupby(rows, key=lambda row: row[0] >> _PLACE_BITS):
        changes: list[Written] = []
        for number, key, value, created, version, lease, superseded in group:
            entry = None
            if value is not None:
                entry = Entry(key, value, created, number >> _PLACE_BITS, version, lease)
            previous = known[key] if key in known else _read_entry(connection, key, superseded)
            known[key] = entry
            changes.append(Written(key, entry, previous))
        batches.append(WatchBatch(revision, tuple(changes)))
    return batches


def read_undo(connection: sqlite3.Connection, revision: Revision, upto: Revision, keys: KeyRange) -> Undo:
    """What the keys of a range that were changed above `revision`, up to and with `upto`, were at `revision`."""
    undo = Undo(revision)
    undo.seen = upto
    seen: set[str] = set()
    rows = connection.execute(
        "SELECT key, previous FROM changes WHERE id BETWEEN ? AND ? AND key >= ? AND key < ? ORDER BY id",
        (first_row(revision + 1), last_row(upto), keys.start, keys.end),
    ).fetchall()
    for key, superseded in rows:
        if key not in seen:
            seen.add(key)
            undo.put(key, _read_entry(connection, key, superseded))
    return undo


def _read_entry(connection: sqlite3.Connection, key: str, revision: Revision) -> Entry | None:
    """The entry that a revision wrote under a key; None where it was deleted then, or is compacted."""
    if not revision:
        return None
    found = connection.execute(
        "SELECT value, created, version, lease FROM changes WHERE id BETWEEN ? AND ? AND key = ?",
        (first_row(revision), last_row(revision), key),
    ).fetchone()
    if found is None or found[0] is None:
        return None
    value, created, version, lease = found
    return Entry(key, value, created, revision, version, lease)


def _prepare(path: Path) -> None:
    log = path.with_name(path.name + "-wal")
    if not path.exists():
        if log.exists():
            raise StoreCorrupt(f"{path}: the store is damaged: its log {log.name} is there, but the file itself is not")
        _create(path)
    _identify(path)


def _identify(path: Path) -> None:
    """Whether this is a store, by its first bytes: SQLite itself would already work at somebody else's database."""
    with path.open("rb") as file:
        header = file.read(100)
    if header[: len(_HEADER)] != _HEADER[: len(header)] or not header:
        raise StoreCorrupt(f"{path} is damaged, or no kube-core store: it is not an SQLite database")
    if len(header) < 100:
        raise StoreCorrupt(f"{path}: the store is damaged: it is cut short")
    application, form = int.from_bytes(header[68:72], "big"), int.from_bytes(header[60:64], "big")
    if application != APPLICATION_ID:
        raise StoreCorrupt(f"{path} is an SQLite database, but not a kube-core store")
    if form != FORMAT:
        raise StoreError(f"{path} has format {form} of a kube-core store; this version reads format {FORMAT}")


def _create(path: Path) -> None:
    """Make an empty store: whole under its name, or not there at all."""
    fresh = path.with_name(path.name + ".new")
    for leftover in (fresh, fresh.with_name(fresh.name + "-wal"), fresh.with_name(fresh.name + "-shm")):
        leftover.unlink(missing_ok=True)
    connection = sqlite3.connect(fresh, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {FORMAT}")
        connection.executescript(_SCHEMA)
        connection.execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()
    _sync(fresh)
    fresh.rename(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _load(connection: sqlite3.Connection, path: Path) -> Content:
    facts = dict(connection.execute("SELECT name, number FROM facts"))
    if facts.keys() != {"revision", "compacted", "swept", "lease"}:
        raise StoreCorrupt(f"{path}: the store is damaged: its table of facts is not complete")
    compacted = facts["compacted"]
    current: dict[str, Entry] = {}
    revision = compacted
    for number, key, value, created, version, lease, *_ in _checked(connection, path):
        at = number >> _PLACE_BITS
        if at > revision:
            if at != revision + 1:
                raise StoreCorrupt(f"{path}: the store is damaged: revision {revision + 1} is missing")
            revision = at
        if value is None:
            current.pop(key, None)
        else:
            current[key] = Entry(key, value, created, at, version, lease)
    if revision < facts["revision"]:
        raise StoreCorrupt(f"{path}: the store is damaged: revision {revision + 1} is missing")
    leases = connection.execute("SELECT id, seconds, deadline FROM leases ORDER BY id").fetchall()
    entries = [current[key] for key in sorted(current)]
    return Content(entries, revision, compacted, leases, facts["lease"])


def _checked(connection: sqlite3.Connection, path: Path) -> Iterator[Row]:
    rows: Iterable[Any] = connection.execute(
        "SELECT id, key, value, created, version, lease, previous, checksum FROM changes ORDER BY id"
    )
    for found in rows:
        try:
            good = _checksum(*found[:-1]) == found[-1]
        except (TypeError, AttributeError):  # a damaged record may hold anything
            good = False
        if not good:
            raise StoreCorrupt(f"{path}: the store is damaged: row {found[0]} is not as it was written")
        yield found


def _refusal(path: Path, error: Exception) -> StoreError:
    """What went wrong at opening, in one line."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB} or isinstance(error, UnicodeDecodeError):
        return StoreCorrupt(f"{path}: the store is damaged: {error}")
    if code == sqlite3.SQLITE_ERROR:  # a table or column that is not there
        return StoreCorrupt(f"{path}: the store is damaged: {error}")
    return StoreError(f"{path}: the store cannot be opened: {error}")


def _uri(path: Path, mode: str) -> str:
    return f"{path.absolute().as_uri()}?mode={mode}"
