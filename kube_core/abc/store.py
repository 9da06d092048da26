"""The contract of a store driver: an ordered map of keys to bytes with one global revision, as etcd v3 has it.

Ordering and atomicity
    Every transaction that writes gets the next revision, one higher than the last; all its writes share it.
    A transaction is atomic, and transactions are serialisable. A store that was never written is at revision 1.
    Reads see only what was acknowledged, and all of it.
Durability
    `transact` returns only when its writes would survive a power loss (as far as the driver's capabilities say
    `durable`). Nothing that was acknowledged is lost; nothing unacknowledged is seen half.
Watching
    A watch delivers every revision of its range, in order, none twice, none skipped, each as one batch with all the
    changes of that revision. It sees a revision no later than the `transact` that made it returns. Asked for a
    revision that was compacted, it raises `Compacted`. A watch that falls further behind than the driver's bound
    is ended with `WatchOverrun`; others feel nothing. A watch begins when `watch` is called, not when it is first
    read; it ends when it is let go of, or when the store is closed.
Leases
    The keys put with a lease are deleted, all in one revision of their own, once the lease's time is over. A key that
    is put again belongs to the lease that it was put with last, or to none.
Cancellation
    A cancelled `transact` may or may not have been carried out; a cancelled read or watch has no effect.
One owner
    A second process that opens the same data sees every revision in order, or `open` raises `StoreBusy`.

The suite that holds drivers to this is `kube_core.testing.store.StoreContract`.
"""

from __future__ import annotations

import abc
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

import attrs

from kube_core._kit.clock import Clock
from kube_core.abc.failures import DriverFailure

__all__ = [
    "Compacted", "Compare", "Delete", "Entry", "FutureRevision", "KeyRange", "Operation", "Put", "Range", "Revision",
    "Store", "StoreBusy", "StoreCapabilities", "StoreCorrupt", "StoreError", "Transaction", "TransactionResult",
    "WatchBatch", "WatchOverrun", "Written",
]  # fmt: skip

Revision = int


class StoreError(DriverFailure):
    """Anything that a store cannot do; the message is one clear line for a person."""


class Compacted(StoreError):
    """The revision asked for is no longer kept. `oldest` is the oldest that is."""

    def __init__(self, revision: Revision, oldest: Revision) -> None:
        super().__init__(f"revision {revision} was compacted; the oldest kept is {oldest}")
        self.revision = revision
        self.oldest = oldest


class FutureRevision(StoreError):
    """The revision asked for has not happened yet."""


class StoreBusy(StoreError):
    """Another process owns the data."""


class StoreCorrupt(StoreError):
    """The data cannot be read back as it was written."""


class WatchOverrun(StoreError):
    """A watcher fell too far behind and was ended."""


@attrs.frozen(slots=True)
class Entry:
    """A key as it stands at some revision."""

    key: str
    value: bytes
    create_revision: Revision
    mod_revision: Revision
    #: 1 at creation, one more at each write.
    version: int
    lease: int = 0


@attrs.frozen(slots=True)
class KeyRange:
    """Keys from `start` up to, and without, `end`, in the order of their code points.

    `KeyRange.prefix("/registry/pods/")` is everything below it.
    """

    start: str
    end: str

    @classmethod
    def prefix(cls, prefix: str) -> KeyRange:
        """Every key that begins with `prefix` (which ends in a character below U+10FFFF)."""
        return cls(prefix, prefix[:-1] + chr(ord(prefix[-1]) + 1))

    @classmethod
    def single(cls, key: str) -> KeyRange:
        return cls(key, key + "\0")

    def __contains__(self, key: str) -> bool:
        return self.start <= key < self.end


@attrs.frozen(slots=True)
class Range:
    """The answer to `Store.range`: at most `limit` entries in key order, as they stood at `revision`."""

    entries: Sequence[Entry]
    #: The store's revision when the answer was made (not the revision that was asked for).
    revision: Revision
    #: How many keys of the range there are in all, beyond the limit too.
    count: int
    more: bool


@attrs.frozen(slots=True)
class Compare:
    """Holds when the key's `mod_revision` is exactly this; 0 means that the key does not exist."""

    key: str
    mod_revision: Revision


@attrs.frozen(slots=True)
class Put:
    key: str
    value: bytes
    lease: int = 0


@attrs.frozen(slots=True)
class Delete:
    """Deleting a key that does not exist does nothing."""

    key: str


Operation = Put | Delete


