"""For scripts that are not asynchronous: anything of ours that is entered with `async with`, entered with `with`.

    with kube.blocking(kube.Cluster(nodes=1)) as cluster:
        cluster.client.create(resources.CONFIG_MAPS, {"metadata": {"name": "a", "namespace": "default"}})
        cluster.settled()
        for event in cluster.client.watch(resources.CONFIG_MAPS): ...

The event loop runs in a thread of its own for as long as the block does. What is called is run there, and the caller
waits: a coroutine gives its result, an asynchronous iterator is gone through with `for`, an asynchronous context is
entered with `with`. Errors are those of the call. Not for use inside a running event loop, which it would hold up.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal

__all__ = ["Blocking", "blocking"]


@contextmanager
def blocking(entered: AbstractAsyncContextManager[Any]) -> Iterator[Any]:
    """Enter `entered` in an event loop of its own; what it gives waits for whatever it is told to do."""
    options = {"use_uvloop": True} if sys.platform != "win32" else {}
    with (
        start_blocking_portal("asyncio", options) as portal,
        portal.wrap_async_context_manager(entered) as value,
    ):
        yield Blocking(value, portal)


class Blocking:
    """Stands for an object in the loop's thread: its attributes, with methods that wait."""

    def __init__(self, target: Any, portal: BlockingPortal) -> None:
        self._target = target
        self._portal = portal

    def __getattr__(self, name: str) -> Any:
        return self._shown(getattr(self._target, name))

    def __repr__(self) -> str:
        return f"Blocking({self._target!r})"

    def _shown(self, value: Any) -> Any:
        if inspect.ismethod(value) or inspect.isfunction(value):
            return self._waiting(value)
        if hasattr(value, "__anext__"):
            return self._gone_through(value)
        if hasattr(value, "__aenter__") and not _waits(value):
            return self._portal.wrap_async_context_manager(value)
        return Blocking(value, self._portal) if _waits(value) else value

    def _waiting(self, function: Callable[..., Any]) -> Callable[..., Any]:
        async def run(arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
            result = function(*arguments, **options)
            return await result if inspect.isawaitable(result) else result

        def call(*arguments: Any, **options: Any) -> Any:
            return self._shown(self._portal.call(run, arguments, options))

        return call

    def _gone_through(self, iterator: Any) -> Iterator[Any]:
        async def following() -> tuple[Any, ...]:
            try:
                return (await anext(iterator),)
            except StopAsyncIteration:
                return ()

        try:
            while found := self._portal.call(following):
                yield found[0]
        finally:
            if (close := getattr(iterator, "aclose", None)) is not None:
                self._portal.call(close)


def _waits(value: Any) -> bool:
    """Whether an object has methods that are to be waited for."""
    return any(
        inspect.iscoroutinefunction(member) or inspect.isasyncgenfunction(member)
        for cls in type(value).__mro__
        for name, member in vars(cls).items()
        if not name.startswith("_")
    )
