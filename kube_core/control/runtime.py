"""The controller runtime: builds controllers, feeds their queues, runs their workers.

What always holds:

* Every controller of a program reads from one set of informers; each writes through a client of its own.
* A controller starts once the informers that it watches and reads have synced, and not before. One whose kind is not
  served yet waits for that, apart from the others: it does not count as work, nor as starting.
* No key is reconciled twice at once; a key that changes while it is reconciled is reconciled again.
* A reconciler that raises is asked again, after 5 ms at first and up to 1000 s (upstream's rate limits); one key's
  trouble holds up neither other keys nor other controllers. `Conflict`, `NotFound` and `AlreadyExists` are the normal
  way to learn that a cache was behind, and are logged for debugging only.
* What a reconciler raises is reported with its trace once, and by an event of the object, where the key is of one: as
  long as the same key fails in the same place again, the report is one line.
* A controller that cannot be built, or whose `start` fails, is named, reported and left out.
* Leaving stops: no new key is begun; a reconcile that is under way has `grace` seconds to come to its end, and is then
  cancelled. A reconciler is level-based, so whoever looks at the key next finds what was left half done.

Called by `cluster.py` and by the controllers' own command. What a controller does is in its plugin.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import attrs

from kube_core._kit.backoff import Backoff
from kube_core._kit.clock import Clock
from kube_core._kit.logs import get_logger
from kube_core._kit.random import Random
from kube_core._kit.tracing import find_tracer
from kube_core._kit.workqueue import RetryTurns, WorkQueue
from kube_core.abc.recording import Recorder, Seen, working
from kube_core.api.resources import CUSTOM_RESOURCE_DEFINITIONS
from kube_core.api.types import ResourceType
from kube_core.client.client import ApiClient
from kube_core.client.informer import Informer, Informers
from kube_core.control.action import Action
from kube_core.control.conditions import is_condition_true
from kube_core.control.controller import Controller, ControllerContext, ControllerSpec, Watch
from kube_core.control.events import EventWriter
from kube_core.meta.documents import Document, Key, key_of, resource_version_of
from kube_core.meta.status import AlreadyExists, Conflict, NotFound, ServiceUnavailable, StatusError

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer
    from structlog.typing import FilteringBoundLogger

    from kube_core.control.metrics import ControllerMeter, ControllerMetrics

__all__ = ["ControllerRuntime", "LeftOut"]

#: Changes that are remembered of one key until it is reconciled.
_REASONS = 16
#: Of an event.
_LONGEST_MESSAGE = 1024


@attrs.frozen
class LeftOut:
    """A controller that does not run, and why, in one line."""

    name: str
    reason: str


class ControllerRuntime:
    """The controllers of one program. An async context manager: entering starts them, leaving stops them.

    `client_factory(name)` gives each controller its client. `informers`: the program's own, already entered, where it
    has some; otherwise the runtime keeps a set for its controllers. `drivers`: by seam, for controllers that need one.
    `grace`: see above. `metrics`: where to count, if anywhere. `recorder`: who is told of each reconcile, if anybody.
    """

    def __init__(  # noqa: PLR0913 (a program says what it is made of)
        self,
        specs: Iterable[ControllerSpec],
        client_factory: Callable[[str], ApiClient],
        *,
        clock: Clock,
        random: Random,
        drivers: Mapping[str, Any] | None = None,
        informers: Informers | None = None,
        log: FilteringBoundLogger | None = None,
        grace: float = 0.0,
        metrics: ControllerMetrics | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self._recorder = recorder
        self._grace = grace
        self._metrics = metrics
        self._tracer = find_tracer("kube_core")
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
        self._informers: Informers | None = None

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
        names = [name for name, loop in self._loops.items() if not loop.is_idle]
        if self._writer is not None and not self._writer.idle:
            names.append("events of controllers")
        return names

    @property
    def next_retry(self) -> float | None:
        """The monotonic moment at which the first key that failed is tried again; None when none is."""
        moments = (loop.queue.next_retry for loop in self._loops.values())
        return min((moment for moment in moments if moment is not None), default=None)

    async def started(self) -> None:
        """Return once every controller whose kinds are served has its informers synced and its workers running."""
        for loop in list(self._loops.values()):
            await loop.ready.wait()

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            client = self._client_factory("kube-controller-manager")
            informers = self._given_informers
            if informers is None:
                informers = Informers(client, clock=self._clock, random=self._random)
                await stack.enter_async_context(informers)
            self._informers = informers
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
        if kind is not None:
            # Who leaves for a failure, or because another program leads now, leaves at once.
            self._grace = 0.0
        if self._grace > 0:
            try:
                async with self._clock.timeout(self._grace):
                    for loop in self._loops.values():
                        await loop.finished.wait()
            except TimeoutError:
                self._log.warning("reconciles cancelled: they took longer than the grace", controllers=self.busy)
        await self._stack.aclose()

    def _build(self, spec: ControllerSpec, informers: Informers, writer: EventWriter) -> None:
        missing = [seam for seam in spec.needs if seam not in self._drivers]
        if missing:
            self._leave_out(spec.name, f"it needs a driver for {', '.join(missing)}")
            return
        client = self._client_factory(spec.name)
        if self._tracer is not None:
            from kube_core.client.observed import ObservedTransport  # few programs trace

            observed = ObservedTransport(client.transport, tracer=self._tracer)
            client = ApiClient(observed, field_manager=client.field_manager)
        limits = spec.rate_limits
        meter = self._metrics.meter(spec.name) if self._metrics is not None else None
        queue: WorkQueue[Key] = WorkQueue(
            self._clock,
            Backoff(limits.first_retry, limits.last_retry),
            turns=RetryTurns(self._clock, limits.retries_per_second, limits.burst),
            meter=meter,
        )
        context = ControllerContext(
            name=spec.name,
            client=client,
            informers=informers,
            clock=self._clock,
            random=self._random,
            events=writer.recorder(spec.reports_as or spec.name, client=client),
            log=self._log.bind(controller=spec.name),
            drivers=self._drivers,
            enqueue=queue.add,
            grace=lambda: self._grace,
        )
        try:
            controller = spec.factory(context)
            loop = _Loop(spec, controller, context, queue, meter=meter, tracer=self._tracer, recorder=self._recorder)
            for watch in controller.watches():
                loop.watch(watch)
            loop.informers += [informers.informer(resource) for resource in controller.reads()]
        except Exception as error:
            context.log.exception("controller left out")
            self._leave_out(spec.name, f"{type(error).__name__}: {error}")
            return
        self._loops[spec.name] = loop
        if self._metrics is not None:
            self._metrics.observe_queue(spec.name, queue, loop.workers)

    def _leave_out(self, name: str, reason: str) -> None:
        self._left_out.append(LeftOut(name, reason))
        self._log.info("controller left out", controller=name, reason=reason)

    async def _run(self, loop: _Loop) -> None:
        for informer in loop.informers:
            await informer.answered()
            if not informer.is_synced:
                loop.context.log.info("waiting for a kind to be served", resource=str(informer.resource.group_resource))
                self._follow_definitions(informer)
                loop.ready.set()
                await informer.synced()
        try:
            try:
                await loop.controller.start()
            except Exception as error:
                loop.context.log.exception("controller failed to start")
                self._leave_out(loop.name, f"{type(error).__name__}: {error}")
                loop.queue.shut_down()
                loop.ready.set()
                return
            async with asyncio.TaskGroup() as workers:
                loop.begin(workers)
                loop.ready.set()
        finally:
            await loop.stop()
            loop.finished.set()

    def _follow_definitions(self, informer: Informer) -> None:
        """Let an informer know when a CustomResourceDefinition of its kind is established."""
        assert self._informers is not None
        wanted = informer.resource

        def heard(_: Document | None, definition: Document | None) -> None:
            if definition is None or not is_condition_true(definition, "Established"):
                return
            spec = definition["spec"]
            if spec["group"] == wanted.group and spec["names"]["plural"] == wanted.plural:
                informer.retry()

        self._informers.informer(CUSTOM_RESOURCE_DEFINITIONS).add_handler(heard)


class _Loop:
    """One controller with its queue."""

    def __init__(
        self,
        spec: ControllerSpec,
        controller: Controller,
        context: ControllerContext,
        queue: WorkQueue[Key],
        *,
        meter: ControllerMeter | None,
        tracer: Tracer | None,
        recorder: Recorder | None,
    ) -> None:
        self._recorder = recorder
        #: The changes that put each key in the queue, where somebody keeps a record.
        self._because: dict[Key, deque[Seen]] = {}
        self._tracer = tracer
        self.name = spec.name
        self.controller = controller
        self.context = context
        self.queue = queue
        self.workers = controller.workers if spec.workers is None else spec.workers
        self.informers: list[Informer] = []
        #: Where workers run, how many there are, and how many of them wait for a key.
        self._tasks: asyncio.TaskGroup | None = None
        self._hired = self._waiting = 0
        #: Set once it has started, cannot, or waits for a kind that is not served.
        self.ready = asyncio.Event()
        self.finished = asyncio.Event()
        self._timeout = spec.timeout
        self._resync = spec.resync
        self._meter = meter
        #: The objects whose keys are reconciled, where there are such.
        self._own: Informer | None = None
        #: Where each key that fails failed last.
        self._reported: dict[Key, tuple[str, str, int]] = {}
        self._handlers: list[tuple[Informer, Callable[[Document | None, Document | None], None]]] = []

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to do now."""
        if self._tasks is None:
            return self.ready.is_set() and all(each.is_synced or each.is_unserved for each in self.informers)
        return self.queue.idle

    def watch(self, watch: Watch) -> None:
        """Put the keys that a change concerns in the queue."""
        informer = self.context.informers.informer(watch.resource)
        if self._own is None and watch.is_own:
            self._own = informer

        def handle(before: Document | None, after: Document | None) -> None:
            if not watch.admits(before, after):
                return
            seen = _seen(informer.resource, before, after) if self._recorder is not None else None
            for document in (before, after):
                if document is not None:
                    for key in watch.keys(document):
                        self.queue.add(key)
                        if seen is not None:
                            self._because.setdefault(key, deque(maxlen=_REASONS)).append(seen)

        informer.add_handler(handle)
        self.informers.append(informer)
        self._handlers.append((informer, handle))

    def begin(self, tasks: asyncio.TaskGroup) -> None:
        """Have the keys worked on, in tasks of this group."""
        self._tasks = tasks
        self._hire()

    def _hire(self) -> None:
        """One worker more. Most controllers of most clusters never need their second: so each comes when the last one
        that waited for a key has got one."""
        assert self._tasks is not None
        self._tasks.create_task(self._work(), name=f"{self.name} worker {self._hired}")
        self._hired += 1

    async def _take(self) -> Key | None:
        """The next key, which another worker waits for meanwhile. None once the queue is shut down."""
        self._waiting += 1
        try:
            key = await self.queue.get()
        finally:
            self._waiting -= 1
        if key is not None and not self._waiting and self._hired < self.workers:
            self._hire()
        return key

    async def _work(self) -> None:
        """One worker: keys, one after the other, until the queue is shut down."""
        while (key := await self._take()) is not None:
            rest = 0.0
            try:
                recorder = self._recorder
                action = await (self._reconcile(key) if recorder is None else self._recorded(recorder, key))
                if action is None:
                    self._count("error")
                    self.queue.add_rate_limited(key)
                    continue
                rest = action.rest
                self._reported.pop(key, None)
                self.queue.forget(key)
                after = action.requeue_after if action.requeue_after is not None else self._resync
                self._count("success" if action.requeue_after is None else "requeue_after")
                if after is not None:
                    self.queue.add_after(key, after)
            finally:
                self.queue.done(key, rest=rest)

    async def _recorded(self, recorder: Recorder, key: Key) -> Action | None:
        number = recorder.reconcile_began(self.name, key, tuple(self._because.pop(key, ())))
        token = working.set(number)
        outcome = "given up"
        try:
            action = await self._reconcile(key)
            if action is None:
                outcome = "failed, and is to be tried again"
            elif action.requeue_after is None:
                outcome = "done"
            else:
                outcome = f"to look again in {action.requeue_after:g} s"
            return action
        finally:
            working.reset(token)
            recorder.reconcile_ended(number, outcome)

    async def stop(self) -> None:
        for informer, handler in self._handlers:
            informer.remove_handler(handler)
        try:
            await self.controller.stop()
        except Exception:
            self.context.log.exception("controller failed to stop")

    async def _reconcile(self, key: Key) -> Action | None:
        """The reconciler's answer; None where it raised."""
        log = self.context.log
        try:
            async with self.context.clock.timeout(self._timeout):
                if self._tracer is None:
                    return await self.controller.reconcile(key)
                attributes = {"controller": self.name, "namespace": key.namespace, "name": key.name}
                with self._tracer.start_as_current_span(f"reconcile {self.name}", attributes=attributes):
                    return await self.controller.reconcile(key)
        except (Conflict, NotFound, AlreadyExists, ServiceUnavailable) as error:
            log.debug("reconcile will be tried again", key=str(key), error=error.message)
        except StatusError as error:
            log.warning("reconcile failed", key=str(key), error=error.message)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise  # it is this worker that is to end, and not something that the reconciler waited for
            self._report(key, error)
        except TimeoutError as error:
            if self._meter is not None:
                self._meter.timeouts.value += 1
            self._report(key, error)
        except (Exception, SystemExit) as error:
            if self._meter is not None:
                self._meter.panics.value += 1
            self._report(key, error)
        return None

    def _report(self, key: Key, error: BaseException) -> None:
        """Say that a reconciler failed, with the trace where it is news."""
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        where = (trace.tb_frame.f_code.co_filename, trace.tb_lineno) if trace is not None else ("", 0)
        place = type(error).__name__, *where
        if self._reported.get(key) == place:
            failures = self.queue.failures(key) + 1
            self.context.log.warning(
                "reconcile failed again", key=str(key), error=f"{place[0]}: {error}", failures=failures
            )
            return
        self._reported[key] = place
        self.context.log.error("reconcile failed", key=str(key), exc_info=error)
        subject = self._own.lister.get(key) if self._own is not None else None
        if subject is not None:
            self.context.events.warning(subject, "ReconcileFailed", f"{place[0]}: {error}"[:_LONGEST_MESSAGE])

    def _count(self, result: str) -> None:
        if self._meter is not None:
            self._meter.results[result].value += 1
            if result == "error":
                self._meter.errors.value += 1


def _seen(resource: ResourceType, before: Document | None, after: Document | None) -> Seen | None:
    """A change, as a record knows it."""
    document = after or before or {}
    version = resource_version_of(document)
    return Seen(resource.group_resource, key_of(document), int(version)) if version.isdecimal() else None
