"""The scheduling queue: which pod is next, and which wait for what.

A pod is in one of three places: *active*, to be scheduled now, by priority and then by how long it has waited;
*backing off*, after a failed attempt, for 1 s, doubled at each further one up to 10 s; or *unschedulable*, until a
change in the cluster that may help it, or five minutes at most. A change helps a pod when a plugin that refused it is
interested in such changes; a pod that is helped while it should still back off finishes that first.

Times are the clock's. `pop` never waits; `wait` returns when there may be something to pop. Everything is called from
the event loop by one owner, the scheduler. Mirrors upstream's scheduling queue.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Sequence
from typing import Final

import attrs

from kube_core._kit.clock import Clock, Timer
from kube_core.meta.documents import Document
from kube_core.scheduler.framework import ChangeKind, Interest
from kube_core.scheduler.pods import PodInfo

__all__ = ["QueuedPod", "SchedulingQueue"]

FIRST_BACKOFF: Final = 1.0
LAST_BACKOFF: Final = 10.0
LONGEST_WAIT: Final = 300.0


@attrs.define(eq=False)
class QueuedPod:
    """A pod in the queue, or just taken from it."""

    pod: PodInfo
    since: float
    """When it came into the place where it is, on the clock's monotonic scale."""
    attempts: int = 0
    refused_by: frozenset[str] = frozenset()
    backoff_until: float = 0.0
    taken: float = 0.0
    """When it was taken from the queue, for its present attempt."""
    ticket: int = 0
    """Its place in a heap; one that is not the present ticket is stale."""