@attrs.frozen(slots=True)
class Transaction:
    """When every comparison holds `operations` are carried out, otherwise none. A key may occur once in them."""

    compares: Sequence[Compare] = ()
    operations: Sequence[Operation] = ()


@attrs.frozen(slots=True)
class Written:
    """One change of a watched range. `entry` is None for a deletion; `previous` is None for a creation."""

    key: str
    entry: Entry | None
    previous: Entry | None


@attrs.frozen(slots=True)
class TransactionResult:
    """`revision` is the one that was written, or the store's present one where nothing was.

    `current` holds, for a transaction that failed, the entries of the compared keys as they stood (None: absent).
    """

    succeeded: bool
    revision: Revision
    written: Sequence[Written] = ()
    current: dict[str, Entry | None] = attrs.field(factory=dict)


@attrs.frozen(slots=True)
class WatchBatch:
    """All the changes of one revision in the watched range, in key order."""

    revision: Revision
    changes: Sequence[Written]


@attrs.frozen
class StoreCapabilities:
    durable: bool
    """Acknowledged writes survive a power loss."""
    snapshot: bool = False
    """`fork` makes an independent store with the same content, cheaply."""
    shared: bool = False
    """Several processes may have the data open at once."""


class Store(abc.ABC):
    """One open store. Made by a driver's class with the parsed URL's options; `open` before use, `close` after."""

    capabilities: ClassVar[StoreCapabilities]
    #: Keys of values that would be written otherwise today; only a store that seals them has any.
    stale: Collection[str] = ()
    #: What is to be asked besides the store itself when a server tells of its health, by name: what is wrong, or None.
    checks: Mapping[str, Callable[[], str | None]] = MappingProxyType({})

    def __init__(self, *, clock: Clock, url: str = "") -> None:
        self.clock = clock
        self.url = url

    @abc.abstractmethod
    async def open(self) -> None:
        """Take the data. Raises `StoreBusy`, `StoreCorrupt`, or `StoreError` where it cannot be read or written."""

    @abc.abstractmethod
    async def close(self) -> None:
        """Let go of the data; ends every watch. Closing twice does nothing."""

    @property
    @abc.abstractmethod
    def revision(self) -> Revision:
        """The last revision that was acknowledged (for a shared store: that this process knows of)."""

    @property
    @abc.abstractmethod
    def compacted(self) -> Revision:
        """The oldest revision that can still be read or watched from; 1 when nothing was compacted."""

    @abc.abstractmethod
    async def get(self, key: str, *, revision: Revision = 0) -> Entry | None:
        """The entry, now or as of a revision. Raises `Compacted`, `FutureRevision`."""

    @abc.abstractmethod
    async def range(self, keys: KeyRange, *, revision: Revision = 0, limit: int = 0) -> Range:
        """The entries of a range in key order, now or as of a revision. Raises `Compacted`, `FutureRevision`."""

    @abc.abstractmethod
    async def transact(self, transaction: Transaction) -> TransactionResult:
        """Carry out a transaction. Raises `StoreError` when it could not be made durable; then it did not happen."""

    @abc.abstractmethod
    def watch(self, keys: KeyRange, *, after: Revision) -> AsyncIterator[WatchBatch]:
        """Every change to the range in revisions above `after`, without end. Raises `Compacted`, `WatchOverrun`."""

    @abc.abstractmethod
    async def compact(self, revision: Revision) -> None:
        """Forget what was superseded at or before `revision`: reads and watches below it raise `Compacted`."""

    @abc.abstractmethod
    async def grant_lease(self, seconds: float) -> int:
        """A new lease; its keys go when `seconds` have passed without `keep_alive`. Survives a restart."""

    @abc.abstractmethod
    async def keep_alive(self, lease: int) -> None:
        """Give a lease its full time again. Raises `StoreError` when it is over."""

    @abc.abstractmethod
    async def revoke_lease(self, lease: int) -> None:
        """End a lease now; its keys are deleted. An unknown lease does nothing."""

    @property
    def failure(self) -> StoreError | None:
        """Why this store takes no more writes until it is opened anew; None while it takes them."""
        return None

    async def fork(self, *, clock: Clock | None = None) -> Store:
        """An open, independent store of the same content and past, where `capabilities.snapshot` says so.

        `clock`: the new store's, where it is to have one of its own; leases keep the time that remains of them.
        """
        raise StoreError(f"the {type(self).__name__} store cannot be forked")
