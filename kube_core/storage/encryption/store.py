"""A store whose values are sealed: any driver's, behind the same contract.

Values are sealed on their way in and opened on their way out, by the providers of their resource. What cannot be
opened is an error that names the key (`StoreCorrupt`), never a value that is missing: a cluster with the wrong keys
does not start.

`stale` holds the keys whose values were opened, but would be sealed otherwise today: under an old key, by another
provider, or not at all. Writing such an object again seals it anew, even where nothing else about it changes, so that
`kubectl get secrets -A -o json | kubectl replace -f -` ends a rotation.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import ClassVar

import attrs

from kube_core._kit.clock import Clock
from kube_core.abc.store import (
    Entry,
    KeyRange,
    Operation,
    Put,
    Range,
    Revision,
    Store,
    StoreCapabilities,
    StoreCorrupt,
    StoreError,
    Transaction,
    TransactionResult,
    WatchBatch,
    Written,
)
from kube_core.meta.gvk import GroupResource
from kube_core.storage import keys
from kube_core.storage.encryption.configuration import EncryptionConfiguration
from kube_core.storage.encryption.providers import ENCRYPTED, NotOpened, Provider

__all__ = ["EncryptedStore"]


class EncryptedStore(Store):
    """`inner`, with its values sealed as `configuration` says."""

    #: What the inner store can do is what this one can (`capabilities` of the instance).
    capabilities: ClassVar[StoreCapabilities] = StoreCapabilities(durable=True)

    def __init__(self, inner: Store, configuration: EncryptionConfiguration) -> None:
        super().__init__(clock=inner.clock, url=inner.url)
        self.capabilities = inner.capabilities  # type: ignore[misc]  # as the inner store's, which is known only now
        #: Keys whose values are to be sealed anew when they are next written.
        self.stale: set[str] = set()
        self._inner = inner
        self._configuration = configuration
        self._providers: dict[GroupResource, Sequence[Provider]] = {}

    async def open(self) -> None:
        await self._inner.open()

    async def close(self) -> None:
        await self._inner.close()

    @property
    def revision(self) -> Revision:
        return self._inner.revision

    @property
    def compacted(self) -> Revision:
        return self._inner.compacted

    @property
    def failure(self) -> StoreError | None:
        return self._inner.failure

    async def get(self, key: str, *, revision: Revision = 0) -> Entry | None:
        return self._opened(await self._inner.get(key, revision=revision), present=not revision)

    async def range(self, keys: KeyRange, *, revision: Revision = 0, limit: int = 0) -> Range:
        found = await self._inner.range(keys, revision=revision, limit=limit)
        entries = [self._open(entry, present=not revision) for entry in found.entries]
        return attrs.evolve(found, entries=entries)

    async def transact(self, transaction: Transaction) -> TransactionResult:
        sealed = [self._sealed(operation) for operation in transaction.operations]
        result = await self._inner.transact(Transaction(transaction.compares, sealed))
        written = tuple(map(self._written, result.written))
        current = {key: self._opened(entry) for key, entry in result.current.items()}
        return attrs.evolve(result, written=written, current=current)

    def watch(self, keys: KeyRange, *, after: Revision) -> AsyncIterator[WatchBatch]:
        # The inner watch begins here, not when it is first read.
        return _Opened(self._inner.watch(keys, after=after), self._written)

    async def compact(self, revision: Revision) -> None:
        await self._inner.compact(revision)

    async def grant_lease(self, seconds: float) -> int:
        return await self._inner.grant_lease(seconds)

    async def keep_alive(self, lease: int) -> None:
        await self._inner.keep_alive(lease)

    async def revoke_lease(self, lease: int) -> None:
        await self._inner.revoke_lease(lease)

    async def fork(self, *, clock: Clock | None = None) -> Store:
        forked = type(self)(await self._inner.fork(clock=clock), self._configuration)
        forked.stale = set(self.stale)
        return forked

    def _providers_of(self, key: str) -> Sequence[Provider]:
        try:
            resource, _ = keys.parse(key)
        except ValueError:
            return ()
        found = self._providers.get(resource)
        if found is None:
            found = self._providers[resource] = self._configuration.providers_of(resource)
        return found

    def _sealed(self, operation: Operation) -> Operation:
        if not isinstance(operation, Put):
            return operation
        providers = self._providers_of(operation.key)
        if not providers:
            return operation
        value = providers[0].seal(operation.key.encode(), operation.value)
        return operation if value is operation.value else attrs.evolve(operation, value=value)

    def _written(self, written: Written) -> Written:
        entry = self._opened(written.entry)
        if entry is None:
            self.stale.discard(written.key)
        previous = self._opened(written.previous, present=False)
        if entry is written.entry and previous is written.previous:
            return written
        return Written(written.key, entry, previous)

    def _opened(self, entry: Entry | None, *, present: bool = True) -> Entry | None:
        return None if entry is None else self._open(entry, present=present)

    def _open(self, entry: Entry, *, present: bool) -> Entry:
        """`present`: whether this is what the key holds now."""
        providers = self._providers_of(entry.key)
        if not providers and not entry.value.startswith(ENCRYPTED):
            return entry
        value, fresh = self._value(entry, providers)
        if present:
            self.stale.discard(entry.key) if fresh else self.stale.add(entry.key)
        return entry if value is entry.value else attrs.evolve(entry, value=value)

    def _value(self, entry: Entry, providers: Sequence[Provider]) -> tuple[bytes, bool]:
        file = self._configuration.file
        for position, provider in enumerate(providers):
            try:
                found = provider.open(entry.key.encode(), entry.value)
            except NotOpened as error:
                raise StoreCorrupt(f"{entry.key} cannot be decrypted: {error} (see {file})") from None
            if found is not None:
                value, first_key = found
                return value, first_key and position == 0
        if entry.value.startswith(ENCRYPTED):
            raise StoreCorrupt(f"{entry.key} cannot be decrypted: no provider or key for it in {file}")
        raise StoreCorrupt(f"{entry.key} is not encrypted, and no identity provider for it is in {file}")


class _Opened(AsyncIterator[WatchBatch]):
    """A watch whose values are opened as they come. No generator: a read that is cancelled must lose nothing."""

    def __init__(self, inner: AsyncIterator[WatchBatch], opened: Callable[[Written], Written]) -> None:
        self._inner = inner
        self._opened = opened

    async def __anext__(self) -> WatchBatch:
        batch = await anext(self._inner)
        return WatchBatch(batch.revision, tuple(map(self._opened, batch.changes)))

    async def aclose(self) -> None:
        close = getattr(self._inner, "aclose", None)
        if close is not None:
            await close()
