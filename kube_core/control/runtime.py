"""The controller runtime: builds controllers, feeds their queues, runs their workers.

What always holds:

* Every controller of a program reads from one set of informers; each writes through a client of its own.
* A controller starts once the informers that it watches and reads have synced, and not before.
* No key is reconciled twice at once; a key that changes while it is reconciled is reconciled again.
* A reconciler that raises is asked again, after 5 ms at first and up to 1000 s (upstream's rate limits); one key's
  trouble holds up neither other keys nor other controllers. `Conflict`, `NotFound` and `AlreadyExists` are the normal
  way to learn that a cache was behind, and are logged for debugging only.
* A controller that cannot be built, or whose `start` fails, is named, reported and left out.
* Leaving stops: no new key is begun, and a reconcile that is under way is cancelled. A reconciler is level-based, so
  whoever looks at the key next finds what was left half done.

Called by `cluster.py` and by the controllers' own command. What a controller does is in its plugin.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import attrs

from kube_core._kit.backoff import Backoff
from kube_core._kit.clock import Clock
from kube_core._kit.logs import get_logger
from kube_core._kit.random import Random
from kube_core._kit.workqueue import WorkQueue
from kube_core.client.client import ApiClient
from kube_core.client.informer import Informer, Informers
from kube_core.control.action import Action
from kube_core.control.controller import Controller, ControllerContext, ControllerSpec, Watch
from kube_core.control.events import EventWriter
from kube_core.meta.documents import Document, Key
from kube_core.meta.status import AlreadyExists, Conflict, NotFound, ServiceUnavailable, StatusError

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

__all__ = ["ControllerRuntime", "LeftOut"]

_FIRST_RETRY = 0.005
_LAST_RETRY = 1000.0


@attrs.frozen
class LeftOut:
    """A controller that does not run, and why, in one line."""

    name: str
    reason: str


class ControllerRuntime:
    """The controllers of one program. An async context manager: entering starts them, leaving stops them.

    `client_factory(name)` gives each controller its client. `informers`: the program's own, already entered, where it
    has some; otherwise the runtime keeps a set for its controllers. `drivers`: by seam, for controllers that need one.
    """

    def __init__(
        self,
        specs: Iterable[ControllerSpec],
        client_factory: Callable[[str], ApiClient],
        *,
        clock: Clock,
        random: Random,
        drivers: Mapping[str, Any] | None = None,
        informers: Informers | None = None,
        log: FilteringBoundLogger | None = None,
    ) -> None:
        self._specs = tuple(specs)
        self._client_factory = client_factory
        self._clock = clock
        self._random = random
        self._drivers = drivers or {}
        self._log: FilteringBoundLogger = log or get_logger("kube_core.control")
        self._given_informers = informers
        self._loops: dict[str, _Loop] = {}
        self._left_out: list[LeftOut] = []
        self._stack = contextlib.AsyncExitStack()
        self._writer: EventWriter | None = None

    @property
    def controllers(self) -> Mapping[str, Controller]:
        """Those that run, by name."""
        return {name: loop.controller for name, loop in self._loops.items()}

    @property
    def left_out(self) -> Sequence[LeftOut]:
        return tuple(self._left_out)

    @property
    def idle(self) -> bool:
        """Whether no key waits or is reconciled, and no event is being written, now. Timers do not count."""
        return not self.busy

    @property
    def busy(self) -> Sequence[str]:
        """Names of what has work now: controllers that have a key to reconcile or have yet to start, their events."""
        names = [name for name, loop in self._loops.items() if not (loop.started.is_set() and loop.queue.idle)]
        if self._writer is not None and not self._writer.idle:
            names.append("events of controllers")
        return names

    @property
    def next_retry(self) -> float | None:
        """The monotonic moment at which the first key that failed is tried again; None when none is."""
        moments = (loop.queue.next_retry for loop in self._loops.values())
        return min((moment for moment in moments if moment is not None), default=None)

    async def started(self) -> None:
        """Return once every controller has its informers synced and its workers running."""
        for loop in list(self._loops.values()):
            await loop.started.wait()

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            client = self._client_factory("kube-controller-manager")
            informers = self._given_informers
            if informers is None:
                informers = Informers(client, clock=self._clock, random=self._random)
                await stack.enter_async_context(informers)
            writer = EventWriter(client, clock=self._clock, random=self._random, log=self._log)
            self._writer = await stack.enter_async_context(writer)
            for spec in self._specs:
                self._build(spec, informers, writer)
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            for name, loop in self._loops.items():
                stack.callback(tasks.create_task(self._run(loop), name=f"controller {name}").cancel)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for loop in self._loops.values():
            loop.queue.shut_down()
        await self._stack.aclose()

    def _build(self, spec: ControllerSpec, informers: Informers, writer: EventWriter) -> None:
        missing = [seam for seam in spec.needs if seam not in self._drivers]
        if missing:
            self._leave_out(spec.name, f"it needs a driver for {', '.join(missing)}")
            return
        client = self._client_factory(spec.name)
        queue: WorkQueue[Key] = WorkQueue(self._clock, Backoff(_FIRST_RETRY, _LAST_RETRY))
        context = ControllerContext(
            name=spec.name,
            client=client,
            informers=informers,
            clock=self._clock,
            random=self._random,
            events=writer.recorder(spec.name, client=client),
            log=self._log.bind(controller=spec.name),
            drivers=self._drivers,
            enqueue=queue.add,
        )
        try:
            controller = spec.factory(context)
            loop = _Loop(spec.name, controller, context, queue)
            for watch in controller.watches():
                loop.watch(watch)
            loop.informers += [informers.informer(resource) for resource in controller.reads()]
        except Exception as error:
            context.log.exception("controller left out")
            self._leave_out(spec.name, f"{type(error).__name__}: {error}")
            return
        self._loops[spec.name] = loop

    def _leave_out(self, name: str, reason: str) -> None:
        self._left_out.append(LeftOut(name, reason))
        self._log.info("controller left out", controller=name, reason=reason)

    async def _run(self, loop: _Loop) -> None:
        for informer in loop.informers:
            await informer.synced()
        try:
            try:
                await loop.controller.start()
            except Exception as error:
                loop.context.log.exception("controller failed to start")
                self._leave_out(loop.name, f"{type(error).__name__}: {error}")
                loop.queue.shut_down()
                loop.started.set()
                return
            async with asyncio.TaskGroup() as workers:
                for number in range(loop.controller.workers):
                    workers.create_task(loop.work(), name=f"{loop.name} worker {number}")
                loop.started.set()
        finally:
            await loop.stop()


class _Loop:
    """One controller with its queue."""

    def __init__(self, name: str, controller: Controller, context: ControllerContext, queue: WorkQueue[Key]) -> None:
        self.name = name
        self.controller = controller
        self.context = context
        self.queue = queue
        self.informers: list[Informer] = []
        self.started = asyncio.Event()
        self._handlers: list[tuple[Informer, Callable[[Document | None, Document | None], None]]] = []

    def watch(self, watch: Watch) -> None:
        """Put the keys that a change concerns in the queue."""
        informer = self.context.informers.informer(watch.resource)

        def handle(before: Document | None, after: Document | None) -> None:
            if watch.predicate is not None and not watch.predicate(before, after):
                return
            for document in (before, after):
                if document is not None:
                    for key in watch.to_keys(document):
                        self.queue.add(key)

        informer.add_handler(handle)
        self.informers.append(informer)
        self._handlers.append((informer, handle))

    async def work(self) -> None:
        """One worker: keys, one after the other, until the queue is shut down."""
        while (key := await self.queue.get()) is not None:
            try:
                action = await self._reconcile(key)
                if action is None:
                    self.queue.add_rate_limited(key)
                    continue
                self.queue.forget(key)
                if action.requeue_after is not None:
                    self.queue.add_after(key, action.requeue_after)
            finally:
                self.queue.done(key)

    async def stop(self) -> None:
        for informer, handler in self._handlers:
            informer.remove_handler(handler)
        try:
            await self.controller.stop()
        except Exception:
            self.context.log.exception("controller failed to stop")

    async def _reconcile(self, key: Key) -> Action | None:
        """The reconciler's answer; None where it raised."""
        try:
            return await self.controller.reconcile(key)
        except (Conflict, NotFound, AlreadyExists, ServiceUnavailable) as error:
            self.context.log.debug("reconcile will be tried again", key=str(key), error=error.message)
        except StatusError as error:
            self.context.log.warning("reconcile failed", key=str(key), error=error.message)
        except Exception:
            self.context.log.exception("reconcile failed", key=str(key))
        return None
