"""What is particular to the SQLite store: its file, its owner, its disk, its thread."""

# ruff: noqa: ASYNC240 (a test has nobody to hold up when it looks at a file)

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from kube_core._kit.clock import FakeClock, SystemClock
from kube_core.abc.store import (
    Compare,
    KeyRange,
    Put,
    StoreBusy,
    StoreCorrupt,
    StoreError,
    Transaction,
)
from kube_core.testing.store import delete, put
from kube_drivers.store.sqlite import SqliteStore, database, writer

pytestmark = pytest.mark.anyio

_EVERYTHING = KeyRange.prefix("/")


def make(path: Path, options: str = "") -> SqliteStore:
    return SqliteStore(clock=SystemClock(), url=f"sqlite://{path}{options}")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    store = make(path)
    await store.open()
    yield store
    await store.close()


async def filled(path: Path, keys: int = 300) -> None:
    store = make(path)
    await store.open()
    await asyncio.gather(*(put(store, f"/{number}", b"x" * 200) for number in range(keys)))
    await store.close()


async def refused(path: Path, kind: type[StoreError]) -> str:
    """Open what cannot be opened; the one line that says why. Not a byte of it may change."""
    files = {file: file.read_bytes() for file in path.parent.iterdir() if not file.name.endswith((".lock", "-shm"))}
    with pytest.raises(kind) as caught:
        await make(path).open()
    assert type(caught.value) is kind
    for file, content in files.items():
        assert file.read_bytes() == content
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


# Damage


async def test_an_empty_file_is_refused(path: Path) -> None:
    path.touch()
    assert "no kube-core store" in await refused(path, StoreCorrupt)
    assert path.stat().st_size == 0


async def test_a_file_of_something_else_is_refused(path: Path) -> None:
    path.write_text("apiVersion: v1\nkind: Config\n" * 100)
    assert "not an SQLite database" in await refused(path, StoreCorrupt)


