"""The watch cache: in step with the store, in its order, and with a past that can be replayed."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kube_core._kit.clock import FakeClock
from kube_core.abc.store import Compare, Delete, Put, StoreError, Transaction
from kube_core.bus.bus import Bus, Interest
from kube_core.bus.changes import encode
from kube_core.meta.documents import Key
from kube_core.meta.gvk import GroupResource
from kube_core.meta.status import Expired
from kube_core.storage import cache as caches
from kube_core.storage import keys
from kube_core.storage.cache import WatchCache
from kube_core.storage.objects import ObjectStore
from kube_drivers.store.memory import MemoryStore

pytestmark = pytest.mark.anyio

PODS, MAPS = GroupResource("", "pods"), GroupResource("", "configmaps")


def document(key: Key, **more: Any) -> dict[str, Any]:
    metadata = {"name": key.name, **({"namespace": key.namespace} if key.namespace else {})}
    return {"kind": "Thing", "apiVersion": "v1", "metadata": metadata, **more}


async def put(storage: Any, key: Key, resource: GroupResource = PODS, **more: Any) -> int:
    operation = Put(keys.store_key(resource, key), encode(document(key, **more)))
    return int((await storage.store.transact(Transaction([], [operation]))).revision)


async def test_what_was_there_before_the_start_is_in_the_cache() -> None:
    store = MemoryStore(clock=FakeClock())
    await store.open()
    key = Key("a", "x")
    await store.transact(Transaction([], [Put(keys.store_key(PODS, key), encode(document(key)))]))
    cache = WatchCache(store, Bus())
    await cache.start()
    found = cache.resource(PODS).get(key)
    assert found is not None
    assert (found.revision, found.document["metadata"]["resourceVersion"]) == (2, "2")
    with pytest.raises(Expired):
        cache.subscribe(PODS, Interest(), after=1)
    await cache.stop()
    await store.close()


async def test_a_write_is_in_the_cache_once_it_has_caught_up(storage: Any) -> None:
    for number in range(20):
        await put(storage, Key("a", f"p{number}"))
        await storage.cache.caught_up()
        assert storage.cache.resource(PODS).get(Key("a", f"p{number}")) is not None
    assert storage.cache.revision == storage.store.revision


async def test_the_cache_lists_in_the_order_in_which_the_store_pages(storage: Any) -> None:
    names = [Key(namespace, name) for namespace in ("a", "a-b", "a.b", "ab", "b") for name in ("x", "x-1", "x1", "y")]
    for key in reversed(names):
        await put(storage, key)
    await storage.cache.caught_up()
    from_store = await storage.store.range(keys.object_range(PODS))
    in_store = [keys.parse(entry.key)[1] for entry in from_store.entries]
    assert [stored.key for stored in storage.cache.resource(PODS).list()] == in_store
    for namespace in ("a", "a-b", "b"):
        listed = [stored.key for stored in storage.cache.resource(PODS).list(namespace)]
        assert listed == [key for key in in_store if key.namespace == namespace]
    assert list(storage.cache.resource(PODS).list("nowhere")) == []


async def test_a_deleted_object_is_gone_and_its_change_shows_it_as_it_was(storage: Any) -> None:
    key = Key("a", "x")
    subscription = storage.cache.subscribe(PODS, Interest())
    await put(storage, key, n=1)
    revision = (await storage.store.transact(Transaction([], [Delete(keys.store_key(PODS, key))]))).revision
    await storage.cache.caught_up()
    assert (storage.cache.resource(PODS).get(key), len(storage.cache.resource(PODS))) == (None, 0)
    last = subscription.drain()[-1]
    assert (last.after, last.before.document["n"], last.latest.revision) == (None, 1, revision)


async def test_resources_do_not_hear_of_each_other(storage: Any) -> None:
    pods, maps = storage.cache.subscribe(PODS, Interest()), storage.cache.subscribe(MAPS, Interest())
    await put(storage, Key("a", "x"), MAPS)
    await storage.cache.caught_up()
    assert (len(pods.drain()), len(maps.drain())) == (0, 1)


async def test_changes_of_one_transaction_come_together(storage: Any) -> None:
    subscription = storage.cache.subscribe(PODS, Interest())
    one, other = Key("a", "x"), Key("a", "y")
    operations = [Put(keys.store_key(PODS, key), encode(document(key))) for key in (one, other)]
    revision = (await storage.store.transact(Transaction([], operations))).revision
    await storage.cache.caught_up()
    assert [(change.key, change.revision) for change in subscription.drain()] == [(one, revision), (other, revision)]


async def test_a_subscriber_from_the_past_gets_what_came_since(storage: Any) -> None:
    first = await put(storage, Key("a", "x"))
    for number in range(3):
        await put(storage, Key("a", f"p{number}"))
    await storage.cache.caught_up()
    subscription = storage.cache.subscribe(PODS, Interest(), after=first)
    await put(storage, Key("a", "later"))
    await storage.cache.caught_up()
    assert [change.key.name for change in subscription.drain()] == ["p0", "p1", "p2", "later"]


async def test_a_past_that_is_no_longer_kept_is_expired(storage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caches, "HISTORY", 4)
    resource = caches.ResourceCache(PODS, 1)
    resource._history = deque(maxlen=4)
    storage.cache._resources[PODS] = resource
    revisions = [await put(storage, Key("a", f"p{number}")) for number in range(6)]
    await storage.cache.caught_up()
    # The last four are kept: whoever knows the second may go on.
    replayed = [change.revision for change in resource.replay(revisions[1])]
    assert replayed == revisions[2:]
    with pytest.raises(Expired, match=f"too old resource version: {revisions[0]}"):
        storage.cache.subscribe(PODS, Interest(), after=revisions[0])
    assert storage.bus.subscribers == 0


async def test_whoever_waits_for_a_cache_that_stops_is_not_left_waiting(storage: Any) -> None:
    waiting = asyncio.create_task(storage.cache.caught_up(1_000))
    await asyncio.sleep(0)
    await storage.cache.stop()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not storage.cache.following


async def test_whoever_waits_for_a_cache_whose_store_fails_learns_why(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(MemoryStore):
        def watch(self, *args: Any, **options: Any) -> Any:
            async def failing() -> Any:
                raise StoreError("the disk is gone")
                yield

            return failing()

    store = Failing(clock=FakeClock())
    await store.open()
    cache = WatchCache(store, Bus())
    await cache.start()
    with pytest.raises(StoreError, match="the disk is gone"):
        await cache.caught_up(5)
    with pytest.raises(StoreError, match="the disk is gone"):
        await cache.caught_up(6)
    assert not cache.following
    await cache.stop()
    await store.close()


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "delete", "subscribe", "turn"]), st.sampled_from(["a/x", "a/y", "b/x", "b/z"])
    ),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_list_and_subscription_together_miss_nothing_and_double_nothing(steps: list[tuple[str, str]]) -> None:
    asyncio.run(_interleave(steps))


async def _interleave(steps: list[tuple[str, str]]) -> None:
    store = MemoryStore(clock=FakeClock())
    await store.open()
    cache = WatchCache(store, Bus())
    await cache.start()
    objects = ObjectStore(store, cache)
    writes: list[asyncio.Task[Any]] = []
    followers: list[tuple[dict[Key, int], Any, int]] = []
    for what, text in steps:
        key = Key(*text.split("/"))
        name = keys.store_key(PODS, key)
        if what == "put":
            writes.append(asyncio.create_task(store.transact(Transaction([], [Put(name, encode(document(key)))]))))
        elif what == "delete":
            writes.append(asyncio.create_task(store.transact(Transaction([], [Delete(name)]))))
        elif what == "subscribe":
            # One by its list, one from the revision of that list: both must end at the same state.
            present = {stored.key: stored.revision for stored in cache.resource(PODS).list()}
            followers.append((present, cache.subscribe(PODS, Interest()), cache.revision))
            followers.append((dict(present), cache.subscribe(PODS, Interest(), after=cache.revision), cache.revision))
        else:
            await asyncio.sleep(0)
    await asyncio.gather(*writes)
    await cache.caught_up()
    found = await store.range(keys.object_range(PODS))
    truth = {keys.parse(entry.key)[1]: entry.mod_revision for entry in found.entries}
    assert {stored.key: stored.revision for stored in cache.resource(PODS).list()} == truth
    for state, subscription, since in followers:
        changes = subscription.drain()
        revisions = [since, *(change.revision for change in changes)]
        assert revisions == sorted(set(revisions))
        for change in changes:
            assert (change.before.revision if change.before is not None else None) == state.get(change.key)
            if change.after is None:
                del state[change.key]
            else:
                state[change.key] = change.after.revision
        assert state == truth
    assert (await objects.page(PODS, "", revision=0)).revision == store.revision
    await cache.stop()
    await store.close()


async def test_a_write_hands_its_document_over_instead_of_having_it_decoded(storage: Any) -> None:
    key = Key("a", "x")
    wanted = document(key, spec={"n": 1})
    stored = await storage.objects.create(PODS, key, wanted)
    assert stored._raw is wanted
    assert storage.cache._expected == {}
    compare = Compare(keys.store_key(PODS, key), stored.revision)
    assert (await storage.store.transact(Transaction([compare], []))).succeeded


async def test_others_have_their_turns_while_the_cache_takes_up_very_many_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Hasty(MemoryStore):
        """Tells of a hundred changes without giving way between them."""

        def watch(self, *args: Any, **options: Any) -> Any:
            batches = super().watch(*args, **options)

            async def hasty() -> Any:
                held = [await anext(batches) for _ in range(100)]
                for batch in held:
                    yield batch
                await asyncio.Event().wait()

            return hasty()

    monkeypatch.setattr(caches, "AT_ONCE", 10)
    store = Hasty(clock=FakeClock())
    await store.open()
    cache = WatchCache(store, Bus())
    await cache.start()
    applied: list[int] = []
    cache.resource(PODS).followers.append(lambda change: applied.append(change.revision))
    names = [Key("a", f"p{number}") for number in range(100)]
    operations = [Put(keys.store_key(PODS, key), encode(document(key))) for key in names]
    for operation in operations:
        await store.transact(Transaction([], [operation]))
    most, before = 0, len(applied)
    while len(applied) < 100:
        await asyncio.sleep(0)
        most = max(most, len(applied) - before)
        before = len(applied)
    assert most <= 10
    await cache.stop()
    await store.close()
