"""TaintToleration: nodes with taints that the pod does not tolerate are refused, or, for soft taints, avoided."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kube_core.api import resources
from kube_core.api.taints import tolerates
from kube_core.scheduler.framework import (
    MAX_SCORE,
    CycleState,
    Filter,
    Interest,
    Rejection,
    SchedulerHandle,
    Score,
)
from kube_core.scheduler.nodes import NodeInfo
from kube_core.scheduler.pods import PodInfo

__all__ = ["TaintToleration"]

_TAINTED = Rejection("TaintToleration", ("node(s) had untolerated taint(s)",), resolvable=False)


class TaintToleration(Filter, Score):
    name = "TaintToleration"

    def __init__(self, handle: SchedulerHandle) -> None:
        pass

    def interests(self) -> Iterable[Interest]:
        return (Interest(resources.NODES, frozenset(("add", "update"))),)

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Rejection | None:
        if not node.hard_taints:
            return None
        tolerations = pod.spec.get("tolerations") or ()
        return None if all(tolerates(tolerations, taint) for taint in node.hard_taints) else _TAINTED

    def score(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> int:
        """How many soft taints are not tolerated (fewer is better; `scores` turns it round)."""
        tolerations = [
            each for each in pod.spec.get("tolerations") or () if each.get("effect") in (None, "", "PreferNoSchedule")
        ]
        return sum(1 for taint in node.soft_taints if not tolerates(tolerations, taint))

    def scores(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> list[int]:
        counts = [self.score(state, pod, node) if node.soft_taints else 0 for node in nodes]
        most = max(counts)
        if not most:
            return [MAX_SCORE] * len(nodes)
        return [MAX_SCORE - MAX_SCORE * count // most for count in counts]
