"""One pod's worker: from what the pod wants and what runs to what is to be done, over and over, one thing at a time.

Level-based: `poke` says that something may have changed, and `_sync` looks at all of it: the pod as the informer has
it, the containers as the runtime has them, the probes' results. So nothing is lost by an agent that is started again,
and nothing runs twice. A worker has a task only while it has work, and at most one timer.

Three things interrupt a sync: deletion, a shorter grace, and being told to end (`evict`). The worker of a pod that is
gone from the API ends what is left of it. Called by the agent; what is done to containers is in the modules beside this
one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import nullcontext

import attrs

from kube_core._kit.clock import Timer
from kube_core.abc.network import NetworkError
from kube_core.abc.runtime import RuntimeFailure
from kube_core.api.pods import is_terminal
from kube_core.meta.documents import Document, annotations_of, is_deleting, metadata_of, name_of, namespace_of, uid_of
from kube_core.meta.times import format_time, parse_time
from kube_core.node.pods.admission import admit
from kube_core.node.pods.carrying_out import carry_out
from kube_core.node.pods.ending import clean_up, stop_all
from kube_core.node.pods.host import Host
from kube_core.node.pods.reporting import report
from kube_core.node.pods.sandboxes import NoSandbox, ensure_sandbox
from kube_core.node.pods.state import PodState, grace_of
from kube_core.node.pods.status import OUR_CONDITIONS
from kube_core.node.volumes.payload import VolumeFailure

__all__ = ["Eviction", "PodWorker"]

_FIRST_RETRY = 0.5
_LAST_RETRY = 122.0
_ECHOES = ("resourceVersion", "managedFields")


@attrs.frozen
class Eviction:
    """Why a pod has to end that nobody deletes; its phase is `Failed` then. `condition`: of type `DisruptionTarget`."""

    reason: str
    message: str
    grace: float | None = None
    """Seconds; None: the pod's own."""
    condition: Document | None = None