class SchedulingQueue:
    """Pods that have no node yet. `interests`: what plugins may be helped by, with their names."""

    def __init__(self, clock: Clock, interests: Sequence[tuple[str, Interest]] = ()) -> None:
        self._clock = clock
        self._interests = interests
        self._active: list[tuple[int, float, int, QueuedPod]] = []
        self._backing_off: list[tuple[float, int, QueuedPod]] = []
        self._unschedulable: dict[str, QueuedPod] = {}
        self._known: dict[str, QueuedPod] = {}
        self._tickets = itertools.count(1)
        self._wake = asyncio.Event()
        self._timer: Timer | None = None
        self._timer_at = 0.0

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, uid: str) -> bool:
        return uid in self._known

    @property
    def unschedulable(self) -> Sequence[PodInfo]:
        """The pods that wait for a change."""
        return [queued.pod for queued in self._unschedulable.values()]

    def counts(self) -> tuple[int, int, int]:
        """How many pods are active, backing off, and unschedulable."""
        unschedulable = len(self._unschedulable)
        backing_off = sum(queued.ticket == ticket for _, ticket, queued in self._backing_off)
        return len(self._known) - unschedulable - backing_off, backing_off, unschedulable

    @property
    def idle(self) -> bool:
        """Whether nothing can be popped now."""
        self._release()
        return self._first() is None

    def add(self, pod: PodInfo) -> None:
        """A new pod, to be scheduled now."""
        queued = self._known[pod.uid] = QueuedPod(pod, self._clock.monotonic())
        self._activate(queued)

    def update(self, pod: PodInfo) -> None:
        """A pod that waits has changed; one that nothing could help may be helped by that."""
        queued = self._known.get(pod.uid)
        if queued is None:
            self.add(pod)
            return
        spec_changed = queued.pod.spec != pod.spec or queued.pod.document["metadata"].get("labels") != pod.document[
            "metadata"
        ].get("labels")
        queued.pod = pod
        if spec_changed and self._unschedulable.pop(pod.uid, None) is not None:
            self._requeue(queued)

    def delete(self, uid: str) -> None:
        queued = self._known.pop(uid, None)
        if queued is not None:
            queued.ticket = 0
            self._unschedulable.pop(uid, None)

    def pop(self) -> QueuedPod | None:
        """The next pod, taken out, or None."""
        self._release()
        queued = self._first()
        if queued is None:
            return None
        heapq.heappop(self._active)
        del self._known[queued.pod.uid]
        queued.ticket = 0
        queued.attempts += 1
        queued.taken = self._clock.monotonic()
        return queued

    async def wait(self) -> None:
        """Return when there may be something to pop."""
        while self._first() is None:
            self._wake.clear()
            await self._wake.wait()
            self._release()

    def put_back(self, queued: QueuedPod, refused_by: frozenset[str] | None) -> None:
        """An attempt failed: wait for a change that may help one of the plugins that refused.

        An empty set: no plugin was asked, so any change may help. None: none refused, only the back-off is waited for.
        """
        now = self._clock.monotonic()
        queued.refused_by = refused_by or frozenset()
        queued.since = now
        queued.backoff_until = now + min(FIRST_BACKOFF * 2 ** (queued.attempts - 1), LAST_BACKOFF)
        self._known[queued.pod.uid] = queued
        if refused_by is not None:
            self._unschedulable[queued.pod.uid] = queued
            self._set_timer(now + LONGEST_WAIT)
        else:
            self._requeue(queued)

    def changed(self, kind: str, change: ChangeKind, before: Document | None, after: Document | None) -> None:
        """Something in the cluster changed: move the pods that it may help. `kind`: the resource's plural name."""
        if not self._unschedulable:
            return
        interested = [
            (plugin, interest)
            for plugin, interest in self._interests
            if interest.resource.plural == kind and change in interest.changes
        ]
        helped = [
            queued
            for queued in self._unschedulable.values()
            if (not queued.refused_by and change == "add")
            or any(
                plugin in queued.refused_by and (interest.helps is None or interest.helps(queued.pod, before, after))
                for plugin, interest in interested
            )
        ]
        for queued in helped:
            del self._unschedulable[queued.pod.uid]
            self._requeue(queued)

    def close(self) -> None:
        """Set no more timers."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _requeue(self, queued: QueuedPod) -> None:
        """To the active pods, or first to those that back off."""
        now = self._clock.monotonic()
        if queued.backoff_until <= now:
            queued.since = now
            self._activate(queued)
            return
        queued.ticket = next(self._tickets)
        heapq.heappush(self._backing_off, (queued.backoff_until, queued.ticket, queued))
        self._set_timer(queued.backoff_until)

    def _activate(self, queued: QueuedPod) -> None:
        queued.ticket = next(self._tickets)
        heapq.heappush(self._active, (-queued.pod.priority, queued.since, queued.ticket, queued))
        self._wake.set()

    def _first(self) -> QueuedPod | None:
        while self._active and self._active[0][3].ticket != self._active[0][2]:
            heapq.heappop(self._active)
        return self._active[0][3] if self._active else None

    def _release(self) -> None:
        """Activate what has backed off, or waited, for long enough."""
        now = self._clock.monotonic()
        while self._backing_off and self._backing_off[0][0] <= now:
            _, ticket, queued = heapq.heappop(self._backing_off)
            if queued.ticket == ticket:
                queued.since = now
                self._activate(queued)
        while (longest := self._longest_waiting()) is not None and longest.since + LONGEST_WAIT <= now:
            del self._unschedulable[longest.pod.uid]
            self._requeue(longest)

    def _longest_waiting(self) -> QueuedPod | None:
        """The first to have come among the unschedulable: they are in that order."""
        return next(iter(self._unschedulable.values()), None)

    def _set_timer(self, moment: float) -> None:
        """Look again at `moment`, unless that happens sooner anyway."""
        if self._timer is not None and self._timer_at <= moment:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = moment
        self._timer = self._clock.call_later(moment - self._clock.monotonic(), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._release()
        if self._backing_off:
            self._set_timer(self._backing_off[0][0])
        if (longest := self._longest_waiting()) is not None:
            self._set_timer(longest.since + LONGEST_WAIT)
