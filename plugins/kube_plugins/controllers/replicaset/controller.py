"""The ReplicaSet controller: the outline. How many pods, and which, is decided in `replicas.py` and `victims.py`.

ReplicationControllers, the older form, are kept by the same class with another resource (`replicationcontroller/`).

Pods come and go between a write and the moment when the cache shows it; expectations cover that gap, so that no pod is
made or deleted twice for one want. While expectations are open the controller only writes the status.

Nearly always its pods need only be counted, and `tally.py` has them counted already; where some are to be adopted, let
go, deleted, or to become available by the clock, each is looked at.

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
from kube_plugins.controllers.adoption import Dependents, selects
from kube_plugins.controllers.podwrites import PodWrites
from kube_plugins.controllers.replicaset.replicas import Plan, plan_replicas, pod_from_template, wanted
from kube_plugins.controllers.replicaset.status import (
    Counts,
    calculate_status,
    count,
    count_sorts,
    min_ready_seconds,
    seconds_until_available,
)
from kube_plugins.controllers.replicaset.tally import Tally
from kube_plugins.controllers.replicaset.victims import choose_victims

__all__ = ["ReplicaSetController"]

#: So many pods change in floods: what becomes of them is told for many changes at once.
MANY_PODS = 500
#: Seconds, and at most so many: some ten times as long as it takes to write the status and what follows from it.
REST_PER_POD, LONGEST_REST = 100e-6, 0.5


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
        # Before the runtime's own handlers, so that a key is never reconciled ahead of what it waited for.
        self._pods.informer.add_handler(self._writes.observe)
        self._tally = Tally(self.resource)
        self._pods.informer.add_handler(self._tally.observe)

    def watches(self) -> Iterable[Watch]:
        return (Watch(self.resource, to_itself), Watch(resources.PODS, self._pods.owner_keys))

    async def reconcile(self, key: Key) -> Action:
        replica_set = self._replica_sets.get(key)
        if replica_set is None:
            self._writes.forget(key)
            return await_change()
        may_act = self._writes.settled(key) and not is_deleting(replica_set)
        counts, owned = self._counted(replica_set), []
        if counts is None or (may_act and counts.active > wanted(replica_set)):
            owned = await self._pods.claim(replica_set, _counts)
            counts = count(replica_set, owned, self.clock.now())
        plan = plan_replicas(replica_set, counts.active) if may_act else Plan()
        error = await self._carry_out(replica_set, plan, owned)
        await self._write_status(replica_set, counts, plan, error)
        if error is not None:
            raise error
        after = seconds_until_available(replica_set, owned, self.clock.now())
        there = counts.active + counts.terminating
        return Action(after, rest=min(there * REST_PER_POD, LONGEST_REST) if there >= MANY_PODS else 0.0)

    def _counted(self, replica_set: Document) -> Counts | None:
        """Its pods, by number; None where they have to be looked at for more than that."""
        if min_ready_seconds(replica_set):
            return None
        sorts, matches = self._tally.of(replica_set), selects(replica_set)
        if not all(matches(dict(sort.labels)) for sort in sorts) or self._pods.adoptable(replica_set, _counts):
            return None
        return count_sorts(replica_set, sorts)

    def _related(self, replica_set: Document, active: Sequence[Document]) -> Iterable[Document]:
        """The active pods of all the replica sets that this one's owner has."""
        owner = controller_of(replica_set)
        if owner is None:
            return active
        siblings = self._replica_sets.by_index("owner", str(owner.get("uid")))
        return [pod for sibling in siblings for pod in self._pods.owned(sibling) if pods.is_active(pod)]

    async def _carry_out(self, replica_set: Document, plan: Plan, owned: Sequence[Document]) -> StatusError | None:
        """`owned` need only be known where the plan deletes."""
        if plan.create:
            owner = controller_reference(replica_set)
            made = await self._writes.create(
                replica_set, plan.create, lambda _number: pod_from_template(replica_set, owner)
            )
            return made.error
        if plan.delete:
            active = [pod for pod in owned if pods.is_active(pod)]
            related = self._related(replica_set, active)
            return await self._writes.delete(
                replica_set, choose_victims(active, related, plan.delete, self.clock.now())
            )
        return None

    async def _write_status(self, replica_set: Document, counts: Counts, plan: Plan, error: StatusError | None) -> None:
        failure = error.message if error is not None else ""
        status = calculate_status(replica_set, counts, self.clock.now(), surplus=plan.surplus, failure=failure)
        if not self.counts_terminating:
            del status["terminatingReplicas"]
        if status != (replica_set.get("status") or {}):
            await self.client.update_status(self.resource, {**replica_set, "status": status})


def _counts(pod: Document) -> bool:
    """A pod that has ended is neither wanted nor let go."""
    return not pods.is_terminal(pod)
