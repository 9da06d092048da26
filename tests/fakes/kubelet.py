"""A node agent that only pretends: pods that have a node run and are ready, deleted ones go.

For tests of controllers and scheduler without the node's own code. Pods of an image in `broken` run and never become
ready.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from kube_core._kit.clock import Clock
from kube_core.api import pods, resources
from kube_core.client.client import ApiClient
from kube_core.client.informer import Informers
from kube_core.meta.documents import Document, is_deleting, name_of, namespace_of, uid_of
from kube_core.meta.status import NotFound
from kube_core.meta.times import format_time


class PretendedKubelet:
    """For every node at once."""

    def __init__(self, client: ApiClient, informers: Informers, clock: Clock) -> None:
        self.client = client
        self.clock = clock
        self.broken: set[str] = set()
        self._pods = informers.informer(resources.PODS)
        self._todo: asyncio.Queue[Document] = asyncio.Queue()
        self._addresses = itertools.count(1)

    async def register(self, *nodes: dict[str, Any]) -> None:
        """Make nodes, Ready."""
        for node in nodes:
            document = {**node, "metadata": {k: v for k, v in node["metadata"].items() if k in ("name", "labels")}}
            made = await self.client.create(resources.NODES, document)
            ready = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
            status = {"conditions": [ready], "capacity": node["status"]["allocatable"], **node["status"]}
            made = await self.client.update_status(resources.NODES, {**made, "status": status})
            # New nodes are tainted as not ready; taking that away is the node lifecycle controller's.
            await self.client.update(resources.NODES, {**made, "spec": node["spec"]})

    async def run(self) -> None:
        self._pods.add_handler(self._changed)
        while True:
            await self._see_to(await self._todo.get())

    def _changed(self, before: Document | None, after: Document | None) -> None:
        if after is not None and pods.node_name_of(after):
            self._todo.put_nowait(after)

    async def _see_to(self, pod: Document) -> None:
        try:
            if is_deleting(pod):
                await self.client.delete(
                    resources.PODS, name_of(pod), namespace_of(pod), grace_period=0, uid=uid_of(pod)
                )
            elif pods.phase_of(pod) == "Pending":
                await self.client.patch(
                    resources.PODS, name_of(pod), {"status": self._status(pod)}, namespace_of(pod), subresource="status"
                )
        except NotFound:
            pass

    def _status(self, pod: Document) -> dict[str, Any]:
        number = next(self._addresses)
        ip = f"10.244.{number // 250}.{number % 250 + 1}"
        ready = pod["spec"]["containers"][0]["image"] not in self.broken
        now = format_time(self.clock.now())
        conditions = [*((pod.get("status") or {}).get("conditions") or ())]
        conditions.append({"type": "Ready", "status": str(ready), "lastTransitionTime": now})
        return {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": conditions}
