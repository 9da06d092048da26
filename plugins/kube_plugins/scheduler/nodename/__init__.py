"""NodeName: a pod that names its node runs there and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable

from kube_core.api import resources
from kube_core.scheduler.framework import (
    SKIP,
    CycleState,
    Filter,
    Interest,
    PreFilter,
    Rejection,
    SchedulerHandle,
    Skip,
)
from kube_core.scheduler.nodes import NodeInfo
from kube_core.scheduler.pods import PodInfo

__all__ = ["NodeName"]

_OTHER = Rejection("NodeName", ("node(s) didn't match the requested node name",), resolvable=False)


class NodeName(PreFilter, Filter):
    name = "NodeName"

    def __init__(self, handle: SchedulerHandle) -> None:
        pass

    def interests(self) -> Iterable[Interest]:
        return (Interest(resources.NODES, frozenset(("add",))),)

    def pre_filter(self, state: CycleState, pod: PodInfo) -> Skip | None:
        return None if pod.spec.get("nodeName") else SKIP

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Rejection | None:
        return None if pod.spec.get("nodeName") == node.name else _OTHER
