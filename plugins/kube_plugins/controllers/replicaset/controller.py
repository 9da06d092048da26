"""The ReplicaSet controller: the outline. How many pods, and which, is decided in `replicas.py` and `victims.py`.

ReplicationControllers, the older form, are kept by the same class with another resource (`replicationcontroller/`).

Pods come and go between a write and the moment when the cache shows it; expectations cover that gap, so that no pod is
made or deleted twice for one want. While expectations are open the controller only writes the status.

Mirrors upstream's replica set controller ("ReplicaSet" in the concepts): adoption and release by selector, events
SuccessfulCreate, SuccessfulDelete, FailedCreate and FailedDelete.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from kube_core.api import pods, resources
from kube_core.api.types import ResourceType
from kube_core.control.action import Action, await_change
from kube_core.control.claims import controller_reference
from kube_core.control.controller import Controller, ControllerContext, Watch, to_itself
from kube_core.meta.documents import (
    Document,
    Key,
    controller_of,
    is_deleting,
)
from kube_core.meta.status import StatusError
from kube_plugins.controllers.adoption import Dependents
from kube_plugins.controllers.podwrites import PodWrites
from kube_plugins.controllers.replicaset.replicas import Plan, plan_replicas, pod_from_template, wanted
from kube_plugins.controllers.replicaset.status import calculate_status, seconds_until_available

__all__ = ["ReplicaSetController"]

#: As many pods are looked at in batches: it would take too long to do so whenever one of them changes.
MANY_PODS = 500
#: Seconds: some ten times as long as the look itself.
REST_PER_POD = 50e-6


class ReplicaSetController(Controller):
    """Keeps as many pods as a ReplicaSet asks for."""

    workers = 5
    resource: ClassVar[ResourceType] = resources.REPLICA_SETS
    #: Whether the status says how many pods are going.
    counts_terminating: ClassVar[bool] = True

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        self._writes = PodWrites(self.resource, self.client, context.events, self.clock)
        self._replica_sets = context.informers.informer(self.resource).lister
        self._pods = Dependents(context, self.resource, resources.PODS)
        # Before the runtime's own handler, so that a key is never reconciled ahead of what it waited for.
        self._pods.informer.add_handler(self._writes.observe)

    def watches(self) -> Iterable[Watch]:
        return (Watch(self.resource, to_itself), Watch(resources.PODS, self._pods.owner_keys))

    async def reconcile(self, key: Key) -> Action:
        replica_set = self._replica_sets.get(key)
        if replica_set is None:
            self._writes.forget(key)
            return await_change()
        may_act = self._writes.settled(key) and not is_deleting(replica_set)
        # A pod that has ended is neither wanted nor let go.
        owned = await self._pods.claim(replica_set, lambda pod: not pods.is_terminal(pod))
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
        return Action(after, rest=len(owned) * REST_PER_POD if len(owned) >= MANY_PODS else 0.0)

    def _related(self, replica_set: Document, active: Sequence[Document]) -> Iterable[Document]:
        """The active pods of all the replica sets that this one's owner has."""
        owner = controller_of(replica_set)
        if owner is None:
            return active
        siblings = self._replica_sets.by_index("owner", str(owner.get("uid")))
        return [pod for sibling in siblings for pod in self._pods.owned(sibling) if pods.is_active(pod)]

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
        if not self.counts_terminating:
            del status["terminatingReplicas"]
        if status != (replica_set.get("status") or {}):
            await self.client.update_status(self.resource, {**replica_set, "status": status})
