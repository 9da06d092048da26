"""DefaultPreemption: room for a pod by ending pods of lower priority.

For each node whose refusal may be resolved it asks what would be left to refuse the pod if all pods of lower priority
were gone; where nothing would, as many of them as possible are spared again: first those that no disruption budget has
room for, and the most important first. Of the nodes that remain, the one is taken whose victims matter least: by how
many are beyond a budget, by the highest priority among them, by the sum of priorities, by their number, by how long the
most important have run. The victims are told why in their condition `DisruptionTarget` and deleted with their own
grace, and the node is nominated; the pod is scheduled in its turn when they are gone (upstream: "Pod Priority and
Preemption").
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import attrs

from kube_core.api import resources
from kube_core.meta.documents import is_deleting
from kube_core.meta.status import Conflict, NotFound
from kube_core.meta.times import parse_time
from kube_core.scheduler.framework import CycleState, PostFilter, PostFilterResult, Rejection, SchedulerHandle
from kube_core.scheduler.nodes import NodeInfo
from kube_core.scheduler.pods import DEFAULT_SCHEDULER, PodInfo
from kube_core.scheduler.profile import explain
from kube_plugins.controllers.podsofnodes import disruption, status_patch
from kube_plugins.scheduler.defaultpreemption.budgets import beyond_budgets

__all__ = ["DefaultPreemption"]

_NOT_HELPFUL = Rejection("DefaultPreemption", ("Preemption is not helpful for scheduling",))
_NO_VICTIMS = Rejection("DefaultPreemption", ("No preemption victims found for incoming pod",))


@attrs.frozen
class _Candidate:
    node: str
    victims: tuple[PodInfo, ...]
    #: How many of them are beyond a disruption budget.
    violations: int = 0

    @property
    def cost(self) -> tuple[float, ...]:
        priorities = [victim.priority for victim in self.victims]
        highest = max(priorities)
        since = min(_started(victim) for victim in self.victims if victim.priority == highest)
        return (self.violations, highest, sum(priorities), len(priorities), -since)


class DefaultPreemption(PostFilter):
    name = "DefaultPreemption"

    def __init__(self, handle: SchedulerHandle) -> None:
        self._handle = handle
        self._budgets = handle.informers.informer(resources.POD_DISRUPTION_BUDGETS).lister

    def post_filter(self, state: CycleState, pod: PodInfo, rejections: Mapping[str, Rejection]) -> PostFilterResult:
        if pod.spec.get("preemptionPolicy") == "Never":
            return PostFilterResult("preemption: not eligible due to preemptionPolicy=Never.")
        nominated = self._nominated(pod)
        if nominated is not None and any(
            is_deleting(other.document) and other.priority < pod.priority for other in nominated.pods.values()
        ):
            why = "preemption: not eligible due to a terminating pod on the nominated node."
            return PostFilterResult(why, keeps_nomination=True)
        candidates: list[_Candidate] = []
        answers: dict[str, Rejection] = {}
        for name, rejection in rejections.items():
            node = self._handle.nodes.get(name)
            if node is None or not rejection.resolvable:
                answers[name] = _NOT_HELPFUL
                continue
            candidate = self._candidate(state, pod, node)
            if candidate is not None:
                candidates.append(candidate)
            else:
                answers[name] = _NO_VICTIMS
        if not candidates:
            if not rejections:
                return PostFilterResult()
            return PostFilterResult(f"preemption: {explain(len(self._handle.nodes), answers.values(), None)}")
        chosen = min(candidates, key=lambda candidate: candidate.cost)
        return PostFilterResult(nominated=chosen.node, then=lambda: self._evict(pod, chosen))

    def _nominated(self, pod: PodInfo) -> NodeInfo | None:
        name = (pod.document.get("status") or {}).get("nominatedNodeName")
        return self._handle.nodes.get(str(name)) if name else None

    def _candidate(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> _Candidate | None:
        """The node with the pods that must go from it for the pod; None where that would not do."""
        lower = [other for other in node.pods.values() if other.priority < pod.priority]
        if not lower:
            return None
        lower.sort(key=lambda each: (-each.priority, _started(each)))
        beyond = beyond_budgets(lower, self._budgets.list())
        # The node is changed and changed back within one turn of the loop: nobody sees it.
        away: dict[str, PodInfo] = {}

        def take(other: PodInfo) -> None:
            away[other.uid] = other
            node.remove(other)
            self._handle.moved(state, pod, other, node, -1)

        def put_back(other: PodInfo) -> None:
            del away[other.uid]
            node.add(other)
            self._handle.moved(state, pod, other, node, 1)

        victims: list[PodInfo] = []
        try:
            for other in lower:
                take(other)
            if self._handle.filters(state, pod, node) is not None:
                return None
            for other in sorted(lower, key=lambda each: each.uid not in beyond):
                put_back(other)
                if self._handle.filters(state, pod, node) is not None:
                    take(other)
                    victims.append(other)
        finally:
            for other in [*away.values()]:
                put_back(other)
        if not victims:
            return None
        return _Candidate(node.name, tuple(victims), sum(1 for victim in victims if victim.uid in beyond))

    async def _evict(self, pod: PodInfo, candidate: _Candidate) -> None:
        for victim in candidate.victims:
            if is_deleting(victim.document):
                continue
            try:
                await self._tell_why(pod, victim)
                await self._handle.client.delete(resources.PODS, victim.key.name, victim.key.namespace, uid=victim.uid)
            except (NotFound, Conflict):
                continue
            message = f"Preempted by pod {pod.uid} on node {candidate.node}"
            self._handle.events.normal(victim.document, "Preempted", message)

    async def _tell_why(self, pod: PodInfo, victim: PodInfo) -> None:
        scheduler = pod.spec.get("schedulerName") or DEFAULT_SCHEDULER
        message = f"{scheduler}: preempting to accommodate a higher priority pod"
        condition = disruption(victim.document, "PreemptionByScheduler", message, self._handle.clock.now())
        if condition is None:
            return
        patch = status_patch(victim.document, {"conditions": [condition]})
        await self._handle.client.patch(
            resources.PODS,
            victim.key.name,
            patch,
            victim.key.namespace,
            patch_type="strategic",
            subresource="status",
        )


def _started(pod: PodInfo) -> float:
    """When it started; one that has not yet is the last."""
    moment = (pod.document.get("status") or {}).get("startTime")
    return parse_time(str(moment)) if moment else math.inf
