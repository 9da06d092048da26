"""The ReplicaSet controller: the outline. How many pods, and which, is decided in `replicas.py` and `victims.py`.

Pods come and go between a write and the moment when the cache shows it; expectations cover that gap, so that no pod is
made or deleted twice for one want. While expectations are open the controller only writes the status.

Mirrors upstream's replica set controller ("ReplicaSet" in the concepts): adoption and release by selector, events
SuccessfulCreate, SuccessfulDelete, FailedCreate and FailedDelete.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import attrs

from kube_core.api import pods, resources
from kube_core.control.action import Action, await_change, requeue
from kube_core.control.claims import controller_reference
from kube_core.control.controller import Controller, ControllerContext, Watch, to_itself
from kube_core.control.expectations import Expectations
from kube_core.meta import selectors
from kube_core.meta.documents import (
    Document,
    Key,
    controller_of,
    is_deleting,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
)
from kube_core.meta.status import NotFound, StatusError
from kube_plugins.controllers.adoption import ORPHAN_INDEX, claim_objects, orphan_namespaces
from kube_plugins.controllers.replicaset.replicas import Plan, plan_replicas, pod_from_template, slow_start, wanted
from kube_plugins.controllers.replicaset.status import calculate_status, seconds_until_available

__all__ = ["ReplicaSetController"]


@attrs.frozen
class _Outcome:
    """How carrying out a plan went; `error` is the first failure that should be tried again."""

    error: StatusError | None = None


class ReplicaSetController(Controller):
    """Keeps as many pods as a ReplicaSet asks for."""

    workers = 5

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        self._events = context.events
        self._expectations = Expectations(context.clock)
        self._replica_sets = context.informers.informer(resources.REPLICA_SETS).lister
        informer = context.informers.informer(resources.PODS)
        informer.add_index(ORPHAN_INDEX, orphan_namespaces)
        # Before the runtime's own handler, so that a key is never reconciled ahead of what it waited for.
        informer.add_handler(self._observe_pod)
        self._pods = informer.lister

    def watches(self) -> Iterable[Watch]:
        return (Watch(resources.REPLICA_SETS, to_itself), Watch(resources.PODS, self._replica_sets_of_pod))

    async def reconcile(self, key: Key) -> Action:
        replica_set = self._replica_sets.get(key)
        if replica_set is None:
            self._expectations.forget(key)
            return await_change()
        may_act = self._expectations.satisfied(key) and not is_deleting(replica_set)
        owned = await self._claim(replica_set)
        plan, outcome = Plan(), _Outcome()
        if may_act:
            active = [pod for pod in owned if pods.is_active(pod)]
            too_many = len(active) > wanted(replica_set)
            related = self._related(replica_set, active) if too_many else ()
            plan = plan_replicas(replica_set, active, related, self.clock.now())
            outcome = await self._carry_out(key, replica_set, plan)
        await self._write_status(replica_set, owned, plan, outcome)
        if outcome.error is not None:
            raise outcome.error
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

    async def _carry_out(self, key: Key, replica_set: Document, plan: Plan) -> _Outcome:
        if plan.create:
            return await self._create(key, replica_set, plan.create)
        if plan.delete:
            return await self._delete(key, replica_set, plan.delete)
        return _Outcome()

    async def _create(self, key: Key, replica_set: Document, count: int) -> _Outcome:
        self._expectations.expect_creations(key, count)
        started = 0
        try:
            for batch in slow_start(count):
                started += batch
                answers = await asyncio.gather(*(self._create_one(key, replica_set) for _ in range(batch)))
                failures = [answer for answer in answers if answer is not None]
                if failures:
                    # In a namespace that is going nothing can be made, now or later.
                    ending = all(_is_namespace_ending(failure) for failure in failures)
                    return _Outcome(None if ending else failures[0])
        finally:
            for _ in range(count - started):  # what was never tried will never be seen
                self._expectations.creation_observed(key)
        return _Outcome()

    async def _create_one(self, key: Key, replica_set: Document) -> StatusError | None:
        try:
            pod = await self.client.create(
                resources.PODS, pod_from_template(replica_set, controller_reference(replica_set))
            )
        except StatusError as error:
            self._expectations.creation_observed(key)
            if not _is_namespace_ending(error):
                self._events.warning(replica_set, "FailedCreate", f"Error creating: {error.message}")
            return error
        except BaseException:
            self._expectations.creation_observed(key)
            raise
        self._events.normal(replica_set, "SuccessfulCreate", f"Created pod: {name_of(pod)}")
        return None

    async def _delete(self, key: Key, replica_set: Document, victims: Sequence[Document]) -> _Outcome:
        self._expectations.expect_deletions(key, [uid_of(pod) for pod in victims])
        answers = await asyncio.gather(*(self._delete_one(key, replica_set, pod) for pod in victims))
        return _Outcome(next((answer for answer in answers if answer is not None), None))

    async def _delete_one(self, key: Key, replica_set: Document, pod: Document) -> StatusError | None:
        try:
            await self.client.delete(resources.PODS, name_of(pod), namespace_of(pod), uid=uid_of(pod))
        except NotFound:
            self._expectations.deletion_observed(key, uid_of(pod))
            return None
        except StatusError as error:
            self._expectations.deletion_observed(key, uid_of(pod))
            self._events.warning(replica_set, "FailedDelete", f"Error deleting: {error.message}")
            return error
        except BaseException:
            self._expectations.deletion_observed(key, uid_of(pod))
            raise
        self._events.normal(replica_set, "SuccessfulDelete", f"Deleted pod: {name_of(pod)}")
        return None

    async def _write_status(
        self, replica_set: Document, owned: Sequence[Document], plan: Plan, outcome: _Outcome
    ) -> None:
        failure = outcome.error.message if outcome.error is not None else ""
        status = calculate_status(replica_set, owned, self.clock.now(), surplus=plan.surplus, failure=failure)
        if status != (replica_set.get("status") or {}):
            await self.client.update_status(resources.REPLICA_SETS, {**replica_set, "status": status})

    # From changes to keys, and to what was waited for.

    def _observe_pod(self, before: Document | None, after: Document | None) -> None:
        if before is None and after is not None and not is_deleting(after):
            key = _owner_key(after)
            if key is not None:
                self._expectations.creation_observed(key)
            return
        pod = after if after is not None else before
        if pod is not None and (after is None or is_deleting(pod)):
            key = _owner_key(pod)
            if key is not None:
                self._expectations.deletion_observed(key, uid_of(pod))

    def _replica_sets_of_pod(self, pod: Document) -> Iterable[Key]:
        if controller_of(pod) is not None:
            key = _owner_key(pod)
            return () if key is None else (key,)
        return [
            key_of(replica_set)
            for replica_set in self._replica_sets.list(namespace_of(pod))
            if selectors.from_document(replica_set["spec"].get("selector")).matches(labels_of(pod))
        ]


def _owner_key(pod: Document) -> Key | None:
    owner = controller_of(pod)
    if owner is None or owner.get("kind") != "ReplicaSet":
        return None
    return Key(namespace_of(pod), str(owner["name"]))


def _is_namespace_ending(error: StatusError) -> bool:
    return any(cause.get("reason") == "NamespaceTerminating" for cause in error.causes)
