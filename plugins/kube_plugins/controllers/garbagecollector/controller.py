"""The garbage collector: deletes what has lost its owners, and carries out the propagation of deletions.

Mirrors upstream's garbage-collector-controller. It watches every resource that can be deleted (`monitors.py`), keeps
the graph of owners from what it sees (`graph.py`), and decides by pure rules (`plan.py`). Keys are uids; looking at
one does whatever its present state asks for:

* an object in foreground deletion has its dependents deleted, and goes once none of them blocks it any more;
* an object in orphaning deletion has its dependents' references to it removed first;
* an object whose owners are all gone, or wait for it to go, is deleted.

Nothing is deleted on the word of a cache alone: that an owner is absent was either seen in the watch, or is asked of
the server; and each write carries the uid and the resource version that the decision was made on, so that an object
that was adopted meanwhile makes it fail, and is looked at again. New kinds are found when a CustomResourceDefinition
changes, and every thirty seconds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from kube_core.api.types import ResourceType
from kube_core.client.discovery import Discovered, Discovery
from kube_core.control.action import Action, await_change, requeue
from kube_core.control.controller import Controller, ControllerContext, Watch
from kube_core.meta.documents import Document, Key, finalizers_of, is_deleting, metadata_of, uid_of
from kube_core.meta.gvk import GroupResource
from kube_core.meta.status import NotFound, StatusError
from kube_plugins.controllers.garbagecollector import plan as plans
from kube_plugins.controllers.garbagecollector.graph import FOREGROUND, ORPHAN, Graph, Node, Owner
from kube_plugins.controllers.garbagecollector.monitors import Monitors

__all__ = ["GarbageCollector"]

#: The key that stands for discovery; no uid looks like it.
_DISCOVERY = Key("", "discovery")
_DISCOVERY_PERIOD = 30.0
_DISCOVERY_RETRY = 2.0
#: How long to wait for the first lists of new monitors, when a decision needs to know every dependent.
_SYNC_PERIOD = 0.1
_DEFINITIONS = GroupResource("apiextensions.k8s.io", "customresourcedefinitions")


class GarbageCollector(Controller):
    """See the module's docstring."""

    workers = 20

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        self.graph = Graph()
        self._monitors = Monitors(context.informers, context.clock, self._changed, self._lost)
        self._discovery = Discovery(self.client)
        self._followed: Discovered | None = None

    def watches(self) -> Iterable[Watch]:
        return ()

    async def start(self) -> None:
        self.context.enqueue(_DISCOVERY)

    async def stop(self) -> None:
        self._monitors.close()

    async def reconcile(self, key: Key) -> Action:
        if key == _DISCOVERY:
            return await self._discover()
        node = self.graph.get(key.name)
        document = self._monitors.document(node.resource, node.key) if node is not None else None
        if node is None or document is None or uid_of(document) != node.uid:
            return await_change()
        if node.orphaning or node.foreground:
            if self._monitors.unsynced:
                return requeue(_SYNC_PERIOD)
            await (self._orphan(node, document) if node.orphaning else self._finish(node, document))
        elif not node.deleting and node.owners:
            return await self._collect(node, document)
        return await_change()

    async def _discover(self) -> Action:
        try:
            discovered = await self._discovery.ask()
            if discovered is not self._followed:
                await self._monitors.follow(discovered)
                self._followed = discovered
        except StatusError as error:
            # Without a cap of its own, the queue's back-off would grow far beyond the period.
            self.log.debug("discovery failed", error=error.message)
            return requeue(_DISCOVERY_RETRY)
        return requeue(_DISCOVERY_PERIOD)

    # -- what the monitors show --------------------------------------------------------------------------------------

    def _changed(self, resource: ResourceType, before: Document | None, after: Document | None) -> None:
        if after is not None:
            if uids := self.graph.observe(resource, after):
                self._look_at(uids)
        elif before is not None:
            self._look_at(self.graph.forget(uid_of(before)))
        if resource.plural == _DEFINITIONS.resource and resource.group_resource == _DEFINITIONS:
            self.context.enqueue(_DISCOVERY)

    def _lost(self, document: Document) -> None:
        self._look_at(self.graph.lose(uid_of(document)))

    def _look_at(self, uids: Collection[str]) -> None:
        for uid in uids:
            self.context.enqueue(Key("", uid))

    # -- an object that nobody asked to delete -----------------------------------------------------------------------

    async def _collect(self, node: Node, document: Document) -> Action:
        owners = await self._sort_owners(node, document)
        plan = plans.plan_for(node, owners, self.graph.dependents(node.uid), finalizers_of(document))
        match plan:
            case plans.RemoveReferences(needless):
                patch = plans.without_owners(document, {owner.uid for owner in needless})
                await self._patch(node, patch)
            case plans.Deletion(propagation, unblock):
                if unblock:
                    document = await self._patch(node, plans.without_blocking(document))
                self.log.debug("deleting", object=f"{node.resource.group_resource} {node.key}", policy=propagation)
                await self.client.delete(
                    node.resource,
                    node.key.name,
                    node.key.namespace,
                    propagation=propagation,
                    uid=node.uid,
                    resource_version=metadata_of(document)["resourceVersion"],
                )
        return requeue(_DISCOVERY_PERIOD) if owners.unknown else await_change()

    async def _sort_owners(self, node: Node, document: Document) -> plans.OwnerStates:
        states = plans.OwnerStates()
        for owner in node.owners:
            (await self._list_for(states, node, owner, document)).append(owner)
        return states

    async def _list_for(self, states: plans.OwnerStates, node: Node, owner: Owner, document: Document) -> list[Owner]:
        """Where an owner belongs. Asks the server only about owners that the watches have not shown."""
        found = self.graph.find_owner(node, owner)
        if found is not None:
            return states.waiting if found.foreground else states.solid
        resource = self._monitors.resource_of(owner.group, owner.kind)
        if resource is not None and resource.namespaced and not node.key.namespace:
            self._report_misplaced(document, owner, node)
            return states.misplaced
        if self.graph.is_known_absent(node, owner):
            return states.dangling
        if resource is None:
            self.log.debug("owner of an unknown kind", kind=owner.kind, api_version=owner.api_version)
            return states.unknown
        present = await self._find(resource, owner, node)
        if present is None:
            self.graph.note_absent(node, owner)
            if self.graph.get(owner.uid) is not None:
                self._report_misplaced(document, owner, node)
            return states.dangling
        return states.waiting if is_deleting(present) and FOREGROUND in finalizers_of(present) else states.solid

    async def _find(self, resource: ResourceType, owner: Owner, node: Node) -> Document | None:
        """The owner as the server has it; None where it has none of that name with that uid."""
        namespace = node.key.namespace if resource.namespaced else ""
        try:
            present = await self.client.get(resource, owner.name, namespace, metadata_only=True)
        except NotFound:
            return None
        return present if uid_of(present) == owner.uid else None

    def _report_misplaced(self, document: Document, owner: Owner, node: Node) -> None:
        """An owner reference cannot reach into another namespace, or from cluster scope into one."""
        message = (
            f"ownerRef [{owner.api_version}/{owner.kind}, namespace: {node.key.namespace}, name: {owner.name}, "
            f'uid: {owner.uid}] does not exist in namespace "{node.key.namespace}"'
        )
        regarding = {**document, "apiVersion": node.resource.api_version, "kind": node.resource.kind}
        self.context.events.warning(regarding, "OwnerRefInvalidNamespace", message)

    # -- an object that is being deleted -----------------------------------------------------------------------------

    async def _finish(self, node: Node, document: Document) -> None:
        """Foreground deletion: have what blocks it deleted, and let it go when nothing does."""
        blocking = plans.blocking_dependents(self.graph, node)
        if not blocking:
            await self._patch(node, plans.without_finalizer(document, FOREGROUND))
            return
        self._look_at([dependent.uid for dependent in blocking if not dependent.foreground])

    async def _orphan(self, node: Node, document: Document) -> None:
        """Leave the dependents behind, and let it go when they are free of it."""
        for dependent in self.graph.dependents(node.uid):
            seen = self._monitors.document(dependent.resource, dependent.key)
            if seen is None or uid_of(seen) != dependent.uid:
                continue
            try:
                await self._patch(dependent, plans.without_owners(seen, {node.uid}))
            except NotFound:
                pass
        await self._patch(node, plans.without_finalizer(document, ORPHAN))

    async def _patch(self, node: Node, patch: Document) -> Document:
        return await self.client.patch(node.resource, node.key.name, patch, node.key.namespace)
