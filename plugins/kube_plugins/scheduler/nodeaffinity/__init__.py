"""NodeAffinity: `nodeSelector` and node affinity, required as a filter and preferred as a score."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kube_core.api import resources
from kube_core.api.nodeselectors import matches_selector, matches_term
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

__all__ = ["NodeAffinity"]

_OTHER = Rejection("NodeAffinity", ("node(s) didn't match Pod's node affinity/selector",), resolvable=False)
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


class NodeAffinity(PreFilter, Filter, PreScore, Score):
    name = "NodeAffinity"

    def __init__(self, handle: SchedulerHandle) -> None:
        pass

    def interests(self) -> Iterable[Interest]:
        return (Interest(resources.NODES, frozenset(("add", "update"))),)

    def pre_filter(self, state: CycleState, pod: PodInfo) -> Rejection | Skip | frozenset[str] | None:
        required = _affinity(pod).get(_REQUIRED)
        if not pod.spec.get("nodeSelector") and required is None:
            return SKIP
        state[self.name] = required
        return _named(required) if required is not None else None

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Rejection | None:
        selector: Mapping[str, str] | None = pod.spec.get("nodeSelector")
        if selector and not selector.items() <= node.labels.items():
            return _OTHER
        required = state[self.name]
        if required is not None and not matches_selector(required, node.labels, node.name):
            return _OTHER
        return None

    def pre_score(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Skip | None:
        return None if _affinity(pod).get(_PREFERRED) else SKIP

    def score(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> int:
        """The weights of the preferred terms that the node meets (`scores` brings them to one scale)."""
        return sum(
            int(each.get("weight") or 0)
            for each in _affinity(pod).get(_PREFERRED) or ()
            if matches_term(each.get("preference") or {}, node.labels, node.name)
        )

    def scores(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> list[int]:
        weights = [self.score(state, pod, node) for node in nodes]
        most = max(weights)
        return [MAX_SCORE * weight // most if most else 0 for weight in weights]


def _affinity(pod: PodInfo) -> Mapping[str, Any]:
    return (pod.spec.get("affinity") or {}).get("nodeAffinity") or {}


def _named(required: Mapping[str, Any]) -> frozenset[str] | None:
    """The only nodes that come into question, where every term names them (as a daemon's pods do)."""
    names: set[str] = set()
    for term in required.get("nodeSelectorTerms") or ():
        named = [
            set(each.get("values") or ())
            for each in term.get("matchFields") or ()
            if each.get("key") == "metadata.name" and each.get("operator") == "In"
        ]
        if not named:
            return None
        names |= set.intersection(*named)
    return frozenset(names)
