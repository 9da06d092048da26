"""Writing events (`kubectl get events`): who reports, about what, why.

Recording never blocks and never fails the caller: events go through a bounded buffer to a task that writes them, which
aggregates repeats into one Event with a count, as upstream's correlator documents it (`correlation.py`).

A program has one `EventWriter`, an async context manager, and from it one `EventRecorder` for each component that
reports. Each of them has a buffer of its own, which is written in order, and a task while there is anything in it: who
has much to say drops what is its own, and holds up nobody. An event that the server refuses (its namespace is being
deleted, say) is dropped; one that cannot be delivered is tried again a dozen times, ten seconds apart.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

import attrs

from kube_core._kit.clock import Clock
from kube_core._kit.logs import get_logger
from kube_core._kit.random import Random
from kube_core.abc.recording import working
from kube_core.api.resources import EVENTS
from kube_core.client.client import ApiClient
from kube_core.control.correlation import Correlator, Occurrence
from kube_core.meta.documents import (
    Document,
    MutableDocument,
    api_version_of,
    kind_of,
    name_of,
    namespace_of,
    resource_version_of,
    uid_of,
)
from kube_core.meta.status import AlreadyExists, NotFound, StatusError
from kube_core.meta.times import format_time

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

__all__ = ["EventRecorder", "EventType", "EventWriter"]

EventType = Literal["Normal", "Warning"]
Before = Callable[[], Awaitable[None]]

_BUFFER = 1000
_TRIES = 12
#: Names that are tried for one event.
_NAMES = 64
_RETRY_SECONDS = 10.0


class EventRecorder:
    """Records events for one reporting component (`deployment-controller`, `kubelet`). Made by an `EventWriter`."""

    def __init__(
        self, writer: EventWriter, client: ApiClient, component: str, host: str, before: Before | None
    ) -> None:
        self._writer = writer
        self._client = client
        self._lane = _Lane(f"events of {component} {host}".rstrip(), before)
        self._component = component
        self._host = host

    def normal(self, regarding: Document, reason: str, message: str, *, field_path: str = "") -> None:
        """Something that was meant to happen did. `field_path` names a part: `spec.containers{web}`."""
        self._record("Normal", regarding, reason, message, field_path)

    def warning(self, regarding: Document, reason: str, message: str, *, field_path: str = "") -> None:
        """Something went wrong, or may."""
        self._record("Warning", regarding, reason, message, field_path)

    def _record(self, kind: EventType, regarding: Document, reason: str, message: str, field_path: str) -> None:
        source = {"component": self._component}
        if self._host:
            source["host"] = self._host
        reference = {
            "kind": kind_of(regarding),
            "namespace": namespace_of(regarding),
            "name": name_of(regarding),
            "uid": uid_of(regarding),
            "apiVersion": api_version_of(regarding),
            "resourceVersion": resource_version_of(regarding),
            "fieldPath": field_path,
        }
        event: MutableDocument = {
            "apiVersion": "v1",
            "kind": "Event",
            # Events about cluster-scoped objects live where upstream puts them.
            "metadata": {"name": "", "namespace": namespace_of(regarding) or "default"},
            "involvedObject": {field: value for field, value in reference.items() if value},
            "type": kind,
            "reason": reason,
            "message": message,
            "source": source,
            "reportingComponent": self._component,
            "reportingInstance": self._host,
        }
        self._writer.submit(self._lane, self._client, event)


@attrs.frozen
class _Submitted:
    client: ApiClient
    event: MutableDocument
    moment: float
    #: The reconcile that it was recorded in.
    reconcile: int = 0


@attrs.define(eq=False)
class _Lane:
    """What one component has to say, in order."""

    name: str
    before: Before | None
    buffer: deque[_Submitted] = attrs.field(factory=deque)
    task: asyncio.Task[None] | None = None


class EventWriter:
    """Writes out what recorders have in their buffers. Leaving it gives up what is still there."""

    def __init__(
        self, client: ApiClient, *, clock: Clock, random: Random, log: FilteringBoundLogger | None = None
    ) -> None:
        self._client = client
        self._clock = clock
        self._random = random
        self._log: FilteringBoundLogger = log or get_logger("kube_core.control")
        #: Those with anything in their buffers.
        self._lanes: dict[_Lane, None] = {}
        #: Those that wait for their next try.
        self._paused = 0
        self._correlator = Correlator()
        self._last_stamp = 0
        self._entered = False

    def recorder(
        self, component: str, *, host: str = "", client: ApiClient | None = None, before: Before | None = None
    ) -> EventRecorder:
        """For one component; `host` is its node, where it has one; `client` is who writes, if not the writer's own.

        `before` is awaited before each event is written, by a component that at times has better things to do.
        """
        return EventRecorder(self, client or self._client, component, host, before)

    def submit(self, lane: _Lane, client: ApiClient, event: MutableDocument) -> None:
        """Take an event for writing; one too many for the buffer is dropped."""
        if len(lane.buffer) >= _BUFFER:
            self._log.debug("event dropped: the buffer is full", reason=event["reason"])
            return
        lane.buffer.append(_Submitted(client, event, self._clock.now(), working.get()))
        if lane not in self._lanes:
            self._lanes[lane] = None
            if self._entered:
                self._start(lane)

    @property
    def idle(self) -> bool:
        """Whether everything that was recorded is written or given up, or waits for its next try."""
        return len(self._lanes) == self._paused

    async def __aenter__(self) -> Self:
        self._entered = True
        for lane in self._lanes:
            self._start(lane)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered = False
        tasks = [lane.task for lane in self._lanes if lane.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._lanes.clear()

    def _start(self, lane: _Lane) -> None:
        lane.task = asyncio.create_task(self._write_out(lane), name=lane.name)

    async def _write_out(self, lane: _Lane) -> None:
        while lane.buffer:
            if lane.before is not None and len(lane.buffer) < _BUFFER // 2:
                await lane.before()
            await self._take(lane.buffer.popleft())
        del self._lanes[lane]
        lane.task = None

    async def _take(self, submitted: _Submitted) -> None:
        event, moment = submitted.event, submitted.moment
        working.set(submitted.reconcile)
        self._last_stamp = max(self._last_stamp + 1, int(moment * 1_000_000_000))
        event["metadata"]["name"] = self._name_of(event)
        event["lastTimestamp"] = format_time(moment)
        occurrence = self._correlator.correlate(event, moment)
        if occurrence is None:
            return
        for attempt in range(_TRIES):
            if attempt:
                self._paused += 1
                try:
                    await self._clock.sleep(self._random.jitter(_RETRY_SECONDS, 0.1))
                finally:
                    self._paused -= 1
            try:
                await self._write(submitted.client, event, occurrence)
            except StatusError as error:
                if error.code < 500 and error.code != 429:
                    self._log.debug("event refused", reason=event["reason"], error=error.message)
                    return
            except Exception:
                self._log.exception("event not written", reason=event["reason"])
                return
            else:
                return
        self._log.warning("event given up: the server cannot be reached", reason=event["reason"])

    def _name_of(self, event: MutableDocument) -> str:
        # Upstream's names: the object's, and the moment in nanoseconds as hexadecimal; never the same one twice.
        return f"{event['involvedObject'].get('name', '')}.{self._last_stamp:x}"

    async def _write(self, client: ApiClient, event: MutableDocument, occurrence: Occurrence) -> None:
        if occurrence.written:
            patch = {field: event[field] for field in ("count", "message", "lastTimestamp")}
            metadata = event["metadata"]
            try:
                await client.patch(EVENTS, metadata["name"], patch, metadata["namespace"])
            except NotFound:
                # The server forgets events after an hour; this one starts again.
                occurrence.written = False
            else:
                return
        for attempt in range(_NAMES):
            try:
                await client.create(EVENTS, event)
            except AlreadyExists:
                # Another writer's, of the same moment: virtual time may stand still while a cluster starts again.
                if attempt == _NAMES - 1:
                    raise
                self._last_stamp += 1
                occurrence.name = event["metadata"]["name"] = self._name_of(event)
            else:
                occurrence.written = True
                return
