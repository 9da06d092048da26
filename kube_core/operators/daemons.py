"""Daemons: a task for each object and daemon handler, as long as the object is there.

A daemon that returned is not started again for the same object; one that raised is, after its back-off, until it has
failed for good. Told to end, it has its `stop_timeout`, and is then cancelled. The tasks belong to this, and none
outlives `stop`.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from kube_core._kit.clock import turn
from kube_core.api.models import from_document
from kube_core.meta.documents import Document, Key, uid_of
from kube_core.operators.handler_context import HandlerContext, Occasion, Stop
from kube_core.operators.handlers import Handler, PermanentError, TemporaryError

if TYPE_CHECKING:
    from kube_core.operators.workplace import Workplace

__all__ = ["Daemons"]

#: Turns of the loop in which a daemon that only waited for its end comes to it.
_LAST_TURNS = 10


@attrs.define
class _Daemon:
    uid: str
    stop: Stop
    task: asyncio.Task[None] | None = None


class Daemons:
    """The daemons of one controller. `ended(key)` is called when the last one of an object has ended."""

    def __init__(
        self, workplace: Workplace[Any], handlers: Sequence[Handler[Any]], *, ended: Callable[[Key], None]
    ) -> None:
        self._workplace = workplace
        self._handlers = handlers
        self._ended = ended
        self._running: dict[tuple[Key, str], _Daemon] = {}
        #: Those that returned, or failed for good: of which object.
        self._done: dict[tuple[Key, str], str] = {}

    def ensure(self, key: Key, document: Document) -> None:
        """Let every daemon of an object run that has not done its work."""
        uid = uid_of(document)
        for handler in self._handlers:
            identity = key, handler.id
            if identity in self._running or self._done.get(identity) == uid:
                continue
            if handler.when is not None and not handler.when(from_document(handler.kind, document)):
                continue
            daemon = self._running[identity] = _Daemon(uid, Stop(self._workplace.clock))
            daemon.task = asyncio.create_task(
                self._run(handler, key, document, daemon), name=f"daemon {handler.id} of {key}"
            )

    def any_of(self, key: Key) -> bool:
        """Whether a daemon of this object still runs."""
        return any(owner == key for owner, _ in self._running)

    def tell_to_end(self, key: Key) -> None:
        """Let the daemons of an object end. Returns at once."""
        for handler in self._handlers:
            self._done.pop((key, handler.id), None)
            daemon = self._running.get((key, handler.id))
            if daemon is not None:
                self._tell(handler, daemon)

    async def stop(self, grace: float) -> None:
        """End all daemons: told at once, they have their `stop_timeout`, and no more than `grace` seconds of it."""
        by_id = {handler.id: handler for handler in self._handlers}
        tasks = [daemon.task for daemon in self._running.values() if daemon.task is not None]
        for (_, name), daemon in list(self._running.items()):
            self._tell(by_id[name], daemon)
        for _ in range(_LAST_TURNS):
            await turn()
        try:
            if grace > 0 and any(not task.done() for task in tasks):
                async with self._workplace.clock.timeout(grace):
                    await asyncio.wait(tasks)
        except TimeoutError:
            pass
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _tell(self, handler: Handler[Any], daemon: _Daemon) -> None:
        if daemon.stop:
            return
        daemon.stop.set()
        task = daemon.task
        if task is not None:
            timer = self._workplace.clock.call_later(handler.stop_timeout, functools.partial(_cancel, task))
            task.add_done_callback(lambda _: timer.cancel())

    async def _run(self, handler: Handler[Any], key: Key, document: Document, daemon: _Daemon) -> None:
        clock, trying, calls, started = self._workplace.clock, handler.trying, 0, self._workplace.clock.now()
        try:
            while not daemon.stop:
                occasion = Occasion("daemon", retry=calls, started=started, stopped=daemon.stop)
                ctx: HandlerContext[Any] = HandlerContext(self._workplace, key, document, occasion)
                calls += 1
                try:
                    await handler.function(ctx)
                    await ctx.flush()
                    break
                except PermanentError as error:
                    ctx.log.warning("daemon failed for good", handler=handler.id, error=str(error))
                    break
                except Exception as error:
                    delay = error.delay if isinstance(error, TemporaryError) else trying.backoff
                    too_long = trying.timeout is not None and clock.now() + delay - started >= trying.timeout
                    if too_long or (trying.retries is not None and calls >= trying.retries):
                        ctx.log.error("daemon failed for good", handler=handler.id, exc_info=error)
                        break
                    ctx.log.warning("daemon will be started again", handler=handler.id, error=str(error), delay=delay)
                    await daemon.stop.wait(delay)
        finally:
            del self._running[key, handler.id]
            if not daemon.stop:
                self._done[key, handler.id] = daemon.uid
            if not self.any_of(key):
                self._ended(key)


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
