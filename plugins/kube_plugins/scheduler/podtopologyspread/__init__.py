"""PodTopologySpread: keep pods of one controller apart.

Pods that say nothing about it are spread over nodes as upstream's built-in default constraints do: a node with fewer
pods of the same controller is better. Counting goes by controller, which the nodes keep anyway, so the score is cheap
at any size. Constraints that a pod states itself are in `constraints.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kube_core.api import resources
from kube_core.scheduler.framework import (
    MAX_SCORE,
    SKIP,
    CycleState,
    Filter,
    Interest,
    PreFilter,
    PreScore,
    Rejection,
    SchedulerHandle,
    Score,
    Skip,
)
from kube_core.scheduler.nodes import NodeInfo
from kube_core.scheduler.pods import PodInfo
from kube_plugins.scheduler.podtopologyspread.constraints import Domains, count_domains, hard_constraints

__all__ = ["PodTopologySpread"]

_SKEWED = Rejection("PodTopologySpread", ("node(s) didn't match pod topology spread constraints",))
_NO_DOMAIN = Rejection(
    "PodTopologySpread",
    ("node(s) didn't match pod topology spread constraints (missing required label)",),
    resolvable=False,
)


class PodTopologySpread(PreFilter, Filter, PreScore, Score):
    name = "PodTopologySpread"

    def __init__(self, handle: SchedulerHandle) -> None:
        self._nodes = handle.nodes

    def interests(self) -> Iterable[Interest]:
        return (
            Interest(resources.PODS, frozenset(("add", "update", "delete"))),
            Interest(resources.NODES, frozenset(("add", "update", "delete"))),
        )

    def pre_filter(self, state: CycleState, pod: PodInfo) -> Skip | None:
        constraints = hard_constraints(pod)
        if not constraints:
            return SKIP
        state[self.name] = [count_domains(constraint, pod, self._nodes) for constraint in constraints]
        return None

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Rejection | None:
        counted: list[Domains] = state[self.name]
        for domains in counted:
            domain = node.labels.get(domains.key)
            if domain is None:
                return _NO_DOMAIN
            if domains.skew_with(domain) > domains.max_skew:
                return _SKEWED
        return None

    def pre_score(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Skip | None:
        return None if pod.owner_uid else SKIP

    def score(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> int:
        """How many pods of the same controller are there (fewer is better; `scores` turns it round)."""
        return node.owners.get(pod.owner_uid, 0)

    def scores(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> list[int]:
        owner = pod.owner_uid
        counts = [node.owners.get(owner, 0) for node in nodes]
        most, least = max(counts), min(counts)
        if most == least:
            return [MAX_SCORE] * len(nodes)
        return [MAX_SCORE * (most + least - count) // most for count in counts]
