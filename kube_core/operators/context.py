"""What a reconciler is given: the key, the object as the program knows it, and what to do about it.

A context belongs to one call. `object` is never an event: it is what the cache holds now, frozen, read once. All that
is written goes through `client`, as the controller, under its field manager.

What is said of the status is written once, at the end of the call, whether it went well or not; or where the saying is
awaited, there and then. Nothing is written where nothing would change.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from kube_core.api.models import from_document
from kube_core.api.types import ResourceType
from kube_core.control.controller import resource_named
from kube_core.kinds.schemas import KindError
from kube_core.meta.documents import (
    Document,
    Key,
    annotations_of,
    is_deleting,
    key_of,
    labels_of,
    metadata_of,
    uid_of,
)
from kube_core.meta.status import Conflict, NotFound
from kube_core.operators.children import applied_document, as_given
from kube_core.operators.statuses import ConditionChange, status_patch

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from kube_core._kit.clock import Clock
    from kube_core._kit.random import Random
    from kube_core.api.generated.models.meta import ObjectMeta
    from kube_core.client.client import ApiClient
    from kube_core.operators.listers import ObjectLister
    from kube_core.operators.workplace import Workplace

__all__ = ["Context"]

T = TypeVar("T")
C = TypeVar("C")

_STATUS_TRIES = 5


class _Staged:
    """Something that will be written at the end of the call, or now, where it is awaited."""

    __slots__ = ("_write",)

    def __init__(self, write: Callable[[], Awaitable[None]]) -> None:
        self._write = write

    def __await__(self) -> Generator[Any, None, None]:
        yield from self._write().__await__()


class Context(Generic[T]):
    """One call of a reconciler."""

    __slots__ = (
        "_conditions",
        "_document",
        "_log",
        "_reconcile_id",
        "_requeue_after",
        "_status",
        "_workplace",
        "applied",
        "key",
    )

    def __init__(self, workplace: Workplace[T], key: Key, document: Document | None) -> None:
        self._workplace = workplace
        self._document = document
        self._log: FilteringBoundLogger | None = None
        self._reconcile_id = ""
        self._status: dict[str, Any] = {}
        self._conditions: dict[str, ConditionChange] = {}
        self._requeue_after: float | None = None
        self.key = key
        #: What was applied in this call.
        self.applied: set[tuple[ResourceType, Key]] = set()

    # -- the object --------------------------------------------------------------------------------------------------

    @property
    def object(self) -> T:
        """The object, frozen. Raises LookupError where there is none (`on_absent`), `ConversionError` for a misfit."""
        return from_document(self._workplace.kind, self.document)

    @property
    def document(self) -> Document:
        """The object as plain JSON values, frozen. Raises LookupError where there is none."""
        if self._document is None:
            raise LookupError(f"there is no {self._workplace.resource.kind} {self.key}")
        return self._document

    @property
    def exists(self) -> bool:
        return self._document is not None

    @property
    def deleting(self) -> bool:
        """Whether the object's deletion has been asked for."""
        return self._document is not None and is_deleting(self._document)

    @property
    def metadata(self) -> ObjectMeta:
        """The object's metadata, also of a class that has no field for it."""
        from kube_core.api.generated.models.meta import ObjectMeta

        return from_document(ObjectMeta, metadata_of(self.document))

    @property
    def name(self) -> str:
        return self.key.name

    @property
    def namespace(self) -> str:
        """The object's namespace; "" for a cluster-scoped one."""
        return self.key.namespace

    @property
    def uid(self) -> str:
        return uid_of(self.document)

    @property
    def labels(self) -> Mapping[str, str]:
        return labels_of(self.document)

    @property
    def annotations(self) -> Mapping[str, str]:
        return annotations_of(self.document)

    # -- what there is -----------------------------------------------------------------------------------------------

    @property
    def client(self) -> ApiClient:
        """Asks as the controller, and writes under its field manager."""
        return self._workplace.client

    @property
    def clock(self) -> Clock:
        return self._workplace.clock

    @property
    def random(self) -> Random:
        return self._workplace.random

    @property
    def reconcile_id(self) -> str:
        """What tells this call from others, in logs and traces."""
        if not self._reconcile_id:
            self._reconcile_id = self._workplace.random.uid()
        return self._reconcile_id

    @property
    def log(self) -> FilteringBoundLogger:
        """Lines carry the controller, the key and the call's id."""
        if self._log is None:
            self._log = self._workplace.log.bind(key=str(self.key), reconcile_id=self.reconcile_id)
        return self._log

    def lister(self, kind: type[C]) -> ObjectLister[C]:
        """What the program knows of a kind that the controller watches, owns or `reads`. Raises LookupError."""
        return self._workplace.lister(kind, self.key.namespace)

    # -- what is done ------------------------------------------------------------------------------------------------

    @overload
    async def apply(self, child: C, *, owned: bool = True, force: bool = True) -> C: ...

    @overload
    async def apply(
        self, child: Document, *, resource: ResourceType, owned: bool = True, force: bool = True
    ) -> Document: ...

    async def apply(
        self, child: Any, *, resource: ResourceType | None = None, owned: bool = True, force: bool = True
    ) -> Any:
        """Server-side apply of an object, under the controller's field manager; the object as it is then.

        Name and namespace are those of the reconciled object, where the child has none. `owned`: with a controller
        reference to it, so that it goes when that goes. `force`: take over fields that somebody else has set; without
        it that is a `Conflict`. A document needs its `resource`.

        Nothing is sent where the cache shows the child as it was answered last time (kinds in `owns` and `reads`).
        Raises ValueError for a child that cannot be owned.
        """
        resource = resource or resource_named(type(child))
        wanted = applied_document(child, resource, self.document, owned=owned)
        key = key_of(wanted)
        self.applied.add((resource, key))
        cached = self._workplace.cached(resource, key)
        answer = await self._workplace.children.apply(self.key, resource, wanted, cached, force=force)
        return as_given(child, answer)

    def update_status(self, **changes: Any) -> Awaitable[None]:
        """Let fields of the status (by their names in Python) have these values; None takes one away.

        Written at the end of the call, or at once where it is awaited.
        """
        self._status.update(changes)
        return _Staged(self.flush)

    def set_condition(self, condition: str, status: bool | str, reason: str, message: str = "") -> Awaitable[None]:
        """Let a condition have a status (True, False, or "Unknown"), a reason in CamelCase and a message for people.

        `lastTransitionTime` moves only when the status changes. Written as `update_status` does.
        """
        said = status if isinstance(status, str) else str(status)
        if said not in ("True", "False", "Unknown"):
            raise ValueError(f"a condition is True, False or Unknown, not {status!r}")
        self._conditions[condition] = ConditionChange(condition, said, reason, message)
        return _Staged(self.flush)

    def event(self, reason: str, message: str, *, warning: bool = False, regarding: Document | None = None) -> None:
        """Report something about the object (or another document) as an Event. Never blocks, and never fails."""
        record = self._workplace.events.warning if warning else self._workplace.events.normal
        record(self.document if regarding is None else regarding, reason, message)

    def requeue(self, after: float) -> None:
        """Come back in `after` seconds at the latest, whatever the call answers."""
        if self._requeue_after is None or after < self._requeue_after:
            self._requeue_after = after

    @property
    def requeue_after(self) -> float | None:
        """The earliest of what was asked for with `requeue`."""
        return self._requeue_after

    async def patch(self, patch: Mapping[str, Any]) -> None:
        """A merge patch of the object itself, which is then what the patch has made of it."""
        self._document = await self.client.patch(self._workplace.resource, self.key.name, patch, self.key.namespace)

    async def flush(self) -> None:
        """Write what was said of the status. Raises `KindError` where the kind has none."""
        if not self._status and not self._conditions:
            return
        changes, conditions = self._status, tuple(self._conditions.values())
        self._status, self._conditions = {}, {}
        resource, key = self._workplace.resource, self.key
        for attempt in range(_STATUS_TRIES):
            patch = status_patch(self.document, changes, conditions, now=self.clock.now())
            if patch is None:
                return
            try:
                self._document = await self.client.patch(resource, key.name, patch, key.namespace, subresource="status")
            except Conflict:
                if attempt == _STATUS_TRIES - 1:
                    raise
                # Somebody was quicker, or the cache was behind.
                fresh = await self.client.get(resource, key.name, key.namespace)
                if uid_of(fresh) != self.uid:
                    return
                self._document = fresh
            except NotFound as error:
                # Where the object is gone, reading it says so, and that is nobody's mistake.
                await self.client.get(resource, key.name, key.namespace)
                raise KindError(
                    f"{resource.kind} has no status that could be written: its kind declares none"
                ) from error
            else:
                return
