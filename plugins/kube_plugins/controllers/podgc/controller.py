"""The outline: a node's key → its pods, where it is gone or out of service; a pod's → it, where no node has it; and
one key more, for pods that ended and are too many.

Upstream looks at all pods every 20 s; here what may make garbage is followed instead, so an idle cluster costs nothing
and nothing is found later. A node that is missing is given 40 s to appear, and is then asked for at the server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from kube_core.api import resources
from kube_core.api.pods import is_terminal, node_name_of
from kube_core.control.action import Action, await_change, requeue
from kube_core.control.controller import Controller, ControllerContext, Watch
from kube_core.meta.documents import (
    Document,
    Key,
    MutableDocument,
    is_deleting,
    key_of,
    metadata_of,
    name_of,
    namespace_of,
    uid_of,
)
from kube_core.meta.status import Conflict, NotFound
from kube_plugins.controllers.podgc import garbage
from kube_plugins.controllers.podsofnodes import disruption, index_by_node, pods_on, status_patch

__all__ = ["PodGarbageCollector"]

#: Seconds that a node which nobody has seen gets to appear.
QUARANTINE = 40.0
_AT_ONCE = 50
#: No node has such a name.
_ENDED = Key("", "pods that ended")


class PodGarbageCollector(Controller):
    """Watches pods and nodes."""

    workers = 4

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        self._nodes = context.informers.lister(resources.NODES)
        self._pods = index_by_node(context.informers.informer(resources.PODS))
        #: Nodes that pods are bound to and that are missing, since when (monotonic seconds).
        self._missing: dict[str, float] = {}
        self._ended = 0

    def watches(self) -> Iterable[Watch]:
        return [
            Watch(resources.PODS, _concerned, predicate=self._worth_a_look),
            Watch(resources.PODS, lambda pod: (_ENDED,), predicate=self._too_many),
            Watch(resources.NODES, predicate=_node_worth_a_look),
        ]

    async def reconcile(self, key: Key) -> Action:
        if key == _ENDED:
            await self._delete_all(garbage.surplus(self._pods.list()))
        elif key.namespace:
            pod = self._pods.get(key)
            if pod is not None and garbage.is_unscheduled_and_ending(pod):
                await self._delete(pod)
        else:
            return await self._look_at_node(key.name)
        return await_change()

    async def _look_at_node(self, name: str) -> Action:
        node = self._nodes.get(Key("", name))
        if node is not None:
            self._missing.pop(name, None)
            if garbage.is_out_of_service(node):
                await self._delete_all([pod for pod in pods_on(self._pods, name) if is_deleting(pod)])
            return await_change()
        pods = pods_on(self._pods, name)
        if not pods:
            self._missing.pop(name, None)
            return await_change()
        now = self.clock.monotonic()
        left = self._missing.setdefault(name, now) + QUARANTINE - now
        if left > 0:
            return requeue(left)
        try:
            await self.client.get(resources.NODES, name)
        except NotFound:
            await self._delete_all(pods, orphaned=True)
        self._missing.pop(name, None)
        return await_change()

    async def _delete_all(self, pods: Sequence[Document], *, orphaned: bool = False) -> None:
        """All of them, some at a time; then raise the first failure."""
        for begin in range(0, len(pods), _AT_ONCE):
            deleting = (self._delete(pod, orphaned=orphaned) for pod in pods[begin : begin + _AT_ONCE])
            for failure in await asyncio.gather(*deleting, return_exceptions=True):
                if failure is not None:
                    raise failure

    async def _delete(self, pod: Document, *, orphaned: bool = False) -> None:
        """Say that it failed, unless it had ended, and delete it without asking its node."""
        try:
            if not is_terminal(pod):
                status: MutableDocument = {"phase": "Failed"}
                if generation := metadata_of(pod).get("generation"):
                    status["observedGeneration"] = generation
                if orphaned:
                    condition = disruption(pod, "DeletionByPodGC", "PodGC: node no longer exists", self.clock.now())
                    if condition is not None:
                        status["conditions"] = [condition]
                await self.client.patch(
                    resources.PODS,
                    name_of(pod),
                    status_patch(pod, status),
                    namespace_of(pod),
                    patch_type="strategic",
                    subresource="status",
                )
            await self.client.delete(resources.PODS, name_of(pod), namespace_of(pod), grace_period=0, uid=uid_of(pod))
        except (NotFound, Conflict):
            pass  # it is gone, or another one has its name

    def _worth_a_look(self, before: Document | None, after: Document | None) -> bool:
        """It was bound to a node that is not there, or is being deleted where no node will say that it is gone."""
        if after is None:
            return False
        name = node_name_of(after)
        node = self._nodes.get(Key("", name)) if name else None
        if is_deleting(after) and (before is None or not is_deleting(before)):
            return node is None or garbage.is_out_of_service(node)
        return bool(name) and node is None and (before is None or not node_name_of(before))

    def _too_many(self, before: Document | None, after: Document | None) -> bool:
        """Count the pods that ended; whether there are too many of them since this change."""
        change = (after is not None and is_terminal(after)) - (before is not None and is_terminal(before))
        self._ended += change
        return change > 0 and self._ended > garbage.TERMINATED_THRESHOLD


def _concerned(pod: Document) -> Iterable[Key]:
    """The node that it is bound to, or itself."""
    node = node_name_of(pod)
    yield Key("", node) if node else key_of(pod)


def _node_worth_a_look(before: Document | None, after: Document | None) -> bool:
    if before is None or after is None:
        return True
    return garbage.is_out_of_service(after) and not garbage.is_out_of_service(before)
