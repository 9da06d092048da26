"""The outline: a node's key → its taints and, when its lease has run out, its conditions.

A heartbeat is a change of the node's lease, noted by the time at which we saw it, so that clocks need not agree.
"""

from __future__ import annotations

from collections.abc import Iterable

from kube_core.api import resources
from kube_core.control.action import Action, await_change, requeue
from kube_core.control.controller import Controller, ControllerContext, Watch
from kube_core.meta.documents import Document, Key, is_deleting, key_of, name_of, namespace_of, thaw
from kube_plugins.controllers.nodelifecycle import health

__all__ = ["NodeLifecycle"]

LEASES = "kube-node-lease"


class NodeLifecycle(Controller):
    """Watches nodes and their leases."""

    workers = 4

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        self._nodes = context.informers.lister(resources.NODES)
        self._leases = context.informers.lister(resources.LEASES)
        #: By node: the last renewal that was seen, and when (monotonic seconds).
        self._heard: dict[str, tuple[str, float]] = {}

    def watches(self) -> Iterable[Watch]:
        return [Watch(resources.NODES), Watch(resources.LEASES, _node_of_lease, predicate=self._worth_a_look)]

    async def reconcile(self, key: Key) -> Action:
        node = self._nodes.get(key)
        if node is None:
            self._heard.pop(key.name, None)
            return await_change()
        if is_deleting(node):
            return await_change()
        silent_for = self._silence(node)
        if silent_for >= health.GRACE_PERIOD:
            node = await self._mark_unknown(node)
        await self._update_taints(node)
        return requeue(max(health.GRACE_PERIOD - silent_for, 1.0) if silent_for < health.GRACE_PERIOD else 10.0)

    def _silence(self, node: Document) -> float:
        """Seconds since the node was last heard of."""
        name = name_of(node)
        if name not in self._heard:
            self.context.events.normal(
                node, "RegisteredNode", f"Node {name} event: Registered Node {name} in Controller"
            )
        self._hear(name, self._leases.get(Key(LEASES, name)))
        return self.clock.monotonic() - self._heard[name][1]

    def _hear(self, name: str, lease: Document | None) -> None:
        renewed = str(((lease or {}).get("spec") or {}).get("renewTime") or "")
        last = self._heard.get(name)
        if last is None or last[0] != renewed:
            self._heard[name] = (renewed, self.clock.monotonic())

    def _worth_a_look(self, before: Document | None, after: Document | None) -> bool:
        """A renewal is noted when it comes; only a lease that comes or goes is worth a look by itself."""
        if before is None or after is None:
            return True
        name = name_of(after)
        if name in self._heard and namespace_of(after) == LEASES:
            self._hear(name, after)
        return False

    async def _mark_unknown(self, node: Document) -> Document:
        conditions = health.silent_conditions(node, self.clock.now())
        if conditions == ((node.get("status") or {}).get("conditions") or []):
            return node
        changed = thaw(node)
        changed.setdefault("status", {})["conditions"] = thaw(conditions)
        self.context.events.normal(node, "NodeNotReady", f"Node {name_of(node)} status is now: NodeNotReady")
        return await self.client.update_status(resources.NODES, changed)

    async def _update_taints(self, node: Document) -> None:
        wanted = health.taints(node, self.clock.now())
        if list(wanted) == list((node.get("spec") or {}).get("taints") or ()):
            return
        changed = thaw(node)
        changed["spec"]["taints"] = thaw(wanted)
        if not wanted:
            del changed["spec"]["taints"]
        await self.client.update(resources.NODES, changed)


def _node_of_lease(lease: Document) -> Iterable[Key]:
    if namespace_of(lease) == LEASES:
        yield Key("", key_of(lease).name)
