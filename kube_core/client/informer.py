"""Informers: a local, frozen copy of a resource, kept by a reflector, shared by everyone in the program.

There is one informer for each resource (and selector) however many ask for it. Only the reflector writes its cache.
Handlers are called in the event loop, in the order of the events, and must not block; they get the object before and
after each change. A handler added late first gets everything there is.

`Informers` owns the reflectors' tasks: what was asked for before it is entered starts when it is, what is asked for
later starts at once, and leaving it ends them all. Nothing here decides when to act on a change; that is
`kube_core.control`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

import attrs

from kube_core._kit.clock import Clock, SystemClock
from kube_core._kit.logs import get_logger
from kube_core._kit.random import Random
from kube_core.abc.transport import WatchEvent
from kube_core.api.types import ResourceType
from kube_core.client.cache import OWNER_INDEX, Cache, Change, IndexFunction
from kube_core.client.client import ApiClient
from kube_core.client.pages import Listing
from kube_core.client.reflector import Reflector
from kube_core.meta.documents import Document, Key

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

__all__ = ["OWNER_INDEX", "ChangeHandler", "Informer", "Informers", "InformersImage", "Lister"]

ChangeHandler = Callable[[Document | None, Document | None], None]
#: What informers held, by what they select, each with the resource version that it had come to.
InformersImage = Mapping[object, tuple[Cache, str]]


class Lister:
    """Reads from an informer's cache. What it returns is frozen, and a list of the caller's own."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def __len__(self) -> int:
        return len(self._cache)

    def get(self, key: Key) -> Document | None:
        return self._cache.get(key)

    def list(self, namespace: str = "", labels: dict[str, str] | None = None) -> Sequence[Document]:
        """All objects of one namespace, or of all (""), that carry every one of `labels`."""
        return self._cache.list(namespace, labels)

    def by_index(self, index: str, value: str) -> Sequence[Document]:
        """Objects for which the index function `index` gave `value`. Raises KeyError for an unknown index."""
        return self._cache.by_index(index, value)

    def owned_by(self, uid: str) -> Sequence[Document]:
        """Objects with an owner reference to this uid."""
        return self._cache.by_index(OWNER_INDEX, uid)


class Informer:
    """One resource, kept up to date. Made by `Informers.informer`."""

    def __init__(
        self,
        source: _Selection,
        *,
        clock: Clock,
        random: Random,
        log: FilteringBoundLogger,
        begin: tuple[Cache, str] | None = None,
    ) -> None:
        """`begin`: what to hold at first, and its resource version; otherwise the server is asked for a list."""
        cache, resource_version = begin or (Cache(), "")
        self.resource = source.resource
        self._cache = cache
        self.lister = Lister(self._cache)
        self._handlers: list[ChangeHandler] = []
        self._listed = asyncio.Event()
        self._log = log
        self._reflector = Reflector(
            source=source,
            cache=self._cache,
            clock=clock,
            random=random,
            log=log,
            changed=self._changed,
            listed=self._listed.set,
            resource_version=resource_version,
        )
        #: Whether handlers were told what was there at the beginning.
        self._told = not resource_version

    def add_handler(self, handler: ChangeHandler) -> None:
        """Call `handler(before, after)` for what there is, as created, and then for every change."""
        self._handlers.append(handler)
        if self._told:
            for document in self._cache.list():
                self._call(handler, (None, document))

    def remove_handler(self, handler: ChangeHandler) -> None:
        """Call it no more. An unknown handler does nothing."""
        if handler in self._handlers:
            self._handlers.remove(handler)

    @property
    def has_handlers(self) -> bool:
        """Whether anyone is told of changes."""
        return bool(self._handlers)

    def add_index(self, name: str, function: IndexFunction) -> None:
        """Index objects by the values that `function` gives. The index `owner` (uids of owners) is always there."""
        self._cache.add_index(name, function)

    async def synced(self) -> None:
        """Return once the first list is in the cache and every handler has seen it."""
        await self._listed.wait()

    @property
    def is_synced(self) -> bool:
        return self._listed.is_set()

    async def answered(self) -> None:
        """Return once there is a list, or the server has answered that it has no such resource."""
        await self._reflector.answered.wait()

    @property
    def is_unserved(self) -> bool:
        """Whether the server last answered that it has no such resource. It is asked again from time to time."""
        return self._reflector.unserved

    def retry(self) -> None:
        """Ask at once for a resource that was not served: it is now."""
        self._reflector.retry()

    @property
    def resource_version(self) -> str:
        """The last resource version that the cache has seen; "" before the first list."""
        return self._reflector.resource_version

    async def run(self) -> None:
        """The reflector's loop, until cancelled. `Informers` calls it."""
        if not self._told:
            self._told = True
            for document in self._cache.list():
                self._changed((None, document))
            self._reflector.answered.set()
            self._listed.set()
        await self._reflector.run()

    def _changed(self, change: Change) -> None:
        for handler in tuple(self._handlers):
            self._call(handler, change)

    def _call(self, handler: ChangeHandler, change: Change) -> None:
        try:
            handler(*change)
        except Exception:
            self._log.exception("a handler failed", handler=getattr(handler, "__qualname__", repr(handler)))


