"""What every store driver must do: the public contract suite for `kube_core.abc.store`.

A subclass says how its store is made, and the suite does the rest:

class TestMyStore(StoreContract):
    def make(self, directory, clock, options=""): return MyStore(clock=clock, url=f"mine://{directory}/data{options}")

`make` gives stores that are not open; made again for the same directory, they are of the same data, where the driver
keeps any. `options` are of the URL (`?watch_bound=8`: every driver takes that one). What a driver does not claim in
its capabilities is skipped, with the reason.

`kube_core.testing.storemodel` has the same contract as a machine for hypothesis, which plays random histories against
a plain dict.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from kube_core._kit.clock import Clock, FakeClock, SystemClock, turn
from kube_core.abc.store import (
    Compacted,
    Compare,
    Delete,
    Entry,
    FutureRevision,
    KeyRange,
    Put,
    Range,
    Store,
    StoreBusy,
    StoreError,
    Transaction,
    TransactionResult,
    WatchBatch,
    WatchOverrun,
)

__all__ = ["StoreContract", "delete", "put", "take"]

_EVERYTHING = KeyRange.prefix("/")


async def put(store: Store, key: str, value: bytes = b"", lease: int = 0) -> TransactionResult:
    """Write one key, whatever is there."""
    return await store.transact(Transaction((), [Put(key, value, lease)]))


async def delete(store: Store, key: str) -> TransactionResult:
    """Delete one key, whatever is there."""
    return await store.transact(Transaction((), [Delete(key)]))


async def take(watch: AsyncIterator[WatchBatch], count: int) -> list[WatchBatch]:
    """The next batches of a watch; fails when they do not come."""
    async with asyncio.timeout(20):
        return [await anext(watch) for _ in range(count)]


def shape(batches: Sequence[WatchBatch]) -> list[tuple[int, list[tuple[str, bytes | None, bytes | None]]]]:
    """What batches say, short enough to compare: revision, and key, value and previous value of each change."""
    return [
        (
            batch.revision,
            [
                (
                    change.key,
                    change.entry.value if change.entry is not None else None,
                    change.previous.value if change.previous is not None else None,
                )
                for change in batch.changes
            ],
        )
        for batch in batches
    ]


def keys(found: Range) -> list[str]:
    return [entry.key for entry in found.entries]


@pytest.mark.anyio
class StoreContract:
    """Tests for one driver."""

    def make(self, directory: Path, clock: Clock, options: str = "") -> Store:
        raise NotImplementedError

    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[Store]:
        async with self.opened(tmp_path, SystemClock()) as store:
            yield store

    @contextlib.asynccontextmanager
    async def opened(self, directory: Path, clock: Clock, options: str = "") -> AsyncIterator[Store]:
        store = self.make(directory, clock, options)
        await store.open()
        try:
            yield store
        finally:
            await store.close()

    # Transactions

    async def test_a_fresh_store_is_empty_and_at_revision_1(self, store: Store) -> None:
        assert store.revision == 1
        assert store.compacted == 1
        assert await store.get("/a") is None
        assert await store.range(_EVERYTHING) == Range([], 1, 0, False)

    async def test_each_transaction_that_writes_gets_the_next_revision(self, store: Store) -> None:
        assert [(await put(store, "/a")).revision, (await put(store, "/b")).revision] == [2, 3]
        assert (await delete(store, "/a")).revision == 4
        assert store.revision == 4

    async def test_an_entry_tells_when_it_was_created_and_how_often_it_was_written(self, store: Store) -> None:
        await put(store, "/a", b"1")
        await put(store, "/other")
        await put(store, "/a", b"2")
        assert await store.get("/a") == Entry("/a", b"2", 2, 4, 2)

    async def test_a_key_that_was_deleted_begins_anew(self, store: Store) -> None:
        await put(store, "/a", b"1")
        await delete(store, "/a")
        assert await store.get("/a") is None
        await put(store, "/a", b"2")
        assert await store.get("/a") == Entry("/a", b"2", 4, 4, 1)

    async def test_all_writes_of_a_transaction_share_its_revision(self, store: Store) -> None:
        await put(store, "/gone")
        result = await store.transact(Transaction((), [Put("/b", b""), Delete("/gone"), Put("/a", b"")]))
        assert result.revision == 3
        assert [change.key for change in result.written] == ["/a", "/b", "/gone"]
        assert [entry.mod_revision for entry in (await store.range(_EVERYTHING)).entries] == [3, 3]

    async def test_the_result_tells_what_was_written_and_what_was_there(self, store: Store) -> None:
        await put(store, "/a", b"1")
        result = await put(store, "/a", b"2")
        assert result.succeeded
        (change,) = result.written
        assert change.entry == Entry("/a", b"2", 2, 3, 2)
        assert change.previous == Entry("/a", b"1", 2, 2, 1)
        (change,) = (await delete(store, "/a")).written
        assert (change.entry, change.previous) == (None, Entry("/a", b"2", 2, 3, 2))

    async def test_comparing_with_0_holds_only_for_a_key_that_does_not_exist(self, store: Store) -> None:
        create = Transaction([Compare("/a", 0)], [Put("/a", b"1")])
        assert (await store.transact(create)).succeeded
        result = await store.transact(create)
        assert not result.succeeded
        assert result.revision == 2
        assert result.current == {"/a": Entry("/a", b"1", 2, 2, 1)}
        await delete(store, "/a")
        assert (await store.transact(create)).succeeded

    async def test_comparing_with_a_revision_holds_only_for_that_one(self, store: Store) -> None:
        await put(store, "/a")
        await put(store, "/a")
        assert not (await store.transact(Transaction([Compare("/a", 2)], [Put("/a", b"x")]))).succeeded
        assert not (await store.transact(Transaction([Compare("/absent", 2)], [Put("/a", b"x")]))).succeeded
        assert (await store.transact(Transaction([Compare("/a", 3)], [Put("/a", b"x")]))).succeeded

    async def test_one_comparison_that_fails_leaves_everything_as_it_was(self, store: Store) -> None:
        await put(store, "/a", b"1")
        result = await store.transact(
            Transaction([Compare("/a", 2), Compare("/b", 9)], [Put("/a", b"2"), Put("/c", b"")])
        )
        assert not result.succeeded
        assert result.written == ()
        assert result.current == {"/a": Entry("/a", b"1", 2, 2, 1), "/b": None}
        assert keys(await store.range(_EVERYTHING)) == ["/a"]
        assert store.revision == 2

    async def test_deleting_what_does_not_exist_writes_nothing(self, store: Store) -> None:
        result = await delete(store, "/a")
        assert result.succeeded
        assert result.revision == store.revision == 1
        assert list(result.written) == []

    async def test_a_transaction_of_comparisons_alone_writes_nothing(self, store: Store) -> None:
        await put(store, "/a")
        result = await store.transact(Transaction([Compare("/a", 2)]))
        assert (result.succeeded, result.revision) == (True, 2)

    async def test_a_key_may_occur_once_in_the_operations(self, store: Store) -> None:
        with pytest.raises(StoreError, match="more than once"):
            await store.transact(Transaction((), [Put("/a", b"1"), Delete("/a")]))
        assert store.revision == 1

    async def test_of_transactions_that_compete_exactly_one_succeeds(self, store: Store) -> None:
        attempts = [
            store.transact(Transaction([Compare("/a", 0)], [Put("/a", str(number).encode())])) for number in range(20)
        ]
        results = await asyncio.gather(*attempts)
        (winner,) = [result for result in results if result.succeeded]
        found = await store.get("/a")
        assert found == winner.written[0].entry
        assert all(result.current == {"/a": found} for result in results if not result.succeeded)
        assert store.revision == 2

    async def test_counters_incremented_at_once_lose_nothing(self, store: Store) -> None:
        async def increment() -> None:
            for _ in range(10):
                while True:
                    entry = await store.get("/n")
                    seen, number = (entry.mod_revision, int(entry.value)) if entry is not None else (0, 0)
                    change = [Put("/n", str(number + 1).encode())]
                    if (await store.transact(Transaction([Compare("/n", seen)], change))).succeeded:
                        break

        async with asyncio.timeout(30):
            await asyncio.gather(*(increment() for _ in range(8)))
        entry = await store.get("/n")
        assert entry is not None
        assert (entry.value, entry.version) == (b"80", 80)

    async def test_concurrent_writes_have_revisions_without_gap_in_the_order_of_the_calls(self, store: Store) -> None:
        results = await asyncio.gather(*(put(store, f"/{number}") for number in range(100)))
        assert [result.revision for result in results] == list(range(2, 102))

    async def test_a_cancelled_transaction_harms_no_other(self, store: Store) -> None:
        tasks = [asyncio.ensure_future(put(store, f"/{number}")) for number in range(10)]
        await turn()
        for task in tasks[::2]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert not any(isinstance(result, StoreError) for result in results)
        for task, number in list(zip(tasks, range(10), strict=True))[1::2]:
            entry = await store.get(f"/{number}")
            assert entry is not None
            assert entry.mod_revision == task.result().revision
        last = await put(store, "/last")
        assert last.revision == store.revision

    async def test_values_may_be_empty_large_and_of_any_bytes(self, store: Store) -> None:
        for value in (b"", bytes(range(256)), b"\0" * 1_500_000):
            await put(store, "/a", value)
            entry = await store.get("/a")
            assert entry is not None
            assert entry.value == value

    async def test_keys_may_be_of_any_text(self, store: Store) -> None:
        names = ["/a", "/a\0", "/a/", "/a%b", "/a'b", "/ä", "/€", "/\U0001f600"]
        for name in names:
            await put(store, name, name.encode())
        assert [entry.value.decode() for entry in (await store.range(_EVERYTHING)).entries] == sorted(names)

    # Ranges

    async def test_a_range_has_its_keys_in_order_without_its_end(self, store: Store) -> None:
        for key in ("/b", "/a/2", "/a/1", "/a", "/a/3", "/c"):
            await put(store, key)
        assert keys(await store.range(KeyRange.prefix("/a/"))) == ["/a/1", "/a/2", "/a/3"]
        assert keys(await store.range(KeyRange("/a/1", "/a/3"))) == ["/a/1", "/a/2"]
        assert keys(await store.range(KeyRange.single("/a"))) == ["/a"]
        assert keys(await store.range(KeyRange("/b", "/a"))) == []

    async def test_a_limited_range_counts_what_it_leaves_out(self, store: Store) -> None:
        for number in range(5):
            await put(store, f"/a/{number}")
        await put(store, "/b")
        found = await store.range(KeyRange.prefix("/a/"), limit=2)
        assert (keys(found), found.count, found.more, found.revision) == (["/a/0", "/a/1"], 5, True, 7)
        found = await store.range(KeyRange("/a/1\0", "/a0"), limit=3)
        assert (keys(found), found.count, found.more) == (["/a/2", "/a/3", "/a/4"], 3, False)

    async def test_many_keys_come_and_go_in_order(self, store: Store) -> None:
        names = [f"/{number * 7919 % 3000:04}" for number in range(3000)]
        for start in range(0, 3000, 500):
            await store.transact(Transaction((), [Put(name, b"") for name in names[start : start + 500]]))
        assert keys(await store.range(_EVERYTHING)) == sorted(names)
        gone = set(names[:2500])
        await store.transact(Transaction((), [Delete(name) for name in gone]))
        left = sorted(set(names) - gone)
        assert keys(await store.range(_EVERYTHING)) == left
        assert (await store.range(KeyRange("/1", "/2"), limit=1)).count == len([k for k in left if "/1" <= k < "/2"])
        assert (await store.range(_EVERYTHING, revision=7)).count == 3000

    # The past

    async def test_reads_as_of_a_revision_see_what_was_there(self, store: Store) -> None:
        await put(store, "/a", b"1")
        await put(store, "/b", b"1")
        await put(store, "/a", b"2")
        await delete(store, "/b")
        await put(store, "/c", b"1")
        expected: dict[int, dict[str, bytes]] = {
            1: {},
            2: {"/a": b"1"},
            3: {"/a": b"1", "/b": b"1"},
            4: {"/a": b"2", "/b": b"1"},
            5: {"/a": b"2"},
            6: {"/a": b"2", "/c": b"1"},
        }
        for revision, content in expected.items():
            found = await store.range(_EVERYTHING, revision=revision)
            assert {entry.key: entry.value for entry in found.entries} == content
            assert (found.count, found.revision) == (len(content), 6)
            for key in ("/a", "/b", "/c"):
                entry = await store.get(key, revision=revision)
                assert (entry.value if entry is not None else None) == content.get(key)

    async def test_pages_of_one_revision_fit_together_while_writes_go_on(self, store: Store) -> None:
        names = [f"/{number:02}" for number in range(20)]
        await store.transact(Transaction((), [Put(name, b"old") for name in names]))
        pages: list[Entry] = []
        start = "/"
        while True:
            found = await store.range(KeyRange(start, "0"), revision=2, limit=6)
            pages += found.entries
            assert found.count == 20 - (len(pages) - len(found.entries))
            if not found.more:
                break
            start = found.entries[-1].key + "\0"
            await store.transact(
                Transaction((), [Put("/00", b"new"), Delete(names[-len(pages)]), Put(f"/{len(pages)}x", b"")])
            )
        assert [(entry.key, entry.value) for entry in pages] == [(name, b"old") for name in names]

    async def test_a_revision_that_has_not_happened_cannot_be_read(self, store: Store) -> None:
        with pytest.raises(FutureRevision):
            await store.get("/a", revision=2)
        with pytest.raises(FutureRevision):
            await store.range(_EVERYTHING, revision=2)
        with pytest.raises(FutureRevision):
            await store.compact(2)

    async def test_compacting_forgets_what_was_superseded_and_keeps_the_rest(self, store: Store) -> None:
        await put(store, "/a", b"1")
        await put(store, "/b", b"1")
        await put(store, "/a", b"2")
        await delete(store, "/b")
        await put(store, "/a", b"3")
        await store.compact(4)
        assert store.compacted == 4
        with pytest.raises(Compacted) as refused:
            await store.range(_EVERYTHING, revision=3)
        assert (refused.value.revision, refused.value.oldest) == (3, 4)
        with pytest.raises(Compacted):
            await store.get("/a", revision=3)
        found = await store.range(_EVERYTHING, revision=4)
        assert [(entry.key, entry.value) for entry in found.entries] == [("/a", b"2"), ("/b", b"1")]
        assert await store.get("/a") == Entry("/a", b"3", 2, 6, 3)
        await store.compact(3)
        assert store.compacted == 4
        await store.compact(6)
        assert await store.get("/a") == Entry("/a", b"3", 2, 6, 3)
        assert (await put(store, "/a")).revision == 7

    async def test_writes_go_on_while_much_is_compacted(self, store: Store) -> None:
        for number in range(40):
            await store.transact(Transaction((), [Put(f"/{key}", str(number).encode()) for key in range(50)]))
        compaction = asyncio.ensure_future(store.compact(store.revision))
        results = [await put(store, "/0", b"after") for _ in range(10)]
        await compaction
        assert [result.revision for result in results] == list(range(42, 52))
        found = await store.range(_EVERYTHING)
        assert [entry.value for entry in found.entries] == [b"after"] + [b"39"] * 49

    # Watches

    async def test_a_watch_delivers_each_revision_of_its_range_once_and_in_order(self, store: Store) -> None:
        watch = store.watch(KeyRange.prefix("/a/"), after=1)
        await put(store, "/a/1", b"1")
        await put(store, "/b/1", b"1")
        await store.transact(Transaction((), [Put("/a/2", b"1"), Put("/b/1", b"2"), Put("/a/1", b"2")]))
        await delete(store, "/a/1")
        assert shape(await take(watch, 3)) == [
            (2, [("/a/1", b"1", None)]),
            (4, [("/a/1", b"2", b"1"), ("/a/2", b"1", None)]),
            (5, [("/a/1", None, b"2")]),
        ]

    async def test_a_change_is_with_the_watch_when_the_transaction_returns(self, store: Store) -> None:
        watch = store.watch(_EVERYTHING, after=store.revision)
        for _ in range(3):
            result = await put(store, "/a")
            assert (await _at_once(watch)).revision == result.revision

    async def test_a_watch_begins_when_it_is_asked_for(self, store: Store) -> None:
        watch = store.watch(_EVERYTHING, after=store.revision)
        await put(store, "/a", b"1")
        assert shape(await take(watch, 1)) == [(2, [("/a", b"1", None)])]

    async def test_a_watch_from_the_past_goes_over_into_the_present(self, store: Store) -> None:
        for number in range(5):
            await put(store, "/a", str(number).encode())
        watch = store.watch(_EVERYTHING, after=3)
        await put(store, "/a", b"5")
        first = await take(watch, 1)
        await put(store, "/a", b"6")
        batches = first + await take(watch, 4)
        assert [batch.revision for batch in batches] == [4, 5, 6, 7, 8]
        assert [batch.changes[0].entry.version for batch in batches if batch.changes[0].entry] == [3, 4, 5, 6, 7]
        assert [batch.changes[0].previous.version for batch in batches if batch.changes[0].previous] == [2, 3, 4, 5, 6]

    async def test_a_watch_from_the_beginning_sees_everything(self, store: Store) -> None:
        await put(store, "/a", b"1")
        await delete(store, "/a")
        for after in (0, 1):
            watch = store.watch(_EVERYTHING, after=after)
            assert shape(await take(watch, 2)) == [(2, [("/a", b"1", None)]), (3, [("/a", None, b"1")])]

    async def test_a_watch_that_starts_in_the_middle_of_a_write_load_misses_nothing(self, store: Store) -> None:
        async def write() -> None:
            for number in range(200):
                await put(store, f"/{number % 7}", str(number).encode())
                if number % 20 == 0:
                    await turn()

        writing = [asyncio.ensure_future(write()) for _ in range(3)]
        starts = []
        for _ in range(10):
            await put(store, "/mark")
            after = max(1, store.revision - 50)
            starts.append((after, store.watch(_EVERYTHING, after=after)))
        await asyncio.gather(*writing)
        last = store.revision
        for after, watch in starts:
            batches = await take(watch, last - after)
            assert [batch.revision for batch in batches] == list(range(after + 1, last + 1))

    async def test_a_watch_after_a_revision_that_has_not_happened_starts_there(self, store: Store) -> None:
        watch = store.watch(_EVERYTHING, after=3)
        for _ in range(4):
            await put(store, "/a")
        assert [batch.revision for batch in await take(watch, 2)] == [4, 5]

    async def test_watching_from_below_what_is_kept_is_refused(self, store: Store) -> None:
        for _ in range(4):
            await put(store, "/a")
        await store.compact(4)
        for after in (0, 1, 3):
            with pytest.raises(Compacted):
                await take(store.watch(_EVERYTHING, after=after), 1)
        (batch,) = await take(store.watch(_EVERYTHING, after=4), 1)
        assert batch.revision == 5
        assert batch.changes[0].previous == Entry("/a", b"", 2, 4, 3)

    async def test_a_watch_that_is_too_slow_is_ended_and_the_others_feel_nothing(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path, SystemClock(), "?watch_bound=8") as store:
            slow, quick = store.watch(_EVERYTHING, after=1), store.watch(_EVERYTHING, after=1)
            elsewhere = store.watch(KeyRange.prefix("/b"), after=1)
            for number in range(9):
                await put(store, "/a")
                (batch,) = await take(quick, 1)
                assert batch.revision == number + 2
            await put(store, "/b")
            with pytest.raises(WatchOverrun):
                await take(slow, 1)
            assert (await take(quick, 1))[0].revision == 11
            assert (await take(elsewhere, 1))[0].revision == 11

    async def test_a_watch_of_a_long_past_is_not_ended_for_its_length(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path, SystemClock(), "?watch_bound=8") as store:
            for number in range(50):
                await put(store, "/a", str(number).encode())
            batches = await take(store.watch(_EVERYTHING, after=1), 50)
            assert [batch.revision for batch in batches] == list(range(2, 52))

    async def test_a_read_of_a_watch_can_be_cancelled_without_loss(self, store: Store) -> None:
        watch = store.watch(_EVERYTHING, after=1)
        for _ in range(3):
            reading = asyncio.ensure_future(anext(watch))
            await turn()
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        await put(store, "/a")
        assert [batch.revision for batch in await take(watch, 1)] == [2]

    async def test_closing_ends_every_watch_after_what_it_has_to_tell(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path, SystemClock()) as store:
            watch = store.watch(_EVERYTHING, after=1)
            waiting = asyncio.ensure_future(_end(store.watch(KeyRange.prefix("/none"), after=1)))
            await put(store, "/a")
        assert [batch.revision async for batch in watch] == [2]
        async with asyncio.timeout(20):
            assert await waiting == "ended"

    # Leases

    async def test_the_keys_of_a_lease_go_together_when_its_time_is_over(self, tmp_path: Path) -> None:
        clock = FakeClock()
        async with self.opened(tmp_path, clock) as store:
            lease = await store.grant_lease(10)
            await put(store, "/a", b"1", lease)
            await put(store, "/b", b"1", lease)
            await put(store, "/stays", b"1")
            watch = store.watch(_EVERYTHING, after=store.revision)
            await clock.advance(9.5)
            assert (await store.range(_EVERYTHING)).count == 3
            await clock.advance(1)
            assert shape(await take(watch, 1)) == [(5, [("/a", None, b"1"), ("/b", None, b"1")])]
            assert keys(await store.range(_EVERYTHING)) == ["/stays"]

    async def test_keeping_a_lease_alive_gives_it_its_full_time_again(self, tmp_path: Path) -> None:
        clock = FakeClock()
        async with self.opened(tmp_path, clock) as store:
            lease = await store.grant_lease(10)
            await put(store, "/a", b"1", lease)
            for _ in range(3):
                await clock.advance(9)
                await store.keep_alive(lease)
            await clock.advance(9)
            assert await store.get("/a") is not None
            await clock.advance(2)
            assert await store.get("/a") is None
            with pytest.raises(StoreError):
                await store.keep_alive(lease)

    async def test_revoking_a_lease_deletes_its_keys_now(self, store: Store) -> None:
        lease = await store.grant_lease(1000)
        assert lease > 0
        await put(store, "/a", b"1", lease)
        await store.revoke_lease(lease)
        assert await store.get("/a") is None
        assert store.revision == 3
        await store.revoke_lease(lease)
        await store.revoke_lease(123456)
        assert store.revision == 3

    async def test_a_lease_that_is_over_or_unknown_takes_no_keys(self, store: Store) -> None:
        lease = await store.grant_lease(1000)
        await store.revoke_lease(lease)
        for number in (lease, 123456):
            with pytest.raises(StoreError):
                await put(store, "/a", b"1", number)
            with pytest.raises(StoreError):
                await store.keep_alive(number)
        assert store.revision == 1

    async def test_a_key_belongs_to_the_lease_it_was_put_with_last(self, store: Store) -> None:
        first, second = await store.grant_lease(1000), await store.grant_lease(1000)
        assert first != second
        await put(store, "/moved", b"1", first)
        await put(store, "/moved", b"2", second)
        await put(store, "/free", b"1", first)
        await put(store, "/free", b"2")
        await put(store, "/gone", b"1", first)
        await delete(store, "/gone")
        entry = await store.get("/moved")
        assert entry is not None
        assert entry.lease == second
        before = store.revision
        await store.revoke_lease(first)
        assert store.revision == before
        await store.revoke_lease(second)
        assert keys(await store.range(_EVERYTHING)) == ["/free"]

    async def test_a_lease_needs_a_time(self, store: Store) -> None:
        for seconds in (0, -1):
            with pytest.raises(StoreError):
                await store.grant_lease(seconds)

    async def test_a_lease_that_is_revoked_while_keys_come_to_it_leaves_none(self, store: Store) -> None:
        lease = await store.grant_lease(1000)
        results = await asyncio.gather(
            *(put(store, f"/{number}", b"", lease) for number in range(5)),
            store.revoke_lease(lease),
            put(store, "/late", b"", lease),
            return_exceptions=True,
        )
        assert isinstance(results[-1], StoreError)
        assert (await store.range(_EVERYTHING)).count == 0

    # Opening and closing

    async def test_a_store_that_is_not_open_refuses(self, tmp_path: Path) -> None:
        store = self.make(tmp_path, SystemClock())
        with pytest.raises(StoreError):
            await store.get("/a")
        await store.open()
        await store.close()
        await store.close()
        with pytest.raises(StoreError):
            await put(store, "/a")
        with pytest.raises(StoreError):
            await store.range(_EVERYTHING)

    async def test_what_was_acknowledged_is_there_after_a_restart(self, tmp_path: Path) -> None:
        self.require_durable(tmp_path)
        clock = FakeClock()
        async with self.opened(tmp_path, clock) as store:
            for number in range(10):
                await put(store, f"/{number}", str(number).encode())
            await put(store, "/3", b"again")
            await delete(store, "/4")
            before = await store.range(_EVERYTHING)
        async with self.opened(tmp_path, clock) as store:
            assert store.revision == 13
            assert list((await store.range(_EVERYTHING)).entries) == list(before.entries)
            entry = await store.get("/4", revision=12)
            assert entry is not None
            assert entry.value == b"4"
            batches = await take(store.watch(_EVERYTHING, after=10), 3)
            assert shape(batches) == [
                (11, [("/9", b"9", None)]),
                (12, [("/3", b"again", b"3")]),
                (13, [("/4", None, b"4")]),
            ]
            assert (await put(store, "/new")).revision == 14

    async def test_what_was_compacted_stays_so_after_a_restart(self, tmp_path: Path) -> None:
        self.require_durable(tmp_path)
        clock = FakeClock()
        async with self.opened(tmp_path, clock) as store:
            for number in range(4):
                await put(store, "/a", str(number).encode())
            await put(store, "/b")
            await delete(store, "/b")
            await store.compact(7)
        for _ in range(2):
            async with self.opened(tmp_path, clock) as store:
                assert (store.revision, store.compacted) == (7, 7)
                with pytest.raises(Compacted):
                    await store.get("/a", revision=6)
                assert await store.get("/a") == Entry("/a", b"3", 2, 5, 4)
        async with self.opened(tmp_path, clock) as store:
            assert (await put(store, "/c")).revision == 8

    async def test_leases_survive_a_restart(self, tmp_path: Path) -> None:
        self.require_durable(tmp_path)
        clock = FakeClock()
        async with self.opened(tmp_path, clock) as store:
            short, long = await store.grant_lease(10), await store.grant_lease(100)
            await put(store, "/short", b"", short)
            await put(store, "/long", b"", long)
        await clock.advance(20)
        async with self.opened(tmp_path, clock) as store:
            await clock.advance(1)
            assert keys(await store.range(_EVERYTHING)) == ["/long"]
            await store.keep_alive(long)
            assert await store.grant_lease(1) not in {short, long}
            await clock.advance(99)
            assert keys(await store.range(_EVERYTHING)) == ["/long"]
            await clock.advance(2)
            assert keys(await store.range(_EVERYTHING)) == []

    async def test_a_second_owner_is_refused_until_the_first_lets_go(self, tmp_path: Path) -> None:
        self.require_durable(tmp_path)
        async with self.opened(tmp_path, SystemClock()) as store:
            if store.capabilities.shared:
                pytest.skip("this driver lets several processes have the data")
            await put(store, "/a", b"1")
            second = self.make(tmp_path, SystemClock())
            with pytest.raises(StoreBusy, match=r"in use by process \d+"):
                await second.open()
            await put(store, "/a", b"2")
        async with self.opened(tmp_path, SystemClock()) as store:
            entry = await store.get("/a")
            assert entry is not None
            assert entry.value == b"2"

    # Forks

    async def test_a_fork_has_the_same_content_and_goes_its_own_way(self, tmp_path: Path) -> None:
        clock = FakeClock()
        async with self.opened(tmp_path, clock) as store:
            self.require_snapshot(store)
            lease = await store.grant_lease(10)
            for number in range(1000):
                await put(store, f"/{number:04}", b"both", lease if number == 0 else 0)
            other = await store.fork()
            watch = store.watch(_EVERYTHING, after=store.revision)
            await put(other, "/0001", b"other")
            await delete(other, "/0002")
            await put(store, "/0003", b"store")
            assert other.revision == 1003
            assert store.revision == 1002
            assert [batch.revision for batch in await take(watch, 1)] == [1002]
            for side, values in ((store, (b"both", b"both", b"store")), (other, (b"other", None, b"both"))):
                found = [await side.get(f"/000{number}") for number in (1, 2, 3)]
                assert tuple(entry.value if entry is not None else None for entry in found) == values
                assert (await side.range(_EVERYTHING, revision=1001)).count == 1000
                assert (await side.range(_EVERYTHING, revision=501)).count == 500
            await clock.advance(11)
            assert await store.get("/0000") is None
            assert await other.get("/0000") is None
            await store.close()
            assert (await put(other, "/still")).succeeded
            await other.close()

    async def test_a_store_that_does_not_claim_to_fork_says_so(self, store: Store) -> None:
        if store.capabilities.snapshot:
            pytest.skip("this driver forks")
        with pytest.raises(StoreError, match="cannot be forked"):
            await store.fork()

    # What applies to a driver

    def require_durable(self, directory: Path) -> None:
        if not self.make(directory, SystemClock()).capabilities.durable:
            pytest.skip("this driver keeps nothing")

    def require_snapshot(self, store: Store) -> None:
        if not store.capabilities.snapshot:
            pytest.skip("this driver does not fork")


async def _end(watch: AsyncIterator[WatchBatch]) -> str:
    """Read a watch that must have nothing to tell, until it ends."""
    async for batch in watch:
        raise AssertionError(f"the watch has {batch}")
    return "ended"


async def _at_once(watch: AsyncIterator[WatchBatch]) -> WatchBatch:
    """The next batch, which must be there already: without one turn of the loop."""
    step = watch.__anext__()
    try:
        step.send(None)  # type: ignore[attr-defined]
    except StopIteration as done:
        batch = done.value
        assert isinstance(batch, WatchBatch)
        return batch
    raise AssertionError("the watch had to wait for the change")
