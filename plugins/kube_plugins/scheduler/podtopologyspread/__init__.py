"""PodTopologySpread: keep pods apart, as they say, and those of one controller.

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
from kube_plugins.scheduler.podtopologyspread.constraints import Domains, constraints_of, count_domains, preference

__all__ = ["PodTopologySpread"]

_SKEWED = Rejection("PodTopologySpread", ("node(s) didn't match pod topology spread constraints",))
#: Where the counts of preferred constraints are, in a cycle's state.
_PREFERRED = "PodTopologySpread score"
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
        constraints = constraints_of(pod, "DoNotSchedule")
        if not constraints:
            return SKIP
        state[self.name] = [count_domains(constraint, pod, self._nodes) for constraint in constraints]
        return None

    def moved(self, state: CycleState, pod: PodInfo, other: PodInfo, node: NodeInfo, sign: int) -> None:
        for domains in state.get(self.name) or ():
            domains.moved(other, node, sign)

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
        if constraints := constraints_of(pod, "ScheduleAnyway"):
            state[_PREFERRED] = [count_domains(constraint, pod, self._nodes) for constraint in constraints]
            return None
        return None if pod.owner_uid and not pod.spec.get("topologySpreadConstraints") else SKIP

    def score(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> int:
        """How many pods of the same controller are there (fewer is better; `scores` turns it round)."""
        return node.owners.get(pod.owner_uid, 0)

    def scores(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> list[int]:
        if (counted := state.get(_PREFERRED)) is not None:
            return _relative(preference(counted, nodes))
        owner = pod.owner_uid
        counts = [node.owners.get(owner, 0) for node in nodes]
        most, least = max(counts), min(counts)
        if most == least:
            return [MAX_SCORE] * len(nodes)
        return [MAX_SCORE * (most + least - count) // most for count in counts]


def _relative(sums: Sequence[int | None]) -> list[int]:
    """Scores of what is the better the less there is of it; nodes outside of all domains come last."""
    inside = [each for each in sums if each is not None]
    most, least = max(inside, default=0), min(inside, default=0)
    if not most:
        return [0 if each is None else MAX_SCORE for each in sums]
    return [0 if each is None else MAX_SCORE * (most + least - each) // most for each in sums]
