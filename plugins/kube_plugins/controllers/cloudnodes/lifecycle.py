"""Takes nodes away whose machine is gone, and marks those whose machine is switched off.

Only nodes that are not ready are asked for, every five seconds: a ready one has a machine. Mirrors upstream's
cloud-node-lifecycle-controller.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, cast

from kube_core.abc.cloud import CloudDriver
from kube_core.api import resources
from kube_core.control.action import Action, await_change, requeue
from kube_core.control.conditions import is_condition_true
from kube_core.control.controller import Controller, ControllerContext, Watch
from kube_core.meta.documents import Document, Key, is_deleting, name_of, uid_of
from kube_core.meta.status import NotFound, StatusError
from kube_plugins.controllers.cloudnodes.taints import SHUT_DOWN, has_taint, with_taints, without_taint

__all__ = ["CloudNodeLifecycle"]

_PERIOD: Final = 5.0


class CloudNodeLifecycle(Controller):
    """See the module's docstring."""

    workers = 1

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        self._cloud = cast(CloudDriver, context.drivers["cloud.instances"])
        self._nodes = context.informers.lister(resources.NODES)

    def watches(self) -> Iterable[Watch]:
        yield Watch(resources.NODES, predicate=_readiness_changed)

    async def reconcile(self, key: Key) -> Action:
        node = self._nodes.get(key)
        if node is None or is_deleting(node):
            return await_change()
        if is_condition_true(node, "Ready"):
            if has_taint(node, SHUT_DOWN):
                await self.client.patch(resources.NODES, key.name, with_taints(node, without_taint(node, SHUT_DOWN)))
            return await_change()
        instance = await self._cloud.instance(key.name, str((node.get("spec") or {}).get("providerID") or ""))
        if instance is None:
            await self._delete(node)
            return await_change()
        if instance.shut_down and not has_taint(node, SHUT_DOWN):
            taint = {"key": SHUT_DOWN, "effect": "NoSchedule"}
            taints = [*without_taint(node, SHUT_DOWN), taint]
            await self.client.patch(resources.NODES, key.name, with_taints(node, taints))
        return requeue(_PERIOD)

    async def _delete(self, node: Document) -> None:
        name, events = name_of(node), self.context.events
        why = f"Deleting node {name} because it does not exist in the cloud provider"
        events.normal(node, "DeletingNode", why)
        try:
            await self.client.delete(resources.NODES, name, uid=uid_of(node))
        except NotFound:
            pass
        except StatusError as error:
            events.warning(node, "DeletingNodeFailed", f"Failed deleting node {name}: {error.message}")
            raise


def _readiness_changed(before: Document | None, after: Document | None) -> bool:
    if before is None or after is None:
        return True
    return is_condition_true(before, "Ready") != is_condition_true(after, "Ready")
