"""The watch cache: everything in the store, in memory, and the recent past of each resource.

One task reads the store's watch, in order of revisions, and is the only writer: it updates the resource's map, keeps
the change in the resource's history and publishes it on the bus, all in one turn of the loop. So whoever looks at the
map and subscribes within one turn misses nothing and sees nothing twice.

`revision` is how far the cache has come. After a write, `caught_up` waits (nearly always not at all) until the cache
has seen what the store acknowledged, so a client reads its own writes.

The document that a writer has in hand is handed over with `expect`, so that a write is not decoded again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import attrs

from kube_core._kit.clock import turn
from kube_core.abc.recording import Recorder
from kube_core.abc.store import Entry, KeyRange, Store, WatchBatch
from kube_core.bus.bus import Bus, Interest, Subscription
from kube_core.bus.changes import Change, Recent, Stored
from kube_core.meta.documents import Key, MutableDocument
from kube_core.meta.gvk import GroupResource
from kube_core.meta.status import Expired
from kube_core.storage import keys

__all__ = ["CacheImage", "ResourceCache", "WatchCache"]

#: How many changes of one resource can be replayed to a watch that starts in the past.
HISTORY = 4096
#: Changes that are taken up before others have their turn; one takes some 5 µs, and a little for each who listens.
AT_ONCE = 128


@attrs.define
class Reads:
    """Lists that were answered by one index of a cache: how many, and the objects that they looked at and gave."""

    lists: int = 0
    fetched: int = 0
    returned: int = 0


class ResourceCache:
    """One resource: its objects by namespace and name, and its recent changes."""

    def __init__(self, resource: GroupResource, started: int) -> None:
        self.resource = resource
        self._namespaces: dict[str, dict[str, Stored]] = {}
        self._sorted: dict[str, list[Stored]] = {}
        self._history: deque[Change] = deque(maxlen=HISTORY)
        self._count = 0
        #: Bytes of all objects, as they are stored.
        self.size = 0
        #: Changes after this revision can be replayed.
        self.replayable_after = started
        #: How many changes there have been, and how lists were answered from here.
        self.received = 0
        self.reads: dict[str, Reads] = {}
        #: Called with each change in the turn in which it is applied: for what must never lag behind, and is quick.
        self.followers: list[Callable[[Change], None]] = []

    def copy_from(self, other: ResourceCache) -> None:
        """Hold what `other` holds, past included, and share every object with it."""
        self._namespaces = {namespace: objects.copy() for namespace, objects in other._namespaces.items()}
        # These lists are never changed, only made again.
        self._sorted = other._sorted.copy()
        self._history = other._history.copy()
        self._count, self.size = other._count, other.size
        self.replayable_after = other.replayable_after

    def get(self, key: Key) -> Stored | None:
        return self._namespaces.get(key.namespace, _NONE).get(key.name)

    def list(self, namespace: str = "") -> Sequence[Stored]:
        """The objects of one namespace, or of all, in the order of their keys. Read it before the next await."""
        if namespace:
            return self._in_order(namespace)
        # As in the store, where a page is continued: "a-b/x" comes before "a/x".
        names = sorted(self._namespaces, key=lambda name: f"{name}/")
        if len(names) == 1:
            return self._in_order(names[0])
        return [stored for name in names for stored in self._in_order(name)]

    def _in_order(self, namespace: str) -> Sequence[Stored]:
        found = self._sorted.get(namespace)
        if found is None:
            objects = self._namespaces.get(namespace, _NONE)
            found = self._sorted[namespace] = [objects[name] for name in sorted(objects)]
        return found

    def __len__(self) -> int:
        return self._count

    def was_listed(self, namespace: str, fetched: int, returned: int) -> None:
        """A list was answered from here: of one namespace or all, of so many objects so many."""
        index = "namespace" if namespace else ""
        reads = self.reads.get(index)
        if reads is None:
            reads = self.reads[index] = Reads()
        reads.lists += 1
        reads.fetched += fetched
        reads.returned += returned

    def replay(self, after: int) -> Iterator[Change]:
        """Changes above a revision. Raises `Expired` when they are no longer all here."""
        if after < self.replayable_after:
            raise Expired(f"too old resource version: {after} ({self.replayable_after})")
        return (change for change in self._history if change.revision > after)

    def load(self, stored: Stored) -> None:
        """Put in what was there at start."""
        self._namespaces.setdefault(stored.key.namespace, {})[stored.key.name] = stored
        self._count += 1
        self.size += len(stored.data)

    def apply(self, key: Key, revision: int, after: Stored | None) -> Change | None:
        """Carry out one change of the store and remember it."""
        objects = self._namespaces.setdefault(key.namespace, {})
        before = objects.get(key.name)
        if after is not None:
            objects[key.name] = after
            self.size += len(after.data)
            self._count += before is None
        elif before is not None:
            del objects[key.name]
            self._count -= 1
        else:
            return None
        if before is not None:
            self.size -= len(before.data)
        self._sorted.pop(key.namespace, None)
        if not objects:
            del self._namespaces[key.namespace]
        change = Change(key, revision, before, after)
        self.received += 1
        if len(self._history) == HISTORY:
            self.replayable_after = self._history[0].revision
        self._history.append(change)
        for follow in self.followers:
            follow(change)
        return change


_NONE: dict[str, Stored] = {}


@attrs.frozen
class CacheImage:
    """Every resource as it was at `revision`, for the caches of other servers on forks of the same store."""

    revision: int
    resources: Mapping[GroupResource, ResourceCache]
    recent: Recent


class WatchCache:
    """The caches of every resource, fed by one watch of the store."""

    def __init__(self, store: Store, bus: Bus) -> None:
        self.store = store
        self.bus = bus
        #: Who is told of every change, if anybody is.
        self.recorder: Recorder | None = None
        self.revision = 0
        self._started = 0
        self._recent = Recent()
        self._resources: dict[GroupResource, ResourceCache] = {}
        self._expected: dict[int, tuple[bytes, MutableDocument]] = {}
        self._parsed: dict[str, tuple[GroupResource, Key]] = {}
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None

    def image(self) -> CacheImage:
        """What is here, as of now."""
        copies = {}
        for resource, cache in self._resources.items():
            copy = copies[resource] = ResourceCache(resource, self._started)
            copy.copy_from(cache)
        return CacheImage(self.revision, copies, self._recent)

    async def start(self, image: CacheImage | None = None) -> None:
        """Read everything, then follow the store. Raises `StoreError`.

        `image`: what a cache of the store that this one is a fork of held at its last revision.
        """
        everything = KeyRange.prefix(keys.REGISTRY)
        if image is not None:
            self.revision = self._started = image.revision
            # What is decoded for one of them is decoded for all, and bounded for all together.
            self._recent = image.recent
            for resource, cache in image.resources.items():
                self.resource(resource).copy_from(cache)
            self._task = asyncio.create_task(self._follow(everything), name="watch-cache")
            return
        found = await self.store.range(everything)
        self.revision = self._started = found.revision
        for entry in found.entries:
            resource, key = keys.parse(entry.key)
            self.resource(resource).load(Stored(key, entry.mod_revision, entry.value, recent=self._recent))
        self._task = asyncio.create_task(self._follow(everything), name="watch-cache")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    @property
    def following(self) -> bool:
        """Whether the store's watch is being read."""
        return self._task is not None and not self._task.done()

    def resource(self, resource: GroupResource) -> ResourceCache:
        cache = self._resources.get(resource)
        if cache is None:
            cache = self._resources[resource] = ResourceCache(resource, self._started)
        return cache

    def resources(self) -> Iterable[tuple[GroupResource, ResourceCache]]:
        """Every resource that was ever asked for or stored."""
        return self._resources.items()

    def expect(self, data: bytes, document: MutableDocument) -> None:
        """`document` is what `data`, about to be written, encodes. Undone by `forget`, if it was not written."""
        self._expected[id(data)] = (data, document)

    def forget(self, data: bytes) -> None:
        self._expected.pop(id(data), None)

    async def caught_up(self, revision: int = 0) -> None:
        """Return when the cache has seen `revision` (by default: all that the store has acknowledged)."""
        wanted = revision or self.store.revision
        if self.revision >= wanted:
            return
        if self._failure is not None:
            raise self._failure
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((wanted, waiter))
        await waiter

    def subscribe(
        self, resource: GroupResource, interest: Interest, *, after: int | None = None, limit: int = 1000
    ) -> Subscription:
        """Changes from now on, or above the revision `after`. Raises `Expired`."""
        past = [] if after is None else self.resource(resource).replay(after)
        subscription = self.bus.subscribe(resource, interest, limit=limit)
        subscription.replay(past)
        return subscription

    async def _follow(self, everything: KeyRange) -> None:
        applied = 0
        try:
            async for batch in self.store.watch(everything, after=self.revision):
                self._apply(batch)
                applied += len(batch.changes)
                if applied >= AT_ONCE:
                    # A store that has much to tell has no reason to give way by itself.
                    applied = 0
                    await turn()
        except asyncio.CancelledError:
            raise
        except BaseException as failure:
            self._failure = failure
            raise
        finally:
            for _, waiter in self._waiters:
                if not waiter.done():
                    waiter.cancel() if self._failure is None else waiter.set_exception(self._failure)
            self._waiters.clear()

    def _apply(self, batch: WatchBatch) -> None:
        for written in batch.changes:
            resource, key = keys.parse(written.key)
            entry = written.entry
            after = self._stored(key, entry) if entry is not None else None
            change = self.resource(resource).apply(key, batch.revision, after)
            if change is not None:
                self.bus.publish(resource, change)
                if self.recorder is not None:
                    self.recorder.seen(resource, key, batch.revision, change.before, change.after)
        self.revision = batch.revision
        if self._waiters:
            self._release()

    def _stored(self, key: Key, entry: Entry) -> Stored:
        expected = self._expected.pop(id(entry.value), None)
        raw = expected[1] if expected is not None and expected[0] is entry.value else None
        return Stored(key, entry.mod_revision, entry.value, raw, self._recent)

    def _release(self) -> None:
        waiting = []
        for wanted, waiter in self._waiters:
            if wanted > self.revision:
                waiting.append((wanted, waiter))
            elif not waiter.done():
                waiter.set_result(None)
        self._waiters = waiting