@attrs.define(eq=False)
class PodWorker:
    """`gone`: the pod is no longer in the API. `ended` is told once nothing of such a pod is left."""

    host: Host
    pod: Document
    ended: Callable[[PodWorker], None]
    gone: bool = False
    state: PodState = attrs.field(init=False)
    done: bool = False
    """Nothing of it is left on this node, or the agent stops."""
    _dirty: bool = False
    _interrupted: bool = False
    #: The task has begun. One that has not would be cancelled for good, and has nothing to be left.
    _begun: bool = False
    _task: asyncio.Task[None] | None = None
    _timer: Timer | None = None
    _next_look: float | None = None
    _failures: int = 0
    _grace_ends: float | None = None
    _deleted: bool = False
    _eviction: Eviction | None = None
    _over: asyncio.Event | None = None

    def __attrs_post_init__(self) -> None:
        self.state = PodState.of(self.pod)

    @property
    def uid(self) -> str:
        return uid_of(self.pod)

    @property
    def busy(self) -> bool:
        return self._task is not None

    @property
    def over(self) -> bool:
        """Whether nothing of it runs, or will."""
        return self.state.over or is_terminal(self.pod)

    async def wait_until_over(self) -> None:
        """Return once nothing of it runs, or will."""
        if not self.over:
            self._over = self._over or asyncio.Event()
            await self._over.wait()

    def update(self, pod: Document) -> None:
        """The pod changed."""
        before, self.pod = self.pod, pod
        self.state.pod = self.host.allocations.applied(pod)
        if metadata_of(before).get("labels") != metadata_of(pod).get("labels") or (
            annotations_of(before) != annotations_of(pod)
        ):
            self.state.refresh_at = 0.0
        less = grace_of(pod) < grace_of(before)
        if is_deleting(pod) and (not is_deleting(before) or less):
            self.interrupt()
        elif self.host.reports.contradicted(before, pod) or _worth_a_look(before) != _worth_a_look(pod):
            self.poke()

    def vanish(self) -> None:
        """The pod is gone from the API: end what is left of it at once."""
        self.gone = True
        self.interrupt()

    def evict(self, eviction: Eviction) -> None:
        """End it, as the node can no longer run it. The first reason counts."""
        if self._eviction is None and not self.over:
            self._eviction = eviction
            self.interrupt()

    def poke(self) -> None:
        """Look again, soon."""
        self._dirty = True
        if self._task is None and not self.done:
            self._task = self.host.spawn(self._run(), f"pod {namespace_of(self.pod)}/{name_of(self.pod)}")

    def interrupt(self) -> None:
        """Look again, now, leaving what is being done."""
        if self._task is not None and self._begun:
            self._interrupted = True
            self._task.cancel()
        self.poke()

    def close(self) -> None:
        """The agent stops: forget timers; what runs goes on."""
        self.done = True
        if self._timer is not None:
            self._timer.cancel()

    async def _run(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._begun = True
        try:
            while self._dirty and not self.done:
                self._dirty = False
                try:
                    await self._look()
                except asyncio.CancelledError:
                    if not self._interrupted:
                        raise
                    self._interrupted = False
                    task.uncancel()
        finally:
            self._task = None
            self._begun = False
            if not self.done:
                self._set_timer()

    async def _look(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._next_look = None
        self.state.pod = self.host.allocations.applied(self.pod)
        try:
            if self.gone or is_deleting(self.pod):
                await self._terminate()
            elif not self.state.cleaned and not self.state.rejected:
                await self._sync()
        except VolumeFailure as error:
            self.host.events.warning(self.pod, "FailedMount", str(error))
            self._try_again()
        except (NetworkError, NoSandbox) as error:
            self.host.events.warning(self.pod, "FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}")
            self._try_again()
        except RuntimeFailure as error:
            # It refused, or is away; what runs is not known to have ended.
            if self.gone or is_deleting(self.pod):
                self.host.events.warning(self.pod, "FailedKillPod", f"error killing pod: {error}")
            else:
                self.host.log.warning("pod not synced", pod=name_of(self.pod), error=str(error))
            self._try_again()
        except Exception as error:
            self.host.log.warning("pod not synced", pod=name_of(self.pod), error=str(error), exc_info=True)
            self._try_again()
        else:
            self._failures = 0
        if self._over is not None and self.over:
            self._over.set()

    # -- running ---------------------------------------------------------------------------------------------------

    async def _sync(self) -> None:
        host, state = self.host, self.state
        now = host.clock.now()
        if is_terminal(self.pod):
            # It ended before: nothing of it runs again, whatever became of its containers.
            await stop_all(host, state, state.runs(host), grace=0.0)
            state.over = True
            await clean_up(host, state)
            return
        if not state.admitted and not await self._admit(now):
            return
        if not state.start_time:
            state.start_time = format_time(now)
        if self._eviction is not None:
            await self._fail(self._eviction)
            return
        if self._deadline_passed(now):
            message = "Pod was active on the node longer than the specified deadline"
            host.events.normal(self.pod, "DeadlineExceeded", message)
            await self._fail(Eviction("DeadlineExceeded", message))
            return
        try:
            async with host.turns.taken() if state.places is None else nullcontext():
                await self._have_run(now)
        except Exception:
            await report(host, state)
            raise
        if not state.over and host.volumes.needs_refreshing(self.pod):
            self._later(state.refresh_at - now)

    async def _have_run(self, now: float) -> None:
        """Make what is missing: sandbox, volumes, containers."""
        host, state = self.host, self.state
        if state.places is None:
            await ensure_sandbox(host, state)
            state.places = await host.volumes.set_up(state.pod)
            state.refresh_at = now + host.settings.sync_frequency
        elif now >= state.refresh_at and host.volumes.needs_refreshing(self.pod):
            state.refresh_at = now + host.settings.sync_frequency
            await host.volumes.set_up(state.pod)
        await ensure_sandbox(host, state)
        host.allocations.consider(self.pod)
        state.pod = host.allocations.applied(self.pod)
        await carry_out(host, state, poke=self.poke, later=self._later)

    async def _admit(self, now: float) -> bool:
        """Whether this node runs the pod; one that has run already is not asked again."""
        host, state = self.host, self.state
        if host.runtime.list_sandboxes(self.uid):
            host.allocations.grant(self.pod)
        else:
            refusal = await admit(host, self.pod)
            if refusal is not None:
                host.events.warning(self.pod, refusal.reason, refusal.message)
                state.start_time = state.start_time or format_time(now)
                state.reason, state.message = refusal.reason, f"Pod was rejected: {refusal.message}"
                state.rejected = state.over = state.cleaned = True
                host.allocations.forget(self.uid)
                state.status = state.rejection()
                host.reports.submit(self.pod, state.status)
                return False
        state.admitted = True
        return True

    # -- ending ----------------------------------------------------------------------------------------------------

    async def _terminate(self) -> None:
        """The pod is being deleted, or is gone: stop everything within its grace, and let it go."""
        host, state = self.host, self.state
        clock = host.clock
        wanted = clock.monotonic() + (0.0 if self.gone else grace_of(self.pod))
        self._grace_ends = wanted if self._grace_ends is None else min(self._grace_ends, wanted)
        grace = max(self._grace_ends - clock.monotonic(), 0.0)
        await stop_all(host, state, state.runs(host), grace=grace)
        state.over = True
        host.allocations.forget(self.uid)
        if not self.gone and not self._deleted and not state.rejected:
            await report(host, state)
        await clean_up(host, state)
        if self.gone:
            for sandbox in host.runtime.list_sandboxes(self.uid):
                await host.runtime.remove_sandbox(sandbox.id)
            host.reports.forget(self.uid)
            for run in host.runtime.list_containers(self.uid):
                await host.runtime.remove_container(run.id)
            host.backoffs.forget_all(self.uid)
            host.image_backoffs.forget_all(self.uid)
            self.done = True
            self.ended(self)
        elif not self._deleted:
            self._deleted = True
            host.reports.submit(self.pod, state.status, delete=True)

    async def _fail(self, eviction: Eviction) -> None:
        host, state = self.host, self.state
        state.reason, state.message = eviction.reason, eviction.message
        if eviction.condition is not None:
            state.disruption = eviction.condition
        grace = grace_of(self.pod) if eviction.grace is None else eviction.grace
        await stop_all(host, state, state.runs(host), grace=grace)
        state.over = True
        host.allocations.forget(self.uid)
        await report(host, state)
        await clean_up(host, state)

    def _deadline_passed(self, now: float) -> bool:
        seconds = self.pod["spec"].get("activeDeadlineSeconds")
        if seconds is None:
            return False
        remaining = parse_time(self.state.start_time) + float(seconds) - now
        if remaining > 0:
            self._later(remaining)
        return remaining <= 0

    # -- when to look again ------------------------------------------------------------------------------------------

    def _later(self, delay: float) -> None:
        moment = self.host.clock.monotonic() + max(delay, 0.0)
        self._next_look = moment if self._next_look is None else min(self._next_look, moment)

    def _try_again(self) -> None:
        self._later(min(_FIRST_RETRY * 2.0**self._failures, _LAST_RETRY))
        self._failures = min(self._failures + 1, 10)

    def _set_timer(self) -> None:
        if self._next_look is not None and self._timer is None:
            delay = self._next_look - self.host.clock.monotonic()
            self._timer = self.host.clock.call_later(delay, self._timed)

    def _timed(self) -> None:
        self._timer = None
        self.poke()


def _foreign_conditions(pod: Document) -> list[tuple[str, str]]:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return [(each["type"], each.get("status")) for each in conditions if each["type"] not in OUR_CONDITIONS]


def _worth_a_look(pod: Document) -> tuple[object, ...]:
    """What of a pod is worth a look when it changes: not the echo of our own reports."""
    metadata = {key: value for key, value in metadata_of(pod).items() if key not in _ECHOES}
    return metadata, pod["spec"], _foreign_conditions(pod)
