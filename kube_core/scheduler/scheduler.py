"""The scheduler: the outline. It takes one pod after another and gives each a node, or says why it has none.

The cycle that chooses a node (`profile.py`) is synchronous: nothing else is decided meanwhile, and the pod takes the
node's room at once (`nodes.py`). Binding is a request, and bindings run side by side; when one fails, the room is given
back and the pod queued again. A pod that has no node gets the condition PodScheduled=False with the reasons, and an
event, and waits (`queue.py`) for a change that one of the plugins that refused it is interested in.

What always holds: a pod's room is never counted twice and never given away twice; no pod is bound that is gone.

Called by `cluster.py` and by the scheduler's own command. Mirrors upstream's kube-scheduler with its default profile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

import anyio.lowlevel

from kube_core._kit.clock import Clock
from kube_core._kit.random import Random
from kube_core.api import pods, resources
from kube_core.client.client import ApiClient
from kube_core.client.informer import ChangeHandler, Informers
from kube_core.control.events import EventRecorder
from kube_core.meta.documents import Document, is_deleting, name_of, uid_of
from kube_core.meta.status import Conflict, NotFound, StatusError
from kube_core.meta.times import format_time
from kube_core.scheduler.framework import ChangeKind, PluginSpec, Rejection, SchedulerHandle
from kube_core.scheduler.metrics import Outcome, SchedulerMetrics
from kube_core.scheduler.nodes import Nodes
from kube_core.scheduler.pods import DEFAULT_SCHEDULER, PodInfo, read_pod
from kube_core.scheduler.profile import Nowhere, Placement, Profile
from kube_core.scheduler.queue import QueuedPod, SchedulingQueue

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from kube_core.api.types import ResourceType

__all__ = ["Scheduler"]

#: How many bindings are under way at once, at most.
_BINDINGS = 200
#: How often a write about a pod is tried again when the server cannot take it, and the first pause, in seconds.
_TRIES, _PAUSE = 3, 0.1


class Scheduler:
    """One scheduler with one profile. `plugins`: what the hook `kube_core_scheduler_plugins` gave, in order.

    `events` reports as `default-scheduler`. `name`: the `spec.schedulerName` of the pods that are its own. `metrics`:
    where to count, if anywhere.
    """

    def __init__(  # noqa: PLR0913 (what a scheduler is made of)
        self,
        client: ApiClient,
        informers: Informers,
        clock: Clock,
        random: Random,
        plugins: Iterable[PluginSpec],
        log: FilteringBoundLogger,
        *,
        events: EventRecorder,
        name: str = DEFAULT_SCHEDULER,
        metrics: SchedulerMetrics | None = None,
    ) -> None:
        self.client = client
        self.name = name
        self.nodes = Nodes()
        self._informers = informers
        self._clock = clock
        self._random = random
        self._log = log
        self._events = events
        handle = SchedulerHandle(
            client=client,
            informers=informers,
            nodes=self.nodes,
            clock=clock,
            random=random,
            events=events,
            log=log,
            filters=lambda _state, _pod, _node: None,
        )
        self.profile = Profile(plugins, handle)
        self.queue = SchedulingQueue(clock, self.profile.interests)
        self._metrics = metrics
        if metrics is not None:
            metrics.observe_queue(self.queue)
        self._limit = asyncio.Semaphore(_BINDINGS)
        self._under_way = 0
        self._handlers: list[tuple[ResourceType, ChangeHandler]] = []

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be scheduled now, and no binding is under way. Timers do not count."""
        return self._under_way == 0 and self.queue.idle

    async def run(self) -> None:
        """Schedule until cancelled."""
        self._listen()
        try:
            for resource, _ in self._handlers:
                await self._informers.informer(resource).synced()
            async with asyncio.TaskGroup() as tasks:
                while True:
                    queued = self.queue.pop()
                    if queued is None:
                        await self.queue.wait()
                        continue
                    await self._limit.acquire()
                    self._under_way += 1
                    self._schedule(queued, tasks)
                    # One pod a turn of the loop: what was decided goes out while the next is looked at.
                    await anyio.lowlevel.checkpoint()
        finally:
            self.queue.close()
            for resource, handler in self._handlers:
                self._informers.informer(resource).remove_handler(handler)

    # One pod.

    def _schedule(self, queued: QueuedPod, tasks: asyncio.TaskGroup) -> None:
        """Choose a node, and start what follows from it."""
        pod = queued.pod
        answer = self.profile.place(pod, self.nodes, self._random)
        if isinstance(answer, Placement):
            self.nodes.assume(pod, answer.node)
            refusal = self._reserve(answer, pod)
            work = self._bind(queued, answer) if refusal is None else self._refused(queued, answer, refusal)
        else:
            self._count(queued, "unschedulable")
            if answer.result.nominated:
                self.nodes.nominate(pod, answer.result.nominated)
            elif not answer.result.keeps_nomination:
                self._withdraw(pod.document)
            self.queue.put_back(queued, answer.plugins)
            work = self._report(queued, answer)
        task = tasks.create_task(work, name=f"schedule {pod.key}")
        task.add_done_callback(self._finished)

    def _count(self, queued: QueuedPod, outcome: Outcome) -> None:
        if self._metrics is not None:
            took = self._clock.monotonic() - queued.taken
            self._metrics.attempt(self.name, outcome, took, queued.attempts)

    def _finished(self, _task: asyncio.Task[None]) -> None:
        self._under_way -= 1
        self._limit.release()

    def _reserve(self, placement: Placement, pod: PodInfo) -> Rejection | None:
        for plugin in self.profile.reserves:
            if (refusal := plugin.reserve(placement.state, pod, placement.node)) is not None:
                return refusal
        return None

    async def _bind(self, queued: QueuedPod, placement: Placement) -> None:
        """From the choice of a node to the binding."""
        pod, node, state = queued.pod, placement.node, placement.state
        try:
            for permit in self.profile.permits:
                if (refusal := await permit.permit(state, pod, node)) is not None:
                    return await self._refused(queued, placement, refusal)
            for pre_bind in self.profile.pre_binds:
                if (refusal := await pre_bind.pre_bind(state, pod, node)) is not None:
                    return await self._refused(queued, placement, refusal)
            for bind in self.profile.binds:
                if await bind.bind(state, pod, node):
                    break
        except (NotFound, Conflict) as error:
            # It is gone, or has a node already: the watch brings what is true, if anything is left.
            self._log.debug("pod not bound", pod=str(pod.key), error=error.message)
            self._give_back(placement, pod)
            if isinstance(error, Conflict):
                self.queue.put_back(queued, None)
            return
        except StatusError as error:
            self._count(queued, "error")
            self._give_back(placement, pod)
            self.queue.put_back(queued, None)
            message = f"binding rejected: {error.message}"
            await self._tell(pod, "SchedulerError", message)
            return
        except BaseException:
            self._give_back(placement, pod)
            raise
        self._count(queued, "scheduled")
        message = f"Successfully assigned {pod.key} to {node}"
        self._events.normal(pod.document, "Scheduled", message)

    async def _refused(self, queued: QueuedPod, placement: Placement, refusal: Rejection) -> None:
        """A plugin changed its mind about the node."""
        self._count(queued, "unschedulable")
        self._give_back(placement, queued.pod)
        self.queue.put_back(queued, frozenset((refusal.plugin,)))
        nowhere = Nowhere(len(self.nodes), {placement.node: refusal})
        await self._tell(queued.pod, "Unschedulable", nowhere.message)

    def _give_back(self, placement: Placement, pod: PodInfo) -> None:
        for plugin in reversed(self.profile.reserves):
            plugin.unreserve(placement.state, pod, placement.node)
        if self.nodes.is_assumed(pod.uid):
            self.nodes.remove_pod(pod.uid)
            self.queue.changed("pods", "delete", pod.document, None)

    async def _report(self, queued: QueuedPod, nowhere: Nowhere) -> None:
        if nowhere.result.then is not None:
            await nowhere.result.then()
        await self._tell(queued.pod, "Unschedulable", nowhere.message, nominated=nowhere.result.nominated)

    async def _tell(self, pod: PodInfo, reason: str, message: str, *, nominated: str = "") -> None:
        """The event, and the condition where it differs from the one there is."""
        self._events.warning(pod.document, "FailedScheduling", message)
        present = pods.pod_condition(pod.document, "PodScheduled") or {}
        same = all(
            present.get(field) == value
            for field, value in (("status", "False"), ("reason", reason), ("message", message))
        )
        nominated_before = (pod.document.get("status") or {}).get("nominatedNodeName") or ""
        if same and (not nominated or nominated == nominated_before):
            return
        moved = present.get("status") != "False"
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "lastProbeTime": None,
            "lastTransitionTime": format_time(self._clock.now()) if moved else present.get("lastTransitionTime"),
            "reason": reason,
            "message": message,
        }
        status: dict[str, object] = {"conditions": [condition]}
        if nominated:
            status["nominatedNodeName"] = nominated
        await self._patch_status(pod, {"metadata": {"uid": pod.uid}, "status": status})

    async def _patch_status(self, pod: PodInfo, patch: dict[str, object]) -> None:
        for attempt in range(_TRIES):
            try:
                await self.client.patch(
                    resources.PODS,
                    pod.key.name,
                    patch,
                    pod.key.namespace,
                    patch_type="strategic",
                    subresource="status",
                )
            except StatusError as error:
                if error.code < 500 and error.code != 429:
                    return  # gone, or another pod of that name
                await self._clock.sleep(_PAUSE * 2**attempt)
            else:
                return
        self._log.warning("a pod's condition could not be written", pod=str(pod.key))

    # What changes outside.

    def _listen(self) -> None:
        """Nodes before pods, and both before what plugins are interested in."""
        self._handlers = [(resources.NODES, self._node_changed), (resources.PODS, self._pod_changed)]
        further = dict.fromkeys(interest.resource for _, interest in self.profile.interests)
        for resource in further:
            if resource not in (resources.NODES, resources.PODS):
                self._handlers.append((resource, self._notify(resource)))
        for resource, handler in self._handlers:
            self._informers.informer(resource).add_handler(handler)

    def _notify(self, resource: ResourceType) -> ChangeHandler:
        def handler(before: Document | None, after: Document | None) -> None:
            self.queue.changed(resource.plural, _kind_of_change(before, after), before, after)

        return handler

    def _node_changed(self, before: Document | None, after: Document | None) -> None:
        if after is None:
            if before is not None:
                self.nodes.remove_node(name_of(before))
        elif before is None or _differs_for_pods(before, after):
            self.nodes.set_node(after)
        else:
            return  # a heartbeat
        self.queue.changed("nodes", _kind_of_change(before, after), before, after)

    def _pod_changed(self, before: Document | None, after: Document | None) -> None:
        if after is None:
            if before is not None:
                self._pod_gone(before)
            return
        if pods.node_name_of(after):
            if pods.is_terminal(after):
                if before is None or not pods.is_terminal(before):
                    self._pod_gone(after)
                return
            if before is None or not pods.node_name_of(before) or _requests_differ(before, after):
                self.nodes.add_pod(read_pod(after), pods.node_name_of(after))
                self.queue.delete(uid_of(after))
                change: ChangeKind = "add" if before is None or not pods.node_name_of(before) else "update"
                self.queue.changed("pods", change, before, after)
            return
        self._pending_changed(after)

    def _pending_changed(self, after: Document) -> None:
        uid = uid_of(after)
        if (after["spec"].get("schedulerName") or DEFAULT_SCHEDULER) != self.name:
            return
        if is_deleting(after) or pods.is_terminal(after):
            self._withdraw(after)
            self.queue.delete(uid)
        elif not self.nodes.is_assumed(uid):
            pod = read_pod(after)
            if self.profile.may_enter(pod) is None:
                self.queue.update(pod)

    def _withdraw(self, pod: Document) -> None:
        """The room that was being made for a pod is for anybody again."""
        if self.nodes.withdraw(uid_of(pod)):
            self.queue.changed("pods", "delete", pod, None)

    def _pod_gone(self, last: Document) -> None:
        self._withdraw(last)
        self.nodes.remove_pod(uid_of(last))
        self.queue.delete(uid_of(last))
        if pods.node_name_of(last):
            self.queue.changed("pods", "delete", last, None)


def _kind_of_change(before: Document | None, after: Document | None) -> ChangeKind:
    if before is None:
        return "add"
    return "delete" if after is None else "update"


def _differs_for_pods(before: Document, after: Document) -> bool:
    """Whether a change of a node can matter to pods: what it is labelled, is tainted with, and has to give."""

    def seen(node: Document) -> tuple[object, ...]:
        status, spec = node.get("status") or {}, node.get("spec") or {}
        return (
            status.get("allocatable"),
            status.get("capacity"),
            status.get("images"),
            spec.get("taints"),
            spec.get("unschedulable"),
            node["metadata"].get("labels"),
            uid_of(node),
        )

    return seen(before) != seen(after)


def _requests_differ(before: Document, after: Document) -> bool:
    """A pod that runs may be resized, and labelled anew."""
    return bool(
        before["spec"] != after["spec"]
        or before["metadata"].get("labels") != after["metadata"].get("labels")
        or uid_of(before) != uid_of(after)
    )