class Informers:
    """The informers of one program. An async context manager: leaving it stops every reflector."""

    def __init__(
        self,
        client: ApiClient,
        *,
        clock: Clock | None = None,
        random: Random | None = None,
        log: FilteringBoundLogger | None = None,
        image: InformersImage | None = None,
    ) -> None:
        """`image`: what the informers of another cluster held, of whose state this server's is a copy."""
        self.client = client
        self._image = image or {}
        self._clock = clock or SystemClock()
        self._random = random or Random()
        self._log: FilteringBoundLogger = log or get_logger("kube_core.client")
        self._informers: dict[_Selection, Informer] = {}
        self._following: Counter[ResourceType] = Counter()
        self._tasks: dict[_Selection, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None

    def informer(
        self,
        resource: ResourceType,
        *,
        field_selector: str = "",
        label_selector: str = "",
        namespace: str = "",
        metadata_only: bool = False,
    ) -> Informer:
        """The informer for this resource and selection; made and started on first use.

        With `metadata_only` the caller looks at metadata alone: it shares the informer of whole objects where there
        is one, and otherwise the server is asked for no more than metadata, where that saves anything.
        """
        selection = _Selection(self.client, resource, namespace, field_selector, label_selector)
        found = self._informers.get(selection)
        if found is None and metadata_only and not self.client.transport.shares_documents:
            selection = attrs.evolve(selection, metadata_only=True)
            found = self._informers.get(selection)
        if found is None:
            held = self._image.get(selection.identity)
            found = self._informers[selection] = Informer(
                selection,
                clock=self._clock,
                random=self._random,
                log=self._log.bind(resource=str(selection)),
                begin=(held[0].copy(), held[1]) if held is not None else None,
            )
            if self._group is not None:
                self._start(selection)
            self._following[resource] += 1
        return found

    def lister(self, resource: ResourceType) -> Lister:
        return self.informer(resource).lister

    def following(self, resource: ResourceType) -> int:
        """How many of the informers are of this resource: one, unless some select."""
        return self._following[resource]

    async def drop(self, informer: Informer) -> None:
        """Stop an informer and forget it (its resource is served no more)."""
        for selection, known in list(self._informers.items()):
            if known is informer:
                del self._informers[selection]
                self._following[selection.resource] -= 1
                task = self._tasks.pop(selection, None)
                if task is not None:
                    task.cancel()
                    await asyncio.wait([task])

    def image(self) -> InformersImage:
        """What those that are synced hold now."""
        synced = ((selection, informer) for selection, informer in self._informers.items() if informer.is_synced)
        return {
            selection.identity: (informer._cache.copy(), informer.resource_version) for selection, informer in synced
        }

    async def synced(self) -> None:
        """Return once every informer there is has its first list."""
        for informer in list(self._informers.values()):
            await informer.synced()

    @property
    def unsynced(self) -> tuple[str, ...]:
        """What is still being waited for, for messages."""
        return tuple(str(selection) for selection, known in self._informers.items() if not known.is_synced)

    async def __aenter__(self) -> Self:
        self._group = await asyncio.TaskGroup().__aenter__()
        for selection in self._informers:
            self._start(selection)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        group, self._group = self._group, None
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()
        self._informers.clear()
        self._following.clear()
        if group is not None:
            await group.__aexit__(None, None, None)

    def _start(self, selection: _Selection) -> None:
        assert self._group is not None
        task = self._group.create_task(self._informers[selection].run(), name=f"reflector {selection}")
        self._tasks[selection] = task


@attrs.frozen
class _Selection:
    """What one informer reads; also its identity among the informers of a program."""

    client: ApiClient = attrs.field(eq=False)
    resource: ResourceType
    namespace: str = ""
    field_selector: str = ""
    label_selector: str = ""
    metadata_only: bool = False

    @property
    def identity(self) -> object:
        """The same for the informers of any client."""
        return self.resource, self.namespace, self.field_selector, self.label_selector, self.metadata_only

    def __str__(self) -> str:
        selectors = " ".join(part for part in (self.namespace, self.field_selector, self.label_selector) if part)
        return f"{self.resource.group_resource} {selectors}".rstrip()

    async def list(self) -> Listing[Document]:
        return await self.client.list(
            self.resource,
            self.namespace,
            field_selector=self.field_selector,
            label_selector=self.label_selector,
            metadata_only=self.metadata_only,
        )

    def watch(self, resource_version: str) -> AsyncIterator[WatchEvent]:
        return self.client.watch_once(
            self.resource,
            self.namespace,
            field_selector=self.field_selector,
            label_selector=self.label_selector,
            resource_version=resource_version,
            metadata_only=self.metadata_only,
        )
