"""A store whose values are sealed: any driver's, behind the same contract.

Values are sealed on their way in and opened on their way out, by the providers of their resource. What cannot be
opened is an error that names the key (`StoreCorrupt`), never a value that is missing: a cluster with the wrong keys
does not start.

`stale` holds the keys whose values were opened, but would be sealed otherwise today: under an old key, by another
provider, or not at all. Writing such an object again seals it anew, even where nothing else about it changes, so that
`kubectl get secrets -A -o json | kubectl replace -f -` ends a rotation.

Keys may be kept by services (`kms.py`): what is read is first shown to them, so that opening need not wait. One task
asks for their health, and reads the configuration again where it is to be followed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import ClassVar, Final

import attrs

from kube_core._kit.clock import Clock
from kube_core._kit.logs import get_logger
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
from kube_core.api.config_files import ConfigFileError, Followed
from kube_core.meta.gvk import GroupResource
from kube_core.storage import keys
from kube_core.storage.encryption.configuration import EncryptionConfiguration, read_encryption_configuration
from kube_core.storage.encryption.kms import HEALTHY_PERIOD, UNHEALTHY_PERIOD, Kms
from kube_core.storage.encryption.providers import ENCRYPTED, NotOpened, NotSealed, Provider
from kube_core.storage.keys import REGISTRY

__all__ = ["EncryptedStore"]

_log = get_logger("kube_core.storage.encryption")

#: How often a service is asked, a second apart, before the store is not opened.
_TRIES: Final = 5
#: Entries that are read at once.
_PAGE: Final = 500


class EncryptedStore(Store):
    """`inner`, with its values sealed as `configuration` says."""

    #: What the inner store can do is what this one can (`capabilities` of the instance).
    capabilities: ClassVar[StoreCapabilities] = StoreCapabilities(durable=True)

    def __init__(self, inner: Store, configuration: EncryptionConfiguration, *, reload: bool = False) -> None:
        """`reload`: whether the configuration's file is read again when it changes."""
        super().__init__(clock=inner.clock, url=inner.url)
        self.capabilities = inner.capabilities  # type: ignore[misc]  # as the inner store's, which is known only now
        #: Keys whose values are to be sealed anew when they are next written.
        self.stale: set[str] = set()
        self._inner = inner
        self._configuration = configuration
        self._providers: dict[GroupResource, Sequence[Provider]] = {}
        self._file = Followed(Path(configuration.file)) if reload else None
        #: Of a configuration that was replaced: closed at the next round, when nobody asks them any more.
        self._retired: tuple[Kms, ...] = ()
        self._rounds: asyncio.Task[None] | None = None
        if reload or configuration.services:
            self.checks = {"kms-providers": self._problem}

    async def open(self) -> None:
        await self._inner.open()
        services = self._configuration.services
        for service in services:
            service.connect(self.clock)
            for left in reversed(range(_TRIES)):
                if not await service.check():
                    break
                if not left:
                    raise StoreError(f"{service.problem} (see {self._configuration.file})")
                await self.clock.sleep(1.0)
        if services or self._file is not None:
            self._rounds = asyncio.create_task(self._go_round(), name="encryption")

    async def close(self) -> None:
        if self._rounds is not None:
            self._rounds.cancel()
            await asyncio.gather(self._rounds, return_exceptions=True)
            self._rounds = None
        for service in (*self._retired, *self._configuration.services):
            await service.close()
        self._retired = ()
        await self._inner.close()

    def _problem(self) -> str | None:
        """What is wrong with the services that keep keys."""
        return "; ".join(filter(None, (service.problem for service in self._configuration.services))) or None

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
        entry = await self._inner.get(key, revision=revision)
        if entry is not None:
            await self._learn((entry,))
        return self._opened(entry, present=not revision)

    async def range(self, keys: KeyRange, *, revision: Revision = 0, limit: int = 0) -> Range:
        found = await self._inner.range(keys, revision=revision, limit=limit)
        await self._learn(found.entries)
        entries = [self._open(entry, present=not revision) for entry in found.entries]
        return attrs.evolve(found, entries=entries)

    async def transact(self, transaction: Transaction) -> TransactionResult:
        sealed = [self._sealed(operation) for operation in transaction.operations]
        result = await self._inner.transact(Transaction(transaction.compares, sealed))
        if self._configuration.services:
            held = [entry for each in result.written for entry in (each.entry, each.previous)]
            await self._learn([entry for entry in (*held, *result.current.values()) if entry is not None])
        written = tuple(map(self._written, result.written))
        current = {key: self._opened(entry) for key, entry in result.current.items()}
        return attrs.evolve(result, written=written, current=current)

    def watch(self, keys: KeyRange, *, after: Revision) -> AsyncIterator[WatchBatch]:
        # The inner watch begins here, not when it is first read.
        return _Opened(self._inner.watch(keys, after=after), self._learn, self._written)

    async def compact(self, revision: Revision) -> None:
        await self._inner.compact(revision)

    async def grant_lease(self, seconds: float) -> int:
        return await self._inner.grant_lease(seconds)

    async def keep_alive(self, lease: int) -> None:
        await self._inner.keep_alive(lease)

    async def revoke_lease(self, lease: int) -> None:
        await self._inner.revoke_lease(lease)

    async def fork(self, *, clock: Clock | None = None) -> Store:
        if self._configuration.services:
            raise StoreError("a store whose keys a service keeps cannot be forked")
        forked = type(self)(await self._inner.fork(clock=clock), self._configuration)
        forked.stale = set(self.stale)
        return forked

    # -- services, and a configuration that changes -------------------------------------------------------------------

    async def _learn(self, entries: Iterable[Entry]) -> None:
        """Ask the services for what is needed to open these."""
        for service in self._configuration.services:
            await service.learn([entry.value for entry in entries])

    async def _go_round(self) -> None:
        while True:
            await self.clock.sleep(UNHEALTHY_PERIOD if self._problem() else HEALTHY_PERIOD)
            with self.clock.hold("encryption is looked after"):
                await self._look_after()

    async def _look_after(self) -> None:
        for service in self._retired:
            await service.close()
        self._retired = ()
        changed = self._file is not None and self._file.changed() and await self._read_again()
        for service in self._configuration.services:
            before = service.key_id
            if problem := await service.check():
                _log.warning("a key management service is not healthy", problem=problem)
            changed = changed or service.key_id != before
        if changed:
            await self._judge_again()

    async def _read_again(self) -> bool:
        """Whether there is another configuration. One that is wrong, or whose services do not answer, is not taken."""
        file = self._configuration.file
        try:
            found = read_encryption_configuration(Path(file))
        except ConfigFileError as error:
            _log.error("the encryption configuration is not taken", error=str(error))
            return False
        for service in found.services:
            service.connect(self.clock)
            await service.check()
        problems = [service.problem for service in found.services if service.problem]
        if problems:
            _log.error("the encryption configuration is not taken", error="; ".join(problems))
            for service in found.services:
                await service.close()
            return False
        self._retired, self._configuration = self._configuration.services, found
        self._providers.clear()
        return True

    async def _judge_again(self) -> None:
        """Find out of everything in the store whether it would be sealed otherwise today."""
        start = REGISTRY
        while True:
            page = await self._inner.range(KeyRange(start, KeyRange.prefix(REGISTRY).end), limit=_PAGE)
            await self._learn(page.entries)
            for entry in page.entries:
                try:
                    self._open(entry, present=True)
                except StoreCorrupt as error:
                    _log.error("a value cannot be decrypted any more", error=str(error))
            if not page.more:
                return
            start = page.entries[-1].key + "\0"

    # -- one value -----------------------------------------------------------------------------------------------------

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
        try:
            value = providers[0].seal(operation.key.encode(), operation.value)
        except NotSealed as error:
            raise StoreError(f"{operation.key} cannot be encrypted: {error}") from None
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

    def __init__(
        self,
        inner: AsyncIterator[WatchBatch],
        learn: Callable[[Iterable[Entry]], Awaitable[None]],
        opened: Callable[[Written], Written],
    ) -> None:
        self._inner = inner
        self._learn = learn
        self._opened = opened
        #: Read, and not yet handed out.
        self._read: WatchBatch | None = None

    async def __anext__(self) -> WatchBatch:
        if self._read is None:
            self._read = await anext(self._inner)
        batch = self._read
        held = [entry for each in batch.changes for entry in (each.entry, each.previous) if entry is not None]
        await self._learn(held)
        self._read = None
        return WatchBatch(batch.revision, tuple(map(self._opened, batch.changes)))

    async def aclose(self) -> None:
        close = getattr(self._inner, "aclose", None)
        if close is not None:
            await close()
