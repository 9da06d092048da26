"""DefaultPreemption: room for a pod by ending pods of lower priority.

For each node whose refusal may be resolved it asks what would be left to refuse the pod if all pods of lower priority
were gone; where nothing would, as many of them as possible are spared again, the most important first. Of the nodes
that remain, the one is taken whose victims matter least: by the highest priority among them, by the sum of priorities,
by their number. The victims are deleted with their own grace, and the node is nominated; the pod is scheduled in its
turn when they are gone (upstream: "Pod Priority and Preemption"). Disruption budgets are not looked at yet.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from kube_core.api import resources
from kube_core.meta.documents import is_deleting
from kube_core.meta.status import Conflict, NotFound
from kube_core.scheduler.framework import CycleState, PostFilter, PostFilterResult, Rejection, SchedulerHandle
from kube_core.scheduler.nodes import NodeInfo
from kube_core.scheduler.pods import PodInfo
from kube_core.scheduler.profile import explain

__all__ = ["DefaultPreemption"]

_NOT_HELPFUL = Rejection("DefaultPreemption", ("Preemption is not helpful for scheduling",))
_NO_VICTIMS = Rejection("DefaultPreemption", ("No preemption victims found for incoming pod",))


@attrs.frozen
class _Candidate:
    node: str
    victims: tuple[PodInfo, ...]

    @property
    def cost(self) -> tuple[int, int, int]:
        priorities = [victim.priority for victim in self.victims]
        return (max(priorities), sum(priorities), len(priorities))


class DefaultPreemption(PostFilter):
    name = "DefaultPreemption"

    def __init__(self, handle: SchedulerHandle) -> None:
        self._handle = handle

    def post_filter(self, state: CycleState, pod: PodInfo, rejections: Mapping[str, Rejection]) -> PostFilterResult:
        if pod.spec.get("preemptionPolicy") == "Never":
            return PostFilterResult("preemption: not eligible due to preemptionPolicy=Never.")
        nominated = self._nominated(pod)
        if nominated is not None and any(
            is_deleting(other.document) and other.priority < pod.priority for other in nominated.pods.values()
        ):
            return PostFilterResult("preemption: not eligible due to a terminating pod on the nominated node.")
        candidates: list[_Candidate] = []
        answers: dict[str, Rejection] = {}
        for name, rejection in rejections.items():
            node = self._handle.nodes.get(name)
            if node is None or not rejection.resolvable:
                answers[name] = _NOT_HELPFUL
                continue
            victims = self._victims(state, pod, node)
            if victims:
                candidates.append(_Candidate(name, victims))
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

    def _victims(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> tuple[PodInfo, ...]:
        """The pods that must go from this node for the pod; none where that would not do."""
        lower = [other for other in node.pods.values() if other.priority < pod.priority]
        if not lower:
            return ()
        # The node is changed and changed back within one turn of the loop: nobody sees it.
        for other in lower:
            node.remove(other)
        victims: list[PodInfo] = []
        try:
            if self._handle.filters(state, pod, node) is not None:
                return ()
            for other in sorted(lower, key=lambda each: -each.priority):
                node.add(other)
                if self._handle.filters(state, pod, node) is not None:
                    node.remove(other)
                    victims.append(other)
        finally:
            for other in lower:
                node.add(other)
        return tuple(victims)

    async def _evict(self, pod: PodInfo, candidate: _Candidate) -> None:
        for victim in candidate.victims:
            if is_deleting(victim.document):
                continue
            try:
                await self._handle.client.delete(resources.PODS, victim.key.name, victim.key.namespace, uid=victim.uid)
            except (NotFound, Conflict):
                continue
            message = f"Preempted by pod {pod.uid} on node {candidate.node}"
            self._handle.events.normal(victim.document, "Preempted", message)
