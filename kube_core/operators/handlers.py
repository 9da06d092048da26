"""Handlers in kopf's manner: functions for what happened to an object, declared one by one.

    @kube.on.create(Website)
    async def created(ctx: kube.HandlerContext[Website]) -> None: ...

    @kube.on.field(Website, "spec.replicas", retries=3, backoff=10)
    async def scaled(ctx): ctx.before, ctx.after

    @kube.timer(Website, interval=60)
    async def check(ctx): ...

    @kube.daemon(Website)
    async def follow(ctx):
        while not await ctx.stopped.wait(5): ...

The handlers that one module has for one kind are one controller (`handling.py`), level-based like any other: what
"happened" is the difference between the object now and what its handlers last handled, which is kept on the object. So
nothing is lost while the program does not run, changes that come faster than they are handled are handled as one, and
what a restart interrupts is taken up with the handler that was not done. There is no handler for events as such: who
wants one wants a controller.

A handler that raises `TemporaryError(delay=…)`, or anything else, is called again, `backoff` seconds later unless the
error says when; after `PermanentError`, `retries` calls or `timeout` seconds since its first call it has failed, which
is reported, and the others go on.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypedDict, TypeVar, Unpack

import attrs

from kube_core.control.controller import resource_named

if TYPE_CHECKING:
    from kube_core.operators.handler_context import HandlerContext

__all__ = ["Cause", "Handler", "PermanentError", "TemporaryError", "daemon", "on", "timer"]

T = TypeVar("T")

Cause = Literal["create", "update", "delete", "resume", "field", "timer", "daemon"]
Handle = Callable[["HandlerContext[T]"], Awaitable[Any]]

_BACKOFF_SECONDS = 60.0


class TemporaryError(Exception):
    """The handler wants to be called again, `delay` seconds from now."""

    def __init__(self, message: str = "", *, delay: float = _BACKOFF_SECONDS) -> None:
        super().__init__(message)
        self.delay = delay


class PermanentError(Exception):
    """The handler has failed for good; it is not called again for this."""


@attrs.frozen
class Trying:
    """How often, how soon and how long a handler is tried."""

    retries: int | None = None
    backoff: float = _BACKOFF_SECONDS
    timeout: float | None = None


@attrs.frozen(eq=False)
class Handler(Generic[T]):
    """One declared handler. It can be called as the function could."""

    kube_core_declares: ClassVar[str] = "handler"

    kind: type[T]
    cause: Cause
    id: str
    function: Handle[T]
    trying: Trying = Trying()
    field: tuple[str, ...] = ()
    when: Callable[[T], bool] | None = None
    interval: float = 0.0
    initial_delay: float = 0.0
    stop_timeout: float = 10.0

    def __call__(self, ctx: HandlerContext[T]) -> Awaitable[Any]:
        return self.function(ctx)

    @property
    def __module__(self) -> str:  # type: ignore[override]
        return self.function.__module__


class _Options(TypedDict, total=False):
    """What every handler takes."""

    id: str
    when: Callable[[Any], bool]
    retries: int | None
    backoff: float
    timeout: float | None


class _On:
    """`kube.on`. All take `id` (the function's name), `when(object)`, `retries`, `backoff` and `timeout`."""

    def create(self, kind: type[T], **options: Unpack[_Options]) -> Callable[[Handle[T]], Handler[T]]:
        """For an object that its handlers have not seen before."""
        return _declare(kind, "create", **options)

    def update(
        self, kind: type[T], *, field: str = "", **options: Unpack[_Options]
    ) -> Callable[[Handle[T]], Handler[T]]:
        """For an object that is not as it was last handled; with `field` (`spec.replicas`), where that differs."""
        return _declare(kind, "update", field=field, **options)

    def field(self, kind: type[T], field: str, **options: Unpack[_Options]) -> Callable[[Handle[T]], Handler[T]]:
        """For a field's first value, and each other one, on creation and on update."""
        return _declare(kind, "field", field=field, **options)

    def delete(self, kind: type[T], **options: Unpack[_Options]) -> Callable[[Handle[T]], Handler[T]]:
        """Before an object goes: a finalizer holds it until the handler is done."""
        return _declare(kind, "delete", **options)

    def resume(self, kind: type[T], **options: Unpack[_Options]) -> Callable[[Handle[T]], Handler[T]]:
        """Once for each object that was handled before this program started."""
        return _declare(kind, "resume", **options)


on = _On()


def timer(
    kind: type[T], *, interval: float, initial_delay: float = 0.0, **options: Unpack[_Options]
) -> Callable[[Handle[T]], Handler[T]]:
    """Every `interval` seconds after the last call ended, for as long as the object is there and not being deleted.

    Counted anew by each program that runs, from `initial_delay` seconds after it saw the object.
    """
    if interval <= 0:
        raise ValueError(f"an interval is longer than nothing, unlike {interval}")
    return _declare(kind, "timer", interval=interval, initial_delay=initial_delay, **options)


def daemon(
    kind: type[T], *, stop_timeout: float = 10.0, **options: Unpack[_Options]
) -> Callable[[Handle[T]], Handler[T]]:
    """A task for each object, as long as it is there and the program runs.

    It is told to end by `ctx.stopped`, and cancelled `stop_timeout` seconds later; a finalizer holds a deleted object
    until then. One that returns has done its work; one that raises is started again after its back-off.
    """
    return _declare(kind, "daemon", stop_timeout=stop_timeout, **options)


def _declare(
    kind: type[T],
    cause: Cause,
    *,
    field: str = "",
    id: str = "",
    retries: int | None = None,
    backoff: float = _BACKOFF_SECONDS,
    timeout: float | None = None,
    **more: Any,
) -> Callable[[Handle[T]], Handler[T]]:
    resource_named(kind)
    path = tuple(field.split(".")) if field else ()
    if cause == "field" and not path:
        raise ValueError("name a field, as in spec.replicas")

    def declare(function: Handle[T]) -> Handler[T]:
        if not inspect.iscoroutinefunction(function):
            raise TypeError(f"{getattr(function, '__qualname__', function)!r} is no async function")
        return Handler(kind, cause, id or function.__name__, function, Trying(retries, backoff, timeout), path, **more)

    return declare
