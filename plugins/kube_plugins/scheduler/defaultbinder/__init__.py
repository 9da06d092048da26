"""DefaultBinder: bind a pod by its `binding` subresource."""

from __future__ import annotations

from kube_core.api import resources
from kube_core.scheduler.framework import Bind, CycleState, SchedulerHandle
from kube_core.scheduler.pods import PodInfo

__all__ = ["DefaultBinder"]


class DefaultBinder(Bind):
    name = "DefaultBinder"

    def __init__(self, handle: SchedulerHandle) -> None:
        self._client = handle.client

    async def bind(self, state: CycleState, pod: PodInfo, node: str) -> bool:
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": pod.key.name, "namespace": pod.key.namespace, "uid": pod.uid},
            "target": {"kind": "Node", "name": node},
        }
        await self._client.create_subresource(resources.PODS, pod.key.name, "binding", binding, pod.key.namespace)
        return True
