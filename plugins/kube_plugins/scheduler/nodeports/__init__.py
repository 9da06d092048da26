"""NodePorts: host ports that the pod wants must be free on the node."""

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

__all__ = ["NodePorts"]

_TAKEN = Rejection("NodePorts", ("node(s) didn't have free ports for the requested pod ports",))


class NodePorts(PreFilter, Filter):
    name = "NodePorts"

    def __init__(self, handle: SchedulerHandle) -> None:
        pass

    def interests(self) -> Iterable[Interest]:
        return (
            Interest(resources.PODS, frozenset(("delete",))),
            Interest(resources.NODES, frozenset(("add", "update"))),
        )

    def pre_filter(self, state: CycleState, pod: PodInfo) -> Skip | None:
        return None if pod.host_ports else SKIP

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Rejection | None:
        return _TAKEN if any(node.port_taken(port) for port in pod.host_ports) else None
