"""NodeUnschedulable: a cordoned node takes only pods that tolerate being on one."""

from __future__ import annotations

from collections.abc import Iterable

from kube_core.api import resources
from kube_core.api.taints import tolerates
from kube_core.scheduler.framework import CycleState, Filter, Interest, Rejection, SchedulerHandle
from kube_core.scheduler.nodes import NodeInfo
from kube_core.scheduler.pods import PodInfo

__all__ = ["NodeUnschedulable"]

_CORDONED = Rejection("NodeUnschedulable", ("node(s) were unschedulable",), resolvable=False)
_TAINT = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}


class NodeUnschedulable(Filter):
    name = "NodeUnschedulable"

    def __init__(self, handle: SchedulerHandle) -> None:
        pass

    def interests(self) -> Iterable[Interest]:
        return (Interest(resources.NODES, frozenset(("add", "update"))),)

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Rejection | None:
        if not node.unschedulable or tolerates(pod.spec.get("tolerations") or (), _TAINT):
            return None
        return _CORDONED