async def test_another_programs_database_is_refused(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE recipes (name)")
    connection.commit()
    connection.close()
    assert "not a kube-core store" in await refused(path, StoreCorrupt)


async def test_a_format_of_the_future_is_refused(path: Path) -> None:
    await filled(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    assert "format 99" in await refused(path, StoreError)


@pytest.mark.parametrize("keep", [1, 50, 99, 100, 4096, 5000, 40_000, -1])
async def test_a_file_that_is_cut_short_is_refused(path: Path, keep: int) -> None:
    await filled(path)
    content = path.read_bytes()
    path.write_bytes(content[:keep])
    assert "damaged" in await refused(path, StoreCorrupt)


async def test_a_log_without_its_file_is_refused(path: Path) -> None:
    path.with_name("store.db-wal").write_bytes(b"x" * 5000)
    assert "log" in await refused(path, StoreCorrupt)
    assert not path.exists()


async def test_one_wrong_byte_anywhere_in_the_rows_is_found(path: Path) -> None:
    await filled(path, keys=60)
    whole = path.read_bytes()
    at = [index for index in range(len(whole)) if whole[index : index + 200] == b"x" * 200]
    for offset in (at[0], at[30] + 100, at[-1] + 199, at[0] - 2, at[20] - 4):
        path.write_bytes(whole[:offset] + bytes([whole[offset] ^ 1]) + whole[offset + 1 :])
        with pytest.raises(StoreCorrupt, match="damaged"):
            await make(path).open()


async def test_random_damage_is_found_or_harmless(path: Path, tmp_path: Path) -> None:
    """Overwrite each page in turn: the store is refused, or holds exactly what was written."""
    await filled(path, keys=60)
    whole = path.read_bytes()
    harmless = 0
    for start in range(0, len(whole), 4096):
        path.write_bytes(whole[:start] + b"\xa5" * 300 + whole[start + 300 :])
        store = make(path)
        try:
            await store.open()
        except StoreCorrupt:
            continue
        harmless += 1
        found = await store.range(_EVERYTHING)
        assert {entry.key: entry.value for entry in found.entries} == {f"/{n}": b"x" * 200 for n in range(60)}
        await store.close()
    assert harmless <= 1


@pytest.mark.parametrize("statement", ["DELETE FROM changes WHERE id >> 16 = 5", "DELETE FROM facts"])
async def test_what_is_missing_is_noticed(path: Path, statement: str) -> None:
    await filled(path, keys=10)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(statement)
    connection.close()
    assert "damaged" in await refused(path, StoreCorrupt)


async def test_a_store_whose_making_was_interrupted_is_made_anew(path: Path) -> None:
    path.with_name("store.db.new").write_bytes(b"half a file")
    await filled(path, keys=1)
    assert sorted(file.name for file in path.parent.iterdir()) == ["store.db", "store.db.lock"]


# Where it cannot be


@pytest.mark.parametrize("url", ["sqlite:", "sqlite://", "sqlite:relative.db"])
async def test_a_path_is_needed(url: str) -> None:
    with pytest.raises(StoreError, match="absolute path"):
        await SqliteStore(clock=SystemClock(), url=url).open()


@pytest.mark.parametrize("option", ["?fast=1", "?recent=0", "?watch_bound=many"])
def test_an_option_that_makes_no_sense_is_refused(path: Path, option: str) -> None:
    with pytest.raises(StoreError, match=r"option|number"):
        make(path, option)


async def test_a_directory_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file or directory"):
        await make(tmp_path / "none" / "store.db").open()


async def test_a_directory_in_place_of_the_file_is_one_clear_line(path: Path) -> None:
    path.mkdir()
    with pytest.raises(StoreError, match="Is a directory"):
        await make(path).open()


async def test_a_directory_that_cannot_be_written_is_one_clear_line() -> None:
    with pytest.raises(StoreError, match="cannot be opened"):
        await make(Path("/proc/self/store.db")).open()


async def test_any_name_of_a_file_will_do(tmp_path: Path) -> None:
    path = tmp_path / "what? a #1 näme 100%25.db"
    for _ in range(2):
        store = SqliteStore(clock=SystemClock(), url=f"sqlite://{quote(str(path))}")
        await store.open()
        await put(store, "/a")
        await store.close()
    assert sorted(file.name for file in tmp_path.iterdir()) == [path.name, path.name + ".lock"]


# The owner


async def test_another_process_is_refused_and_told_who_has_it(store: SqliteStore, path: Path) -> None:
    await put(store, "/a", b"1")
    script = """
import asyncio, sys
from kube_core._kit.clock import SystemClock
from kube_core.abc.store import StoreBusy
from kube_drivers.store.sqlite import SqliteStore
try:
    asyncio.run(SqliteStore(clock=SystemClock(), url=sys.argv[1]).open())
except StoreBusy as error:
    print(error)
"""
    command = [sys.executable, "-c", script, f"sqlite://{path}"]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"{path} is in use by process ")
    await put(store, "/a", b"2")


async def test_the_owner_lets_go_when_opening_fails(path: Path) -> None:
    path.touch()
    for _ in range(3):
        with pytest.raises(StoreCorrupt):
            await make(path).open()


async def test_the_owner_lets_go_when_opening_is_cancelled(path: Path) -> None:
    for _ in range(5):
        opening = asyncio.ensure_future(make(path).open())
        await asyncio.sleep(0)
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
    store = make(path)
    async with asyncio.timeout(20):
        while True:
            try:
                await store.open()
                break
            except StoreBusy:
                await asyncio.sleep(0)
    await store.close()


# The disk


class FailingWriter:
    """Makes groups fail, as a disk would."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.code: int | None = None
        self.started = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        real = writer._carry_out

        def carry_out(connection: sqlite3.Connection, group: list[Any]) -> None:
            self.started.set()
            assert self.go_on.wait(20)
            if self.code is not None:
                error = sqlite3.OperationalError("the disk does not want to")
                error.sqlite_errorcode = self.code
                raise error
            real(connection, group)

        monkeypatch.setattr(writer, "_carry_out", carry_out)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> FailingWriter:
    return FailingWriter(monkeypatch)


async def test_a_full_disk_refuses_and_skips_no_revision_when_there_is_room_again(
    store: SqliteStore, disk: FailingWriter
) -> None:
    await put(store, "/a", b"1")
    watch = store.watch(_EVERYTHING, after=2)
    disk.code = sqlite3.SQLITE_FULL
    with pytest.raises(StoreError, match="disk is full"):
        await put(store, "/a", b"2")
    assert store.revision == 2
    entry = await store.get("/a")
    assert entry is not None
    assert entry.value == b"1"
    disk.code = None
    result = await store.transact(Transaction([Compare("/a", 2)], [Put("/a", b"3")]))
    assert (result.succeeded, result.revision) == (True, 3)
    assert (await anext(watch)).revision == 3


async def test_what_was_planned_on_a_write_that_failed_fails_with_it(
    store: SqliteStore, path: Path, disk: FailingWriter
) -> None:
    disk.code = sqlite3.SQLITE_FULL
    disk.go_on.clear()
    first = asyncio.ensure_future(put(store, "/a", b"1"))
    await asyncio.to_thread(disk.started.wait, 20)
    dependent = asyncio.ensure_future(store.transact(Transaction([Compare("/a", 2)], [Put("/b", b"1")])))
    loser = asyncio.ensure_future(store.transact(Transaction([Compare("/a", 0)], [Put("/a", b"2")])))
    await asyncio.sleep(0)
    disk.go_on.set()
    results = await asyncio.gather(first, dependent, loser, return_exceptions=True)
    assert all(isinstance(result, StoreError) for result in results)
    disk.code = None
    assert (await store.transact(Transaction([Compare("/a", 0)], [Put("/a", b"3")]))).revision == 2
    await store.close()
    again = make(path)
    await again.open()
    assert [(entry.key, entry.value) for entry in (await again.range(_EVERYTHING)).entries] == [("/a", b"3")]
    await again.close()


async def test_after_a_failed_sync_the_store_takes_no_more_writes(store: SqliteStore, disk: FailingWriter) -> None:
    await put(store, "/a", b"1")
    disk.code = sqlite3.SQLITE_IOERR_FSYNC
    assert store.failure is None
    with pytest.raises(StoreError, match="takes no more writes"):
        await put(store, "/a", b"2")
    disk.code = None
    assert "takes no more writes" in str(store.failure)
    with pytest.raises(StoreError, match="takes no more writes"):
        await put(store, "/a", b"2")
    assert (await store.range(_EVERYTHING)).entries[0].value == b"1"


async def test_nobody_sees_what_is_not_durable_yet(store: SqliteStore, disk: FailingWriter) -> None:
    await put(store, "/a", b"1")
    watch = store.watch(_EVERYTHING, after=store.revision)
    reading = asyncio.ensure_future(anext(watch))
    disk.started.clear()
    disk.go_on.clear()
    write = asyncio.ensure_future(put(store, "/a", b"2"))
    await asyncio.to_thread(disk.started.wait, 20)
    conflicting = asyncio.ensure_future(store.transact(Transaction([Compare("/a", 2)], [Put("/a", b"3")])))
    deleting = asyncio.ensure_future(delete(store, "/none"))
    for _ in range(20):
        await asyncio.sleep(0)
    entry = await store.get("/a")
    assert entry is not None
    assert entry.value == b"1"
    assert store.revision == 2
    assert not any(task.done() for task in (write, reading, conflicting, deleting))
    assert store.clock.holds
    disk.go_on.set()
    result = await conflicting
    assert (result.succeeded, result.revision) == (False, 3)
    found = result.current["/a"]
    assert found is not None
    assert found.value == b"2"
    assert (await reading).revision == 3
    await asyncio.gather(write, deleting)
    assert not store.clock.holds


async def test_reads_do_not_wait_for_the_writer(path: Path, disk: FailingWriter) -> None:
    store = make(path, "?recent=1")
    await store.open()
    for number in range(10):
        await put(store, "/a", str(number).encode())
    disk.started.clear()
    disk.go_on.clear()
    write = asyncio.ensure_future(put(store, "/a", b"new"))
    await asyncio.to_thread(disk.started.wait, 20)
    async with asyncio.timeout(10):
        entry = await store.get("/a", revision=3)
        assert entry is not None
        assert entry.value == b"1"
        assert (await anext(store.watch(_EVERYTHING, after=4))).revision == 5
    disk.go_on.set()
    await write
    await store.close()


async def test_the_end_of_a_lease_is_tried_again_until_it_is_written(path: Path, disk: FailingWriter) -> None:
    clock = FakeClock()
    store = SqliteStore(clock=clock, url=f"sqlite://{path}")
    await store.open()
    await put(store, "/a", b"1", await store.grant_lease(10))
    disk.code = sqlite3.SQLITE_FULL
    await clock.advance(20)
    assert await store.get("/a") is not None
    disk.code = None
    await clock.advance(10)
    assert await store.get("/a") is None
    await store.close()


async def test_writes_that_wait_together_are_synced_together(
    store: SqliteStore, disk: FailingWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[int] = []
    real = writer._carry_out

    def counting(connection: sqlite3.Connection, group: list[Any]) -> None:
        groups.append(len(group))
        real(connection, group)

    monkeypatch.setattr(writer, "_carry_out", counting)
    disk.go_on.clear()
    writes = [asyncio.ensure_future(put(store, f"/{number}")) for number in range(100)]
    for _ in range(5):
        await asyncio.sleep(0)
    disk.go_on.set()
    results = await asyncio.gather(*writes)
    assert [result.revision for result in results] == list(range(2, 102))
    assert sum(groups) == 100
    assert len(groups) <= 4


async def test_the_file_stops_growing_when_it_is_compacted(path: Path) -> None:
    store = make(path)
    await store.open()
    for _ in range(4):
        for _ in range(10):
            await asyncio.gather(*(put(store, f"/{number}", b"x" * 1000) for number in range(50)))
        await store.compact(store.revision)
    await store.close()
    connection = database.connect(path)
    assert connection.execute("SELECT count(*) FROM changes").fetchone() == (50,)
    connection.close()
    assert path.stat().st_size < 1_200_000


async def test_compacting_leaves_one_row_for_each_key_and_none_for_what_was_deleted(path: Path) -> None:
    store = make(path)
    await store.open()
    for _ in range(3):
        for number in range(4):
            await put(store, f"/{number}", b"x")
        await delete(store, "/0")
    await store.compact(store.revision)
    await put(store, "/0", b"anew")
    await store.close()
    connection = database.connect(path)
    rows = connection.execute("SELECT key, value FROM changes ORDER BY key").fetchall()
    connection.close()
    assert rows == [("/0", b"anew"), ("/1", b"x"), ("/2", b"x"), ("/3", b"x")]


async def test_a_compaction_that_was_interrupted_is_finished_by_the_next(path: Path) -> None:
    store = make(path)
    await store.open()
    for number in range(1200):
        await put(store, f"/{number % 3}", b"x")
    compaction = asyncio.ensure_future(store.compact(1100))
    while store.compacted == 1:  # noqa: ASYNC110 (the very turn in which it becomes so)
        await asyncio.sleep(0)
    compaction.cancel()
    await asyncio.gather(compaction, return_exceptions=True)
    await store.close()
    store = make(path)
    await store.open()
    assert (store.compacted, store.revision) == (1100, 1201)
    await store.compact(1201)
    await store.close()
    connection = database.connect(path)
    assert connection.execute("SELECT count(*) FROM changes").fetchone() == (3,)
    connection.close()
