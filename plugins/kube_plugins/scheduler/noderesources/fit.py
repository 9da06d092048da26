"""NodeResourcesFit: room for what the pod requests, as a filter; most room left, as a score."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kube_core.api import resources
from kube_core.meta.documents import Document
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
from kube_core.scheduler.pods import PodInfo, amount

__all__ = ["Fit"]


class Fit(Filter, Score):
    name = "NodeResourcesFit"

    def __init__(self, handle: SchedulerHandle) -> None:
        self._refusals: dict[tuple[tuple[str, ...], bool], Rejection] = {}

    def interests(self) -> Iterable[Interest]:
        return (
            Interest(resources.PODS, frozenset(("delete", "update"))),
            Interest(resources.NODES, frozenset(("add", "update")), _could_fit),
        )

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Rejection | None:
        requested, allocatable = node.requested, node.allocatable
        full = len(node.pods) >= node.pod_limit
        for resource, number in pod.requests.items():
            if number and number > allocatable.get(resource, 0) - requested.get(resource, 0):
                break
        else:
            return self._refuse(("Too many pods",), True) if full else None
        reasons = ["Too many pods"] if full else []
        resolvable = True
        for resource, number in pod.requests.items():
            room = allocatable.get(resource, 0)
            if number and number > room - requested.get(resource, 0):
                reasons.append(f"Insufficient {resource}")
                resolvable = resolvable and number <= room
        return self._refuse(tuple(reasons), resolvable)

    def score(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> int:
        allocatable = node.allocatable
        cpu, memory = allocatable.get("cpu", 0), allocatable.get("memory", 0)
        cpu_left = cpu - node.assumed_cpu - pod.assumed_cpu
        memory_left = memory - node.assumed_memory - pod.assumed_memory
        total = 0
        if cpu_left > 0:
            total += cpu_left * MAX_SCORE // cpu
        if memory_left > 0:
            total += memory_left * MAX_SCORE // memory
        return total // 2

    def scores(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> list[int]:
        score = self.score
        return [score(state, pod, node) for node in nodes]

    def _refuse(self, reasons: tuple[str, ...], resolvable: bool) -> Rejection:
        """The same few answers again and again: made once."""
        found = self._refusals.get((reasons, resolvable))
        if found is None:
            found = self._refusals[reasons, resolvable] = Rejection(self.name, reasons, resolvable)
        return found


def _could_fit(pod: PodInfo, _before: Document | None, after: Document | None) -> bool:
    """Whether a node that came or changed has, empty, what the pod requests."""
    if after is None:
        return False
    allocatable = (after.get("status") or {}).get("allocatable") or {}
    return all(number <= amount(resource, allocatable.get(resource, 0)) for resource, number in pod.requests.items())
