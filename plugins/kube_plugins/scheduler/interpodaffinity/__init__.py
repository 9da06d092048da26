"""InterPodAffinity: a pod near to others, or far from them, as it and as they want it.

What must hold is a question of counts: how many pods that a term means there are under each value of its topology key.
A node is refused where the pod must be near to some and none is there, where it must be far from some that are, and
where a pod that is there must be far from it. The first of several pods that want to be near to each other goes
anywhere. What is only preferred adds up to a score, to which the terms of pods that run already count as well.

Mirrors upstream's plugin of that name ("Inter-pod affinity and anti-affinity").
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import attrs

from kube_core.api import resources
from kube_core.client.informer import Lister
from kube_core.meta.documents import Key, labels_of
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
from kube_plugins.scheduler.interpodaffinity.terms import NamespaceLabels, Term, Terms, terms_of

__all__ = ["InterPodAffinity"]

_NOT_NEAR = Rejection("InterPodAffinity", ("node(s) didn't match pod affinity rules",), resolvable=False)
_NOT_FAR = Rejection("InterPodAffinity", ("node(s) didn't match pod anti-affinity rules",))
_UNWANTED = Rejection("InterPodAffinity", ("node(s) didn't satisfy existing pods anti-affinity rules",))
#: What the terms that pods on a node must have held count for, when another pod is scored.
_HARD_WEIGHT = 1

#: By topology key and value.
Counts = Counter[tuple[str, str]]


@attrs.define(eq=False)
class _Looked:
    """What was counted for one pod."""

    terms: Terms
    near: Counts
    """Pods that all terms mean near to which it must be."""
    far: Counts
    unwanted: Counts
    """Pods that must be far from it."""


class InterPodAffinity(PreFilter, Filter, PreScore, Score):
    name = "InterPodAffinity"

    def __init__(self, handle: SchedulerHandle) -> None:
        self._nodes = handle.nodes
        self._namespaces: Lister = handle.informers.informer(resources.NAMESPACES).lister

    def interests(self) -> Iterable[Interest]:
        return (
            Interest(resources.PODS, frozenset(("add", "update", "delete"))),
            Interest(resources.NODES, frozenset(("add", "update"))),
            Interest(resources.NAMESPACES, frozenset(("add", "update"))),
        )

    # -- what must hold ----------------------------------------------------------------------------------------------

    def pre_filter(self, state: CycleState, pod: PodInfo) -> Skip | None:
        terms = terms_of(pod)
        looked = _Looked(terms, Counter(), Counter(), Counter())
        asks = bool(terms.near or terms.far)
        for node in self._nodes:
            for other in (node.pods if asks else node.demanding).values():
                self._count(looked, pod, other, node, 1)
        if not asks and not looked.unwanted:
            return SKIP
        state[self.name] = looked
        return None

    def moved(self, state: CycleState, pod: PodInfo, other: PodInfo, node: NodeInfo, sign: int) -> None:
        if (looked := state.get(self.name)) is not None:
            self._count(looked, pod, other, node, sign)

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Rejection | None:
        looked: _Looked = state[self.name]
        if looked.terms.near and not self._is_near(looked, pod, node):
            return _NOT_NEAR
        if any(_counted(looked.far, term, node) > 0 for term in looked.terms.far):
            return _NOT_FAR
        if looked.unwanted and any(looked.unwanted.get(pair, 0) > 0 for pair in node.labels.items()):
            return _UNWANTED
        return None

    def _is_near(self, looked: _Looked, pod: PodInfo, node: NodeInfo) -> bool:
        terms = looked.terms.near
        if any(term.topology_key not in node.labels for term in terms):
            return False
        if all(_counted(looked.near, term, node) > 0 for term in terms):
            return True
        # Of several that want to be near to each other one has to be the first.
        return not any(count > 0 for count in looked.near.values()) and self._all_mean(terms, pod)

    def _count(self, looked: _Looked, pod: PodInfo, other: PodInfo, node: NodeInfo, sign: int) -> None:
        """A pod on a node counts, or counts no more."""
        labels, terms = node.labels, looked.terms
        if terms.near and self._all_mean(terms.near, other):
            _add(looked.near, terms.near, labels, sign)
        _add(looked.far, [term for term in terms.far if term.means(other, self._labels_of)], labels, sign)
        theirs = terms_of(other).far
        _add(looked.unwanted, [term for term in theirs if term.means(pod, self._labels_of)], labels, sign)

    def _all_mean(self, terms: Sequence[Term], pod: PodInfo) -> bool:
        return all(term.means(pod, self._labels_of) for term in terms)

    def _labels_of(self, namespace: str) -> Mapping[str, str]:
        found = self._namespaces.get(Key("", namespace))
        return labels_of(found) if found is not None else {}

    # -- what is preferred -------------------------------------------------------------------------------------------

    def pre_score(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Skip | None:
        terms = terms_of(pod)
        prefers = bool(terms.rather_near or terms.rather_far)
        totals: Counts = Counter()
        for node in self._nodes:
            for other in (node.pods if prefers else node.demanding).values():
                _weigh(totals, node, terms, other, self._labels_of)
                theirs = terms_of(other)
                _weigh(totals, node, theirs, pod, self._labels_of)
                held = [term for term in theirs.near if term.means(pod, self._labels_of)]
                _add(totals, held, node.labels, _HARD_WEIGHT)
        if not totals:
            return SKIP
        state[f"{self.name} score"] = totals
        return None

    def score(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> int:
        """The sum of the weights that hold on a node; `scores` makes it relative."""
        totals: Counts = state[f"{self.name} score"]
        return sum(totals.get(pair, 0) for pair in node.labels.items())

    def scores(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> list[int]:
        sums = [self.score(state, pod, node) for node in nodes]
        least, most = min(sums), max(sums)
        if most == least:
            return [0] * len(sums)
        return [MAX_SCORE * (each - least) // (most - least) for each in sums]


def _counted(counts: Counts, term: Term, node: NodeInfo) -> int:
    value = node.labels.get(term.topology_key)
    return counts.get((term.topology_key, value), 0) if value is not None else 0


def _add(counts: Counts, terms: Iterable[Term], labels: Mapping[str, str], number: int) -> None:
    for term in terms:
        value = labels.get(term.topology_key)
        if value is not None:
            counts[term.topology_key, value] += number


def _weigh(counts: Counts, node: NodeInfo, terms: Terms, pod: PodInfo, namespace_labels: NamespaceLabels) -> None:
    """Add what the preferences of one pod make of another."""
    for sign, preferences in ((1, terms.rather_near), (-1, terms.rather_far)):
        for term in preferences:
            if term.means(pod, namespace_labels):
                _add(counts, (term,), node.labels, sign * term.weight)
