"""The controller behind handlers: what of an object is to be handled, by whom, and when again.

For each key, level-based like any controller:

1. The object is gone: its timers are forgotten, its daemons end.
2. It is being deleted, and our finalizer holds it: its daemons are told to end, then `delete` handlers are called, and
   when all are done the finalizer goes. Without the finalizer it is none of our business any more.
3. Otherwise it gets the finalizer, where there are `delete` handlers or daemons. If its record (`progress.py`) says
   that handlers are under way, these go on; if it was never handled, that is a creation; if its essence is not what was
   handled, an update. `resume` handlers are called once for what was handled before this program began.
4. Timers that are due are called, and daemons that are missing started.

Handlers of one object are called one after the other, in the order of their declaration, and each that is done is on
record before the next is called. So a restart repeats at most the one handler that it interrupted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from kube_core.api.models import from_document
from kube_core.control.action import Action, await_change
from kube_core.control.controller import Controller, ControllerContext, Watch, resource_named
from kube_core.meta.documents import Document, Key, finalizers_of, is_deleting, uid_of
from kube_core.meta.status import Conflict, NotFound
from kube_core.operators.daemons import Daemons
from kube_core.operators.handler_context import HandlerContext, Occasion
from kube_core.operators.handlers import Handler, PermanentError, TemporaryError
from kube_core.operators.progress import ANNOTATION_DOMAIN, Record, Tries, diff, essence_of, value_at
from kube_core.operators.reconciling import add_finalizers, remove_finalizer
from kube_core.operators.workplace import Workplace

__all__ = ["Handling"]

_LONGEST_NAME = 63


@attrs.define
class _Live:
    """What this program knows of one object, beyond its record."""

    uid: str
    #: Handlers that are still to be called because the program began.
    resuming: dict[str, Tries]
    #: For each timer, its tries and the monotonic moment of the next.
    timers: dict[str, tuple[Tries, float]] = attrs.field(factory=dict)


class Handling(Controller):
    """All handlers that one module has for one kind."""

    def __init__(self, context: ControllerContext, handlers: Sequence[Handler[Any]]) -> None:
        super().__init__(context)
        self._kind = handlers[0].kind
        self._resource = resource_named(self._kind)
        self._workplace = Workplace(self._kind, context, [self._resource])
        self._by_cause: dict[str, list[Handler[Any]]] = {}
        for handler in handlers:
            self._by_cause.setdefault(handler.cause, []).append(handler)
        name = context.name[:_LONGEST_NAME].strip("-.")
        self._annotation = f"{ANNOTATION_DOMAIN}/{name}"
        self._finalizer = f"{ANNOTATION_DOMAIN}/{name}"
        self._holds = bool(self._by_cause.keys() & {"delete", "daemon"})
        self._records = bool(self._by_cause.keys() & {"create", "update", "field", "resume"})
        self._live: dict[Key, _Live] = {}
        self._daemons = Daemons(self._workplace, self._by_cause.get("daemon", ()), ended=context.enqueue)

    def watches(self) -> Iterable[Watch]:
        yield Watch(self._resource)

    async def stop(self) -> None:
        await self._daemons.stop(self.context.grace())

    async def reconcile(self, key: Key) -> Action:
        document = self._workplace.document(key)
        if document is None or ((live := self._live.get(key)) is not None and live.uid != uid_of(document)):
            self._live.pop(key, None)
            self._daemons.tell_to_end(key)
            if document is None:
                return await_change()
        again = await (self._end(key, document) if is_deleting(document) else self._go_on(key, document))
        return await_change() if again == math.inf else Action(max(again, 0.0))

    # -- what is to be done; each answers in how many seconds there is more -------------------------------------------

    async def _end(self, key: Key, document: Document) -> float:
        self._daemons.tell_to_end(key)
        if self._finalizer not in finalizers_of(document):
            self._live.pop(key, None)
            return math.inf
        if self._daemons.any_of(key):
            return math.inf  # the last of them brings us back
        record = Record.of(document, self._annotation)
        if record.cause != "delete":
            record.begin("delete", essence_of(document))
        document, again = await self._run(key, document, record, self._by_cause.get("delete", ()))
        if again == math.inf:
            await remove_finalizer(self._context(key, document, Occasion("delete")), self._finalizer)
            self._live.pop(key, None)
        return again

    async def _go_on(self, key: Key, document: Document) -> float:
        if self._holds and self._finalizer not in finalizers_of(document):
            ctx = self._context(key, document, Occasion("create"))
            await add_finalizers(ctx, [self._finalizer])
            document = ctx.document
        record = Record.of(document, self._annotation)
        live = self._live.get(key)
        if live is None:
            before = record.handled is not None
            resuming = {each.id: Tries(self.clock.now()) for each in self._by_cause.get("resume", ()) if before}
            live = self._live[key] = _Live(uid_of(document), resuming)
        again = math.inf
        if self._records:
            document, again = await self._handle_changes(key, document, record)
        for handler in self._by_cause.get("resume", ()):
            tries = live.resuming.get(handler.id)
            if tries is not None:
                again = min(again, await self._try(handler, tries, key, document, Occasion("resume", record.handled)))
        for handler in self._by_cause.get("timer", ()):
            again = min(again, await self._tick(handler, live, key, document))
        self._daemons.ensure(key, document)
        return again

    async def _handle_changes(self, key: Key, document: Document, record: Record) -> tuple[Document, float]:
        essence = essence_of(document)
        if not record.cause or record.cause == "delete":
            if record.handled is None:
                record.begin("create", essence)
            elif record.handled != essence:
                record.begin("update", essence)
            else:
                return document, math.inf
        handlers = [each for each in self._changing(record.cause) if _concerns(each, record)]
        if record.cause == "update" and not handlers:
            return document, math.inf  # what nobody handles need not be on record
        document, again = await self._run(key, document, record, handlers)
        if again == math.inf:
            record.end()
            document = await self._save(key, document, record)
        return document, again

    def _changing(self, cause: str) -> list[Handler[Any]]:
        return [*self._by_cause.get(cause, ()), *self._by_cause.get("field", ())]

    async def _run(
        self, key: Key, document: Document, record: Record, handlers: Sequence[Handler[Any]]
    ) -> tuple[Document, float]:
        """Call who is not done; the object then, and when there is more to do."""
        again = math.inf
        left = [each for each in handlers if not ((tries := record.handlers.get(each.id)) and tries.done)]
        for position, handler in enumerate(left):
            tries = record.handlers.setdefault(handler.id, Tries(self.clock.now()))
            calls = tries.calls
            occasion = Occasion(record.cause, record.handled, handler.field)
            again = min(again, await self._try(handler, tries, key, document, occasion))
            last = position == len(left) - 1
            # The last one's success goes on record with the whole.
            if tries.calls != calls and not (last and again == math.inf):
                document = await self._save(key, document, record)
        return document, again

    async def _try(
        self, handler: Handler[Any], tries: Tries, key: Key, document: Document, occasion: Occasion
    ) -> float:
        """Call a handler, if it is not done and its time has come; in how many seconds it is to be called again."""
        now = self.clock.now()
        if tries.done:
            return math.inf
        if tries.again_at is not None and tries.again_at > now:
            return tries.again_at - now
        if handler.when is not None and not handler.when(from_document(self._kind, document)):
            tries.done = True
            return math.inf
        occasion = attrs.evolve(occasion, retry=tries.calls, started=tries.started)
        ctx = self._context(key, document, occasion)
        tries.calls += 1
        trying = handler.trying
        try:
            await handler.function(ctx)
            await ctx.flush()
        except PermanentError as error:
            return self._give_up(ctx, handler, tries, error)
        except Conflict as error:
            delay, failure = min(trying.backoff, 0.005), error
        except TemporaryError as error:
            delay, failure = error.delay, error  # type: ignore[assignment]
        except Exception as error:
            delay, failure = trying.backoff, error  # type: ignore[assignment]
            if tries.calls == 1:
                ctx.log.error("handler failed", handler=handler.id, exc_info=error)
        else:
            tries.done = True
            return math.inf
        now = self.clock.now()
        too_often = trying.retries is not None and tries.calls >= trying.retries
        too_long = trying.timeout is not None and now + delay - tries.started >= trying.timeout
        if too_often or too_long:
            return self._give_up(ctx, handler, tries, failure)
        ctx.log.info("handler will be tried again", handler=handler.id, error=str(failure), delay=delay)
        tries.again_at = now + delay
        return delay

    def _give_up(self, ctx: HandlerContext[Any], handler: Handler[Any], tries: Tries, error: Exception) -> float:
        tries.done = True
        ctx.log.warning("handler failed for good", handler=handler.id, error=f"{type(error).__name__}: {error}")
        ctx.event("HandlerFailed", f"{handler.id}: {error}", warning=True)
        return math.inf

    async def _tick(self, handler: Handler[Any], live: _Live, key: Key, document: Document) -> float:
        now = self.clock.monotonic()
        tries, moment = live.timers.setdefault(handler.id, (Tries(self.clock.now()), now + handler.initial_delay))
        if moment > now:
            return moment - now
        delay = await self._try(handler, tries, key, document, Occasion("timer"))
        if tries.done:
            tries, delay = Tries(self.clock.now()), handler.interval
        live.timers[handler.id] = tries, self.clock.monotonic() + delay
        return delay

    async def _save(self, key: Key, document: Document, record: Record) -> Document:
        """Put the record on the object; the object then."""
        ctx = self._context(key, document, Occasion(record.cause))
        try:
            await ctx.patch({"metadata": {"uid": uid_of(document), "annotations": {self._annotation: record.text()}}})
        except NotFound:
            return document
        return ctx.document

    def _context(self, key: Key, document: Document, occasion: Occasion) -> HandlerContext[Any]:
        return HandlerContext(self._workplace, key, document, occasion)


def _concerns(handler: Handler[Any], record: Record) -> bool:
    """Whether a handler has to do with what the record says is under way."""
    if not handler.field:
        return True
    before, after = value_at(record.handled, handler.field), value_at(record.target, handler.field)
    return any(True for _ in diff(before, after))
