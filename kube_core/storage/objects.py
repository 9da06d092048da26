"""Objects in the store: create, compare-and-swap update, delete, read at a revision.

This is the level at which revisions become resource versions. It knows nothing of verbs, validation or users: the
registry does. Every write waits until it is durable, and until the watch cache has seen it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import attrs

from kube_core.abc.store import (
    Compacted,
    Compare,
    Delete,
    FutureRevision,
    Put,
    Store,
    StoreError,
    Transaction,
    TransactionResult,
)
from kube_core.bus.changes import Stored, encode
from kube_core.meta.documents import Key, MutableDocument
from kube_core.meta.gvk import GroupResource
from kube_core.meta.status import Expired, InternalError
from kube_core.storage import keys
from kube_core.storage.cache import WatchCache
from kube_core.storage.metrics import Operation, StorageMetrics

__all__ = ["ObjectStore", "Page", "Superseded"]


#: Seconds for which what is written shares a lease.
LEASE_SHARED = 60.0


class Superseded(Exception):
    """The object was changed (or created, or deleted) since it was read. `current` is what is there now."""

    def __init__(self, current: Stored | None) -> None:
        super().__init__("the object has been modified")
        self.current = current


@attrs.frozen
class Page:
    """Part of a list as of `revision`. `next_key` is where the next page begins, None at the end."""

    items: list[Stored]
    revision: int
    next_key: str | None
    remaining: int


class ObjectStore:
    """Objects of every resource in one store."""

    def __init__(self, store: Store, cache: WatchCache, metrics: StorageMetrics | None = None) -> None:
        self.store = store
        self.cache = cache
        self._metrics = metrics or StorageMetrics()
        #: By lifetime: the lease for what is written now, and until when it is taken.
        self.leases: dict[float, tuple[int, float]] = {}
        self._granting = asyncio.Lock()

    def is_stale(self, resource: GroupResource, key: Key) -> bool:
        """Whether an object is to be written again even as it is: its encryption is no longer what it should be."""
        return bool(self.store.stale) and keys.store_key(resource, key) in self.store.stale

    async def create(
        self, resource: GroupResource, key: Key, document: MutableDocument, *, lifetime: float = 0.0
    ) -> Stored:
        """Write a new object. `document` belongs to the store from here on. Raises `Superseded`.

        `lifetime`: seconds after which it goes by itself, at the earliest, unless it is written again; 0: never.
        """
        return await self._put(resource, key, document, 0, lifetime)

    async def create_all(
        self, batches: Sequence[Sequence[tuple[GroupResource, Key, MutableDocument]]], stored: Callable[[], None]
    ) -> bool:
        """Write new objects, those of a batch at one revision; False where one of them is there already, and then its
        batch and those after it are not written. Every store takes batches of a hundred.

        `stored` is called when all are in the store, and whoever asks for them gets them; when this returns, they have
        been seen by who looks into the cache without asking.

        Much cheaper than one by one, but only for what nobody can be watching yet: who stops between two changes of a
        revision could not tell the store where to go on.
        """
        revision, succeeded, handed_over = 0, True, []
        try:
            for batch in batches:
                puts = []
                for resource, key, document in batch:
                    data = encode(document)
                    self.cache.expect(data, document)
                    handed_over.append(data)
                    puts.append(Put(keys.store_key(resource, key), data))
                wanted = Transaction([Compare(put.key, 0) for put in puts], puts)
                result = await self._transact("create", batch[0][0], wanted)
                if not result.succeeded:
                    succeeded = False
                    break
                revision = result.revision
                if self.cache.recorder is not None:
                    for resource, key, _ in batch:
                        self.cache.recorder.written(resource, key, revision)
            if succeeded:
                stored()
            await self.cache.caught_up(revision)
        finally:
            for data in handed_over:
                self.cache.forget(data)
        return succeeded

    async def replace(
        self, resource: GroupResource, key: Key, document: MutableDocument, revision: int, *, lifetime: float = 0.0
    ) -> Stored:
        """Write an object over the one of `revision`. Raises `Superseded`."""
        return await self._put(resource, key, document, revision, lifetime)

    async def delete(self, resource: GroupResource, key: Key, revision: int) -> int:
        """Delete the object of `revision`; returns the revision of the deletion. Raises `Superseded`."""
        name = keys.store_key(resource, key)
        result = await self._transact("delete", resource, Transaction([Compare(name, revision)], [Delete(name)]))
        if self.cache.recorder is not None and result.succeeded:
            self.cache.recorder.written(resource, key, result.revision)
        await self.cache.caught_up(result.revision)
        if not result.succeeded:
            raise Superseded(self._current(name, key, result))
        return result.revision

    async def page(
        self, resource: GroupResource, namespace: str, *, revision: int, limit: int = 0, start: str = ""
    ) -> Page:
        """Objects as of a revision (0: now) read from the store itself. Raises `Expired`."""
        found = keys.object_range(resource, namespace)
        if start:
            found = attrs.evolve(found, start=max(start, found.start))
        clock = self.store.clock
        began = clock.monotonic()
        try:
            answer = await self.store.range(found, revision=revision, limit=limit)
            self._metrics.answered("list", resource, clock.monotonic() - began)
        except Compacted as error:
            raise Expired("The resourceVersion for the provided list is too old.") from error
        except FutureRevision as error:
            raise InternalError(f"the resource version {revision} is in the future") from error
        items = [Stored(keys.parse(entry.key)[1], entry.mod_revision, entry.value) for entry in answer.entries]
        next_key = answer.entries[-1].key + "\0" if answer.more and answer.entries else None
        return Page(items, revision or answer.revision, next_key, max(answer.count - len(items), 0))

    async def _put(
        self, resource: GroupResource, key: Key, document: MutableDocument, revision: int, lifetime: float
    ) -> Stored:
        name = keys.store_key(resource, key)
        lease = await self._lease(lifetime) if lifetime else 0
        data = encode(document)
        self.cache.expect(data, document)
        try:
            put = Transaction([Compare(name, revision)], [Put(name, data, lease)])
            result = await self._transact("update" if revision else "create", resource, put)
            if self.cache.recorder is not None and result.succeeded:
                self.cache.recorder.written(resource, key, result.revision)
            await self.cache.caught_up(result.revision)
        finally:
            self.cache.forget(data)
        if not result.succeeded:
            raise Superseded(self._current(name, key, result))
        stored = self.cache.resource(resource).get(key)
        if stored is None or stored.revision != result.revision:
            # Somebody else's later write was already seen by the cache: answer with our own all the same.
            return Stored(key, result.revision, data)
        return stored

    async def _transact(self, operation: Operation, resource: GroupResource, wanted: Transaction) -> TransactionResult:
        clock = self.store.clock
        began = clock.monotonic()
        try:
            result = await self.store.transact(wanted)
        except StoreError:
            self._metrics.failed(operation, resource)
            raise
        self._metrics.answered(operation, resource, clock.monotonic() - began)
        return result

    async def _lease(self, lifetime: float) -> int:
        """A lease that lasts for `lifetime` at least. Objects written within a minute share one, as upstream's do."""
        async with self._granting:
            lease, usable_until = self.leases.get(lifetime, (0, 0.0))
            now = self.store.clock.now()
            # A clock that was set back must not lengthen what a lease is taken for.
            if not lease or not usable_until - LEASE_SHARED <= now < usable_until:
                lease = await self.store.grant_lease(lifetime + LEASE_SHARED)
                self.leases[lifetime] = lease, now + LEASE_SHARED
            return lease

    def _current(self, name: str, key: Key, result: TransactionResult) -> Stored | None:
        entry = result.current.get(name)
        return Stored(key, entry.mod_revision, entry.value) if entry is not None else None
