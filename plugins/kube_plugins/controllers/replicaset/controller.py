"""The ReplicaSet controller: the outline. How many pods, and which, is decided in `replicas.py` and `victims.py`.

Pods come and go between a write and the moment when the cache shows it; expectations cover that gap, so that no pod is
made or deleted twice for one want. While expectations are open the controller only writes the status.

Mirrors upstream's replica set controller ("ReplicaSet" in the concepts): adoption and release by selector, events
SuccessfulCreate, SuccessfulDelete, FailedCreate and FailedDelete.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kube_core.api import pods, resources
from kube_core.control.action import Action, await_change, requeue
from kube_core.control.claims import controller_reference
from kube_core.control.controller import Controller, ControllerContext, Watch, to_itself
from kube_core.meta import selectors
from kube_core.meta.documents import (
    Document,
    Key,
    controller_of,
    is_deleting,
    key_of,
    labels_of,
    namespace_of,
    uid_of,
)
from kube_core.meta.status import StatusError
from kube_plugins.controllers.adoption import ORPHAN_INDEX, claim_objects, orphan_namespaces
from kube_plugins.controllers.podwrites import PodWrites, owner_key
from kube_plugins.controllers.replicaset.replicas import Plan, plan_replicas, pod_from_template, wanted
from kube_plugins.controllers.replicaset.status import calculate_status, seconds_until_available

__all__ = ["ReplicaSetController"]


class ReplicaSetController(Controller):
    """Keeps as many pods as a ReplicaSet asks for."""

    workers = 5

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        self._writes = PodWrites("ReplicaSet", self.client, context.events, self.clock)
        self._replica_sets = context.informers.informer(resources.REPLICA_SETS).lister
        informer = context.informers.informer(resources.PODS)
        informer.add_index(ORPHAN_INDEX, orphan_namespaces)
        # Before the runtime's own handler, so that a key is never reconciled ahead of what it waited for.
        informer.add_handler(self._writes.observe)
        self._pods = informer.lister

    def watches(self) -> Iterable[Watch]:
        return (Watch(resources.REPLICA_SETS, to_itself), Watch(resources.PODS, self._replica_sets_of_pod))

    async def reconcile(self, key: Key) -> Action:
        replica_set = self._replica_sets.get(key)
        if replica_set is None:
            self._writes.forget(key)
            return await_change()
        may_act = self._writes.settled(key) and not is_deleting(replica_set)
        owned = await self._claim(replica_set)
        plan, error = Plan(), None
        if may_act:
            active = [pod for pod in owned if pods.is_active(pod)]
            too_many = len(active) > wanted(replica_set)
            related = self._related(replica_set, active) if too_many else ()
            plan = plan_replicas(replica_set, active, related, self.clock.now())
            error = await self._carry_out(replica_set, plan)
        await self._write_status(replica_set, owned, plan, error)
        if error is not None:
            raise error
        after = seconds_until_available(replica_set, owned, self.clock.now())
        return requeue(after) if after is not None else await_change()

    async def _claim(self, replica_set: Document) -> list[Document]:
        owned = self._pods.by_index("owner", uid_of(replica_set))
        orphans = self._pods.by_index(ORPHAN_INDEX, namespace_of(replica_set))
        # A pod that has ended, or is ending, is neither wanted nor let go.
        candidates = [*owned, *(pod for pod in orphans if pods.is_active(pod))]
        return await claim_objects(self.client, replica_set, resources.REPLICA_SETS, resources.PODS, candidates)

    def _related(self, replica_set: Document, active: Sequence[Document]) -> Iterable[Document]:
        """The active pods of all the replica sets that this one's owner has."""
        owner = controller_of(replica_set)
        if owner is None:
            return active
        siblings = self._replica_sets.by_index("owner", str(owner.get("uid")))
        return [
            pod for sibling in siblings for pod in self._pods.by_index("owner", uid_of(sibling)) if pods.is_active(pod)
        ]

    async def _carry_out(self, replica_set: Document, plan: Plan) -> StatusError | None:
        if plan.create:
            owner = controller_reference(replica_set)
            return await self._writes.create(
                replica_set, plan.create, lambda _number: pod_from_template(replica_set, owner)
            )
        if plan.delete:
            return await self._writes.delete(replica_set, plan.delete)
        return None

    async def _write_status(
        self, replica_set: Document, owned: Sequence[Document], plan: Plan, error: StatusError | None
    ) -> None:
        failure = error.message if error is not None else ""
        status = calculate_status(replica_set, owned, self.clock.now(), surplus=plan.surplus, failure=failure)
        if status != (replica_set.get("status") or {}):
            await self.client.update_status(resources.REPLICA_SETS, {**replica_set, "status": status})

    # From changes to keys.

    def _replica_sets_of_pod(self, pod: Document) -> Iterable[Key]:
        if controller_of(pod) is not None:
            key = owner_key(pod, "ReplicaSet")
            return () if key is None else (key,)
        return [
            key_of(replica_set)
            for replica_set in self._replica_sets.list(namespace_of(pod))
            if selectors.from_document(replica_set["spec"].get("selector")).matches(labels_of(pod))
        ]
