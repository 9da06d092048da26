"""A profile: the plugins of a scheduler, sorted by extension point, and the two questions it answers about a pod.

`place` is the scheduling cycle up to the choice of a node. It is synchronous and writes nothing, but for what plugins
put in the cycle's state. Not all nodes of a large cluster are looked at: as upstream, the search stops when enough
feasible ones are found (all of up to 100; then a share that falls from 50% by 1% for each 125 nodes, to 5% and never
below 100 nodes), and the next pod's search goes on where this one's ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import attrs

from kube_core._kit.random import Random
from kube_core.scheduler.framework import (
    Bind,
    CycleState,
    Filter,
    Interest,
    Permit,
    Plugin,
    PluginSpec,
    PostFilter,
    PostFilterResult,
    PreBind,
    PreEnqueue,
    PreFilter,
    PreScore,
    Rejection,
    Reserve,
    SchedulerHandle,
    Score,
)
from kube_core.scheduler.nodes import NodeInfo, Nodes
from kube_core.scheduler.pods import PodInfo

__all__ = ["Nowhere", "Placement", "Profile", "explain", "nodes_to_find"]

_ALL_OF: Final = 100


@attrs.frozen
class Placement:
    """A node for the pod."""

    node: str
    state: CycleState


@attrs.frozen
class Nowhere:
    """No node for the pod, and why: the answer of each node that was asked, or of the pod as a whole."""

    nodes: int
    rejections: Mapping[str, Rejection]
    refusal: Rejection | None = None
    result: PostFilterResult = attrs.field(factory=PostFilterResult)

    @property
    def plugins(self) -> frozenset[str]:
        """The plugins that refused; what may help is what they are interested in."""
        refused = {rejection.plugin for rejection in self.rejections.values()}
        return frozenset(refused | ({self.refusal.plugin} if self.refusal is not None else set()))

    @property
    def message(self) -> str:
        return explain(self.nodes, self.rejections.values(), self.refusal, self.result.message)


class Profile:
    """Plugins in order, ready to be asked."""

    def __init__(self, specs: Iterable[PluginSpec], handle: SchedulerHandle) -> None:
        self.plugins: list[Plugin] = []
        for spec in specs:
            plugin = spec.factory(attrs.evolve(handle, filters=self.refuses, moved=self.moved))
            if isinstance(plugin, Score):
                plugin.weight = spec.weight
            self.plugins.append(plugin)
        self.pre_enqueue = [plugin for plugin in self.plugins if isinstance(plugin, PreEnqueue)]
        self.pre_filters = [plugin for plugin in self.plugins if isinstance(plugin, PreFilter)]
        self.filters = [plugin for plugin in self.plugins if isinstance(plugin, Filter)]
        self.post_filters = [plugin for plugin in self.plugins if isinstance(plugin, PostFilter)]
        self.pre_scores = [plugin for plugin in self.plugins if isinstance(plugin, PreScore)]
        self.scores = [plugin for plugin in self.plugins if isinstance(plugin, Score)]
        self.reserves = [plugin for plugin in self.plugins if isinstance(plugin, Reserve)]
        self.permits = [plugin for plugin in self.plugins if isinstance(plugin, Permit)]
        self.pre_binds = [plugin for plugin in self.plugins if isinstance(plugin, PreBind)]
        self.binds = [plugin for plugin in self.plugins if isinstance(plugin, Bind)]
        self._next_start = 0

    @property
    def interests(self) -> list[tuple[str, Interest]]:
        """What each plugin may be helped by."""
        return [(plugin.name, interest) for plugin in self.plugins for interest in plugin.interests()]

    def may_enter(self, pod: PodInfo) -> Rejection | None:
        """Whether the pod may be queued."""
        for plugin in self.pre_enqueue:
            if (refusal := plugin.pre_enqueue(pod)) is not None:
                return refusal
        return None

    def place(self, pod: PodInfo, nodes: Nodes, random: Random) -> Placement | Nowhere:
        """Choose a node for the pod, or say why there is none."""
        state: CycleState = {}
        among = self._pre_filter(state, pod)
        if isinstance(among, Rejection):
            rejections = {node.name: among for node in nodes}
            nowhere = Nowhere(len(nodes), rejections, refusal=among)
        else:
            feasible, rejections = self._filter(state, pod, nodes, among)
            if feasible:
                return Placement(self._best(state, pod, feasible, random).name, state)
            nowhere = Nowhere(len(nodes), rejections)
        return attrs.evolve(nowhere, result=self._post_filter(state, pod, rejections))

    def refuses(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Rejection | None:
        """What the filters say about one node, in a cycle that has been begun."""
        for filter_ in state["filters"]:
            if (rejection := filter_(state, pod, node)) is not None:
                refusal: Rejection = rejection
                return refusal
        return None

    def moved(self, state: CycleState, pod: PodInfo, other: PodInfo, node: NodeInfo, sign: int) -> None:
        """Another pod would be on a node, or would not: in a cycle that has been begun."""
        for plugin in self.pre_filters:
            plugin.moved(state, pod, other, node, sign)

    def _pre_filter(self, state: CycleState, pod: PodInfo) -> Rejection | frozenset[str] | None:
        skipped: set[str] = set()
        among: frozenset[str] | None = None
        for plugin in self.pre_filters:
            answer = plugin.pre_filter(state, pod)
            if isinstance(answer, Rejection):
                state["filters"] = ()
                return answer
            if isinstance(answer, str):
                skipped.add(plugin.name)
            elif answer is not None:
                among = answer if among is None else among & answer
        state["filters"] = [plugin.filter for plugin in self.filters if plugin.name not in skipped]
        return among

    def _filter(
        self, state: CycleState, pod: PodInfo, nodes: Nodes, among: frozenset[str] | None
    ) -> tuple[list[NodeInfo], dict[str, Rejection]]:
        ordered = nodes.ordered
        count = len(ordered)
        feasible: list[NodeInfo] = []
        rejections: dict[str, Rejection] = {}
        enough, looked_at = nodes_to_find(count), 0
        start = self._next_start % count if count else 0
        filters: Sequence[Callable[[CycleState, PodInfo, NodeInfo], Rejection | None]] = state["filters"]
        making_room = nodes.has_nominated
        for node in ordered[start:] + ordered[:start]:
            looked_at += 1
            if among is not None and node.name not in among:
                continue
            others = nodes.nominated_before(pod, node.name) if making_room else ()
            if others and (rejection := self._refuses_beside(state, pod, node, others)) is not None:
                rejections[node.name] = rejection
                continue
            for filter_ in filters:
                if (rejection := filter_(state, pod, node)) is not None:
                    rejections[node.name] = rejection
                    break
            else:
                feasible.append(node)
                if len(feasible) >= enough:
                    break
        self._next_start = (start + looked_at) % count if count else 0
        if among is not None and not feasible:
            outside = Rejection("NodeAffinity", ("node(s) didn't satisfy plugin(s) [NodeAffinity]",), resolvable=False)
            rejections |= {node.name: outside for node in ordered if node.name not in among}
        return feasible, rejections

    def _refuses_beside(
        self, state: CycleState, pod: PodInfo, node: NodeInfo, others: Sequence[PodInfo]
    ) -> Rejection | None:
        """What the filters would say if the pods for which room is being made were there.

        The node is changed and changed back within one turn of the loop: nobody sees it.
        """
        for other in others:
            node.add(other)
            self.moved(state, pod, other, node, 1)
        try:
            return self.refuses(state, pod, node)
        finally:
            for other in others:
                node.remove(other)
                self.moved(state, pod, other, node, -1)

    def _post_filter(self, state: CycleState, pod: PodInfo, rejections: Mapping[str, Rejection]) -> PostFilterResult:
        messages: list[str] = []
        keeps = False
        for plugin in self.post_filters:
            result = plugin.post_filter(state, pod, rejections)
            if result.nominated:
                return result
            keeps = keeps or result.keeps_nomination
            if result.message:
                messages.append(result.message)
        return PostFilterResult(", ".join(messages), keeps_nomination=keeps)

    def _best(self, state: CycleState, pod: PodInfo, feasible: Sequence[NodeInfo], random: Random) -> NodeInfo:
        if len(feasible) == 1:
            return feasible[0]
        skipped = {plugin.name for plugin in self.pre_scores if plugin.pre_score(state, pod, feasible) is not None}
        totals = [0] * len(feasible)
        for plugin in self.scores:
            if plugin.name in skipped:
                continue
            weight = plugin.weight
            for position, score in enumerate(plugin.scores(state, pod, feasible)):
                totals[position] += weight * score
        best = max(totals)
        tied = [node for node, total in zip(feasible, totals, strict=True) if total == best]
        return tied[0] if len(tied) == 1 else tied[random.below(len(tied))]


def nodes_to_find(count: int) -> int:
    """How many feasible nodes are enough among `count`."""
    if count < _ALL_OF:
        return count
    share = max(50 - count // 125, 5)
    return max(count * share // 100, _ALL_OF)


def explain(nodes: int, rejections: Iterable[Rejection], refusal: Rejection | None, more: str = "") -> str:
    """The message that the pod's condition and event carry."""
    if nodes == 0:
        return "no nodes available to schedule pods"
    if refusal is not None:
        reasons = ", ".join(refusal.reasons)
    else:
        counts: dict[str, int] = {}
        for rejection in rejections:
            for reason in rejection.reasons:
                counts[reason] = counts.get(reason, 0) + 1
        reasons = ", ".join(sorted(f"{count} {reason}" for reason, count in counts.items()))
    message = f"0/{nodes} nodes are available: {reasons}."
    return f"{message} {more}" if more else message
