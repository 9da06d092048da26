"""The outline: a node without a range of pod addresses gets one; a node that has one keeps it, as long as it is there.

The nodes of this program come with theirs (their network drivers were given it before the server was there), so this
is for nodes that come from elsewhere. A cluster whose network driver chooses ranges itself does not run it. Mirrors
upstream's range allocator, with its event `CIDRNotAvailable`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kube_core.abc.network import NetworkRanges
from kube_core.api import resources
from kube_core.control.action import Action, await_change
from kube_core.control.controller import Controller, ControllerContext, Watch
from kube_core.meta.documents import Document, Key, name_of, uid_of
from kube_plugins.controllers.nodeipam.ranges import NodeRanges, RangeFull

__all__ = ["NodeIpam"]


class NodeIpam(Controller):
    """Watches nodes."""

    #: One at a time: two nodes that come together must not get one range.
    workers = 1

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        network: NetworkRanges = context.drivers["network"]
        self._nodes = context.informers.lister(resources.NODES)
        self._ranges = NodeRanges(network.pod_cidr)
        self._ranges.occupy(network.service_cidr)
        #: What each node has, by name, with the node's uid.
        self._given: dict[str, tuple[str, Sequence[str]]] = {}
        #: Those for which there was nothing left.
        self._without: set[str] = set()

    def watches(self) -> Iterable[Watch]:
        return (Watch(resources.NODES, predicate=self._worth_a_look),)

    async def start(self) -> None:
        """Know what every node has before any is given something."""
        for node in self._nodes.list():
            self._note(node)

    async def reconcile(self, key: Key) -> Action:
        node = self._nodes.get(key)
        known = self._given.get(key.name)
        if known is not None and (node is None or known[0] != uid_of(node)):
            self._release(key.name)
        if node is None or self._note(node):
            return await_change()
        given = self._given.get(key.name)
        if given is None:
            try:
                given = self._given[key.name] = uid_of(node), [self._ranges.allocate()]
            except RangeFull:
                name = key.name
                self.context.events.normal(node, "CIDRNotAvailable", f"Node {name} status is now: CIDRNotAvailable")
                self._without.add(name)
                return await_change()
        cidrs = [*given[1]]
        await self.client.patch(
            resources.NODES,
            key.name,
            {"metadata": {"uid": given[0]}, "spec": {"podCIDR": cidrs[0], "podCIDRs": cidrs}},
            patch_type="strategic",
        )
        return await_change()

    def _release(self, name: str) -> None:
        """A node is gone: what it had is there for those that got nothing."""
        for cidr in self._given.pop(name)[1]:
            self._ranges.release(cidr)
        for each in self._without:
            self.context.enqueue(Key("", each))
        self._without.clear()

    def _note(self, node: Document) -> bool:
        """Remember what a node has; whether it has something."""
        has = _ranges_of(node)
        if has:
            for cidr in has:
                self._ranges.occupy(cidr)
            self._given[name_of(node)] = uid_of(node), has
        return bool(has)

    def _worth_a_look(self, before: Document | None, after: Document | None) -> bool:
        return before is None or after is None or _ranges_of(before) != _ranges_of(after)


def _ranges_of(node: Document) -> Sequence[str]:
    spec = node.get("spec") or {}
    return [*(spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else []))]
