"""What a handler is given beyond what a reconciler is: what has changed, how often it was called, when to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from kube_core.api.models import from_document
from kube_core.meta.documents import Document, Key
from kube_core.operators.context import Context
from kube_core.operators.progress import DiffItem, diff, essence_of, value_at

if TYPE_CHECKING:
    from kube_core._kit.clock import Clock
    from kube_core.operators.workplace import Workplace

__all__ = ["HandlerContext", "Occasion", "Stop"]

T = TypeVar("T")


class Stop:
    """Tells a daemon to end."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._told = asyncio.Event()

    def set(self) -> None:
        self._told.set()

    def __bool__(self) -> bool:
        return self._told.is_set()

    async def wait(self, seconds: float | None = None) -> bool:
        """Return True once the daemon is to end, or False after `seconds`."""
        try:
            async with self._clock.timeout(seconds):
                await self._told.wait()
        except TimeoutError:
            return False
        return True


@attrs.frozen
class Occasion:
    """Why a handler is called, and for the how many-th time."""

    cause: str
    handled: Mapping[str, Any] | None = None
    field: tuple[str, ...] = ()
    retry: int = 0
    started: float = 0.0
    stopped: Stop | None = None


class HandlerContext(Context[T]):
    """One call of a handler."""

    __slots__ = ("_occasion",)

    def __init__(self, workplace: Workplace[T], key: Key, document: Document, occasion: Occasion) -> None:
        super().__init__(workplace, key, document)
        self._occasion = occasion

    @property
    def document(self) -> Document:
        """The object as plain JSON values, frozen; a daemon sees what it has become meanwhile."""
        if self._occasion.stopped is not None:
            latest = self._workplace.document(self.key)
            if latest is not None and self._document is not None and _same(latest, self._document):
                self._document = latest
        return super().document

    @property
    def cause(self) -> str:
        """`create`, `update`, `delete`, `resume`, `timer` or `daemon`."""
        return self._occasion.cause

    @property
    def old(self) -> T | None:
        """The object as it was last handled: labels, annotations and all but metadata and status. None: never."""
        handled = self._occasion.handled
        if handled is None:
            return None
        metadata = {**handled.get("metadata", {}), "name": self.key.name, "namespace": self.key.namespace}
        return from_document(self._workplace.kind, {**handled, "metadata": metadata})

    @property
    def before(self) -> Any:
        """The field's value as it was last handled, as JSON; for a handler without a field, of all that counts."""
        return value_at(self._occasion.handled, self._occasion.field)

    @property
    def after(self) -> Any:
        """The field's value now."""
        return value_at(essence_of(self.document), self._occasion.field)

    @property
    def diff(self) -> Sequence[DiffItem]:
        """What has changed since; below the field only, for a handler of one."""
        return tuple(diff(self.before or {} if not self._occasion.field else self.before, self.after))

    @property
    def retry(self) -> int:
        """How often it was called for this before."""
        return self._occasion.retry

    @property
    def runtime(self) -> float:
        """Seconds since it was first called for this."""
        return max(self.clock.now() - self._occasion.started, 0.0)

    @property
    def stopped(self) -> Stop:
        """For a daemon: when to end. Raises LookupError for any other handler."""
        if self._occasion.stopped is None:
            raise LookupError("only daemons are told to stop")
        return self._occasion.stopped


def _same(one: Document, other: Document) -> bool:
    return bool(one["metadata"].get("uid") == other["metadata"].get("uid"))
