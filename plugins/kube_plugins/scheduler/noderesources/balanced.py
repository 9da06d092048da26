"""NodeResourcesBalancedAllocation: prefer nodes on which cpu and memory would be used to a like degree."""

from __future__ import annotations

from collections.abc import Sequence

from kube_core.scheduler.framework import MAX_SCORE, SKIP, CycleState, PreScore, SchedulerHandle, Score, Skip
from kube_core.scheduler.nodes import NodeInfo
from kube_core.scheduler.pods import PodInfo

__all__ = ["BalancedAllocation"]


class BalancedAllocation(PreScore, Score):
    name = "NodeResourcesBalancedAllocation"

    def __init__(self, handle: SchedulerHandle) -> None:
        pass

    def pre_score(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Skip | None:
        # Without requests it balances nothing (upstream leaves such pods out too).
        return None if pod.requests.get("cpu") or pod.requests.get("memory") else SKIP

    def score(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> int:
        cpu, memory = node.allocatable.get("cpu", 0), node.allocatable.get("memory", 0)
        if not cpu or not memory:
            return 0
        of_cpu = min((node.requested.get("cpu", 0) + pod.requests.get("cpu", 0)) / cpu, 1.0)
        of_memory = min((node.requested.get("memory", 0) + pod.requests.get("memory", 0)) / memory, 1.0)
        # The standard deviation of two numbers is half of their difference.
        return int((1.0 - abs(of_cpu - of_memory) / 2) * MAX_SCORE)
