"""The outline: a node's key → its conditions where it is silent, its taints, its labels; a pod's key → a pod that was
bound to a node that is not ready.

Heartbeats are noted as they come (`heartbeats.py`). What a node's health means is in `health.py`, and how fast nodes
may be tainted so that their pods are evicted is in `zones.py`. The evictions themselves are the taint eviction
controller's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from kube_core.api import resources
from kube_core.api.pods import is_ready, node_name_of, pod_condition
from kube_core.control.action import Action, await_change, requeue
from kube_core.control.controller import Controller, ControllerContext, Watch
from kube_core.meta.documents import (
    Document,
    Key,
    MutableDocument,
    is_deleting,
    key_of,
    name_of,
    namespace_of,
    thaw,
    uid_of,
)
from kube_core.meta.status import NotFound
from kube_core.meta.times import format_time
from kube_plugins.controllers.nodelifecycle import health
from kube_plugins.controllers.nodelifecycle.heartbeats import Heartbeats
from kube_plugins.controllers.nodelifecycle.zones import Turn, Zones, is_excluded, zone_of
from kube_plugins.controllers.podsofnodes import index_by_node, pods_on, status_patch

__all__ = ["NodeLifecycle"]

LEASES = "kube-node-lease"
#: Seconds in which other nodes' news may arrive before a node's pods are to be evicted: what ails one may ail all.
EVICTION_PASS = 0.1


class NodeLifecycle(Controller):
    """Watches nodes, their leases, and pods that are bound."""

    workers = 8

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        self._nodes = context.informers.lister(resources.NODES)
        self._leases = context.informers.lister(resources.LEASES)
        self._pods = index_by_node(context.informers.informer(resources.PODS))
        self._heard = Heartbeats()
        self._zones = Zones()
        #: Since when nodes wait to be tainted, by name.
        self._waiting: dict[str, float] = {}
        #: Nodes whose pods are still to be marked.
        self._to_mark: set[str] = set()
        #: Nodes that were well, with nothing left to do, as they were then.
        self._well: dict[str, Document] = {}

    def watches(self) -> Iterable[Watch]:
        return [
            Watch(resources.NODES),
            Watch(resources.LEASES, _node_of_lease, predicate=self._worth_a_look),
            Watch(resources.PODS, predicate=self._is_bound_to_trouble),
        ]

    async def reconcile(self, key: Key) -> Action:
        if key.namespace:
            return await self._look_at_pod(key)
        node, moment = self._nodes.get(key), self.clock.monotonic()
        if node is None:
            self._forget(key.name, moment)
            return await_change()
        if self._well.get(key.name) is node and (left := self._heard.left(node, moment)) > 0:
            return requeue(left)
        self._well.pop(key.name, None)
        if is_deleting(node):
            return await_change()
        if key.name not in self._heard:
            self._tell(node, "RegisteredNode", f"Registered Node {key.name} in Controller")
        self._heard.hear_node(node, self._leases.get(Key(LEASES, key.name)), moment, self.clock.now())
        if self._heard.left(node, moment) <= 0 and await self._is_silent(node):
            node = await self._mark_unknown(node)
        if key.name in self._to_mark:
            await self._mark_pods(key.name)
        self._report(node, moment)
        await self._write_taints(node, health.with_scheduling_taints)
        if labels := health.missing_labels(node):
            await self.client.patch(resources.NODES, key.name, {"metadata": {"labels": dict(labels)}})
        wait = await self._evict(node, moment)
        # One that is silent is heard of again by a change of its status.
        if (left := self._heard.left(node, self.clock.monotonic())) > 0:
            if wait == math.inf and self._nodes.get(key) is node and health.ready_status(node) == "True":
                self._well[key.name] = node
            wait = min(wait, left)
        return requeue(wait) if wait < math.inf else await_change()

    # -- heartbeats --------------------------------------------------------------------------------------------------

    def _worth_a_look(self, before: Document | None, after: Document | None) -> bool:
        """A renewal is noted when it comes; only a lease that comes or goes is worth a look by itself."""
        if after is not None and namespace_of(after) == LEASES:
            self._heard.hear_lease(name_of(after), after, self.clock.monotonic())
        return before is None or after is None

    async def _is_silent(self, node: Document) -> bool:
        """Ask the server for the lease: it may be our cache that has fallen behind."""
        try:
            lease = await self.client.get(resources.LEASES, name_of(node), LEASES)
        except NotFound:
            return True
        self._heard.hear_lease(name_of(node), lease, self.clock.monotonic())
        return self._heard.left(node, self.clock.monotonic()) <= 0

    async def _mark_unknown(self, node: Document) -> Document:
        conditions = health.silent_conditions(node, self.clock.now())
        present: Sequence[Document] = (node.get("status") or {}).get("conditions") or ()
        if conditions == present:
            return node
        was_ready = health.ready_status(node) == "True"
        changed = thaw(node)
        changed.setdefault("status", {})["conditions"] = thaw(conditions)
        written = await self.client.update_status(resources.NODES, changed)
        if was_ready:
            self.context.events.normal(node, "NodeNotReady", f"Node {name_of(node)} status is now: NodeNotReady")
            self._to_mark.add(name_of(node))
        return written

    def _forget(self, name: str, moment: float) -> None:
        if uid := self._heard.uid(name):
            gone = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "uid": uid}}
            self._tell(gone, "RemovingNode", f"Removing Node {name} from Controller")
        self._heard.forget(name)
        self._well.pop(name, None)
        self._waiting.pop(name, None)
        self._to_mark.discard(name)
        self._turned(self._zones.forget(name, moment), moment)

    def _tell(self, node: Document, reason: str, message: str) -> None:
        self.context.events.normal(node, reason, f"Node {name_of(node)} event: {message}")

    # -- pods --------------------------------------------------------------------------------------------------------

    async def _look_at_pod(self, key: Key) -> Action:
        pod = self._pods.get(key)
        node = self._nodes.get(Key("", node_name_of(pod))) if pod is not None else None
        # A node that has never said how it is gets its conditions first.
        if pod is not None and node is not None and health.ready_status(node) in ("False", "Unknown"):
            await self._mark_pod(pod)
        return await_change()

    def _is_bound_to_trouble(self, before: Document | None, after: Document | None) -> bool:
        """It was bound just now, to a node that is not ready."""
        if after is None or not node_name_of(after) or (before is not None and node_name_of(before)):
            return False
        node = self._nodes.get(Key("", node_name_of(after)))
        return node is not None and health.ready_status(node) != "True"

    async def _mark_pods(self, node: str) -> None:
        for pod in pods_on(self._pods, node):
            await self._mark_pod(pod)
        self._to_mark.discard(node)

    async def _mark_pod(self, pod: Document) -> None:
        if pod_condition(pod, "Ready") is None:
            return
        if is_ready(pod):
            condition = {"type": "Ready", "status": "False", "lastTransitionTime": format_time(self.clock.now())}
            try:
                await self.client.patch(
                    resources.PODS,
                    name_of(pod),
                    status_patch(pod, {"conditions": [condition]}),
                    namespace_of(pod),
                    patch_type="strategic",
                    subresource="status",
                )
            except NotFound:
                return
            self.context.events.warning(pod, "NodeNotReady", "Node is not ready")

    # -- taints ------------------------------------------------------------------------------------------------------

    def _report(self, node: Document, moment: float) -> None:
        """Let the node's zone know how it is."""
        name, zone = name_of(node), zone_of(node)
        state = self._zones.state(zone)
        if is_excluded(node):
            turn = self._zones.forget(name, moment)
        else:
            turn = self._zones.report(name, zone, ready=health.ready_status(node) == "True", now=moment)
        self._turned(turn, moment)
        if not turn and self._zones.state(zone) != state:
            self.log.info("a zone is in another state", zone=zone, state=self._zones.state(zone))
            for each in self._zones.nodes(zone):
                if each in self._waiting:
                    self.context.enqueue(Key("", each))

    def _turned(self, turn: Turn, moment: float) -> None:
        if not turn:
            return
        if turn == "left":
            self._heard.forgive(moment)
        self.log.info("no node is ready: nobody is evicted" if turn == "entered" else "some nodes are ready again")
        for each in self._zones.all_nodes():
            self.context.enqueue(Key("", each))

    async def _evict(self, node: Document, moment: float) -> float:
        """Have the node's pods evicted, or no longer; seconds until it is to be tried again."""
        name, wanted = name_of(node), health.evicting_taint(node)
        if wanted is None or self._zones.dark:
            self._waiting.pop(name, None)
            if health.is_evicting(node):
                await self._write_taints(node, partial(health.with_evicting_taint, key=None))
            return math.inf
        if health.is_evicting(node, wanted):
            self._waiting.pop(name, None)
            return math.inf
        if not health.is_evicting(node):
            since = self._waiting.setdefault(name, moment)
            if (wait := since + EVICTION_PASS - moment) > 0:
                return wait
            if (wait := self._zones.take(zone_of(node), moment)) > 0:
                return wait
        await self._write_taints(node, partial(health.with_evicting_taint, key=wanted))
        self._waiting.pop(name, None)
        return math.inf

    async def _write_taints(self, node: Document, wanted: Callable[..., Sequence[Document]]) -> None:
        """Give a node the taints that `wanted(node, now=…)` says, where the present ones are others."""
        if _is_so(node, wanted(node, now=self.clock.now())):
            return
        # Kubelets and others write nodes, too; what was just read is seldom behind.
        present = await self.client.get(resources.NODES, name_of(node))
        taints = wanted(present, now=self.clock.now())
        if uid_of(present) == uid_of(node) and not _is_so(present, taints):
            changed: MutableDocument = thaw(present)
            changed.setdefault("spec", {})["taints"] = thaw(taints)
            if not taints:
                del changed["spec"]["taints"]
            await self.client.update(resources.NODES, changed)


def _is_so(node: Document, taints: Sequence[Document]) -> bool:
    return [*taints] == [*((node.get("spec") or {}).get("taints") or ())]


def _node_of_lease(lease: Document) -> Iterable[Key]:
    if namespace_of(lease) == LEASES:
        yield Key("", key_of(lease).name)
