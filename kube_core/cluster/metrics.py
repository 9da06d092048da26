"""What the cluster's own components count, beside what its server does, so that one look shows the whole cluster.

Upstream's components each have their own `/metrics`; here they share a process with the server, and so its metrics.
What a name means is said where it is declared: `kube_core.control.metrics`, `kube_core.scheduler.metrics`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from kube_core._kit.metrics import Metrics
from kube_core.abc.transport import Handler, Request, Response
from kube_core.control.metrics import ControllerMetrics
from kube_core.scheduler.metrics import SchedulerMetrics

if TYPE_CHECKING:
    from kube_core.node.agent import NodeAgent

__all__ = ["ComponentMetrics"]


class ComponentMetrics:
    """Controllers, scheduler and nodes of one cluster. `agents`: the nodes that there are, when somebody asks."""

    def __init__(self, metrics: Metrics, agents: Callable[[], Mapping[str, NodeAgent]]) -> None:
        self.controllers = ControllerMetrics(metrics)
        self.scheduler = SchedulerMetrics(metrics)
        metrics.reading(
            "kubelet_node_name", "The nodes of this process.", lambda: [((name,), 1) for name in agents()], "node"
        )
        metrics.reading(
            "kubelet_active_pods",
            "Pods that a node works on.",
            lambda: [((name,), len(agent.pods)) for name, agent in agents().items()],
            "node",
        )

    def counting(self, handle: Handler) -> Handler:
        """The same handler, for clients of components, whose requests are counted."""
        requests = self.controllers.requests

        async def counted(request: Request) -> Response:
            response = await handle(request)
            requests.cell(str(response.status), request.method).value += 1
            return response

        return counted
