"""The outline: a pod's key → nothing, an eviction to come, or the eviction.

An eviction that is to come stands as long as there is a finite time in which the pod tolerates its node's taints: what
changes meanwhile neither hastens nor delays it, and only tolerating them for good, or their end, calls it off (as with
upstream, whose queue of timed work this mirrors). A pod is evicted once; the condition `DisruptionTarget` says why.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import attrs

from kube_core.api import resources
from kube_core.api.pods import node_name_of
from kube_core.control.action import Action, await_change, requeue
from kube_core.control.controller import Controller, ControllerContext, Watch
from kube_core.meta.documents import Document, Key, key_of, name_of, uid_of
from kube_core.meta.status import NotFound
from kube_plugins.controllers.podsofnodes import disruption, index_by_node, pods_on, status_patch
from kube_plugins.controllers.tainteviction.eviction import no_execute_taints, tolerated_for

__all__ = ["TaintEviction"]

_REASON = "DeletionByTaintManager"
_MESSAGE = "Taint manager: deleting due to NoExecute taint"


@attrs.frozen
class _Planned:
    """`moment` in monotonic seconds; minus infinity once it was carried out."""

    uid: str
    moment: float


class TaintEviction(Controller):
    """Watches pods and the taints of nodes."""

    workers = 8

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        self._nodes = context.informers.lister(resources.NODES)
        self._pods = index_by_node(context.informers.informer(resources.PODS))
        self._planned: dict[Key, _Planned] = {}

    def watches(self) -> Iterable[Watch]:
        return [
            Watch(resources.NODES, self._pods_of, predicate=_taints_changed),
            Watch(resources.PODS, predicate=self._worth_a_look),
        ]

    async def reconcile(self, key: Key) -> Action:
        pod, now = self._pods.get(key), self.clock.monotonic()
        planned = self._planned.get(key)
        if planned is not None and (pod is None or planned.uid != uid_of(pod)):
            self._call_off(key)
            planned = None
        node = self._nodes.get(Key("", node_name_of(pod))) if pod is not None and node_name_of(pod) else None
        if pod is None or node is None:
            # A pod whose node is gone is the pod garbage collector's.
            return await_change()
        taints = no_execute_taints(node)
        seconds = tolerated_for(pod["spec"].get("tolerations") or (), taints) if taints else math.inf
        if seconds == math.inf:
            self._call_off(key)
            return await_change()
        if planned is not None and planned.moment == -math.inf:
            return await_change()
        if seconds > 0:
            if planned is None:
                planned = self._planned[key] = _Planned(uid_of(pod), now + seconds)
            if planned.moment > now:
                return requeue(planned.moment - now)
        elif planned is not None:
            self._call_off(key)
        await self._evict(key, pod)
        return await_change()

    async def _evict(self, key: Key, cached: Document) -> None:
        self.context.events.normal(_reference(key), "TaintManagerEviction", f"Marking for deletion Pod {key}")
        try:
            pod = await self.client.get(resources.PODS, key.name, key.namespace)
            if uid_of(pod) != uid_of(cached):
                return
            condition = disruption(pod, _REASON, _MESSAGE, self.clock.now())
            if condition is not None:
                await self.client.patch(
                    resources.PODS,
                    key.name,
                    status_patch(pod, {"conditions": [condition]}),
                    key.namespace,
                    patch_type="strategic",
                    subresource="status",
                )
            await self.client.delete(resources.PODS, key.name, key.namespace, uid=uid_of(pod))
        except NotFound:
            return
        self._planned[key] = _Planned(uid_of(cached), -math.inf)

    def _call_off(self, key: Key) -> None:
        planned = self._planned.pop(key, None)
        if planned is not None and planned.moment > -math.inf:
            self.context.events.normal(_reference(key), "TaintManagerEviction", f"Cancelling deletion of Pod {key}")

    def _worth_a_look(self, before: Document | None, after: Document | None) -> bool:
        """It has come to a tainted node, or tolerates something else there; or something was planned for it."""
        pod = after or before
        if pod is None or key_of(pod) in self._planned:
            return pod is not None and (after is None or _moved(before, after))
        if after is None or not _moved(before, after):
            return False
        node = self._nodes.get(Key("", node_name_of(after)))
        return node is not None and bool(no_execute_taints(node))

    def _pods_of(self, node: Document) -> Iterable[Key]:
        return map(key_of, pods_on(self._pods, name_of(node)))


def _taints_changed(before: Document | None, after: Document | None) -> bool:
    return [*no_execute_taints(before or {})] != [*no_execute_taints(after or {})]


def _moved(before: Document | None, after: Document) -> bool:
    """Whether its node or its tolerations are others than before."""
    return (
        before is None
        or node_name_of(before) != node_name_of(after)
        or before["spec"].get("tolerations") != after["spec"].get("tolerations")
    )


def _reference(key: Key) -> Document:
    """A pod, of which events tell no uid, as upstream's do not."""
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": key.namespace, "name": key.name}}
