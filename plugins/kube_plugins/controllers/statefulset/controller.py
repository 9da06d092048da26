"""The StatefulSet controller: the outline. Which pods to make, mend and end is decided in `plan.py`.

Pods and claims are found by their names, so nothing is made twice however far the caches lag: a second creation is
refused, and a deletion names the uid that it means. Steps are carried out in their order; the first that fails ends the
reconciliation, which is tried again.

Mirrors upstream's stateful set controller ("StatefulSets" in the concepts), with its events.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kube_core.api import pods, resources
from kube_core.api.types import ResourceType
from kube_core.control.action import Action, await_change, requeue
from kube_core.control.controller import Controller, ControllerContext, Watch, to_itself
from kube_core.meta.documents import (
    Document,
    Key,
    MutableDocument,
    is_deleting,
    key_of,
    name_of,
    namespace_of,
    owner_references_of,
    thaw,
    uid_of,
)
from kube_core.meta.status import AlreadyExists, NotFound, StatusError
from kube_plugins.controllers.adoption import Dependents
from kube_plugins.controllers.history import Found, clean_up, ensure_revision, template_of
from kube_plugins.controllers.podwrites import is_namespace_ending
from kube_plugins.controllers.statefulset.identity import (
    claim_references,
    claims_of,
    goes_with_pod,
    make_pod,
    ordinal_of,
    revision_of,
    with_identity,
)
from kube_plugins.controllers.statefulset.plan import Create, Delete, Mend, Step, plan_steps, split
from kube_plugins.controllers.statefulset.status import calculate_status, seconds_until_available
from kube_plugins.controllers.written import LastWritten

__all__ = ["StatefulSetController"]

_HASH_LABEL = "controller.kubernetes.io/hash"
#: Seconds until a pod is tried again whose claim is still being deleted.
_CLAIM_WAIT = 1.0


class StatefulSetController(Controller):
    """Keeps pods with names and claims of their own, in order."""

    workers = 5

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        self._events = context.events
        informers = context.informers
        self._sets = informers.informer(resources.STATEFUL_SETS).lister
        self._claims = informers.informer(resources.PERSISTENT_VOLUME_CLAIMS).lister
        self._pods = Dependents(context, resources.STATEFUL_SETS, resources.PODS)
        self._revisions = Dependents(context, resources.STATEFUL_SETS, resources.CONTROLLER_REVISIONS)
        self._written = LastWritten()

    def watches(self) -> Iterable[Watch]:
        return (Watch(resources.STATEFUL_SETS, to_itself), Watch(resources.PODS, self._pods.owner_keys))

    def reads(self) -> Iterable[ResourceType]:
        return (resources.PERSISTENT_VOLUME_CLAIMS, resources.CONTROLLER_REVISIONS)

    async def reconcile(self, key: Key) -> Action:
        cached = self._sets.get(key)
        if cached is None:
            self._written.forget(key)
            return await_change()
        stateful_set = self._written.newest(cached)
        found = await self._pods.claim(stateful_set, lambda pod: ordinal_of(stateful_set, pod) is not None)
        revisions = await self._revisions.claim(stateful_set)
        history = await ensure_revision(self.client, stateful_set, revisions, _HASH_LABEL)
        current = self._current(stateful_set, history)
        waiting = False
        try:
            if not is_deleting(stateful_set):
                await self._keep_claims(stateful_set, found)
                steps = plan_steps(stateful_set, found, name_of(history.update), self.clock.now())
                waiting = not await self._carry_out(stateful_set, steps, current, history.update)
        finally:
            await self._write_status(stateful_set, found, current, history)
        live = {name_of(current), name_of(history.update), *(revision_of(pod) for pod in found)}
        await clean_up(self.client, stateful_set, history.revisions, live)
        after = seconds_until_available(stateful_set, found, self.clock.now())
        if waiting:
            return requeue(_CLAIM_WAIT)
        return requeue(after) if after is not None else await_change()

    def _current(self, stateful_set: Document, history: Found) -> Document:
        """The revision of the replicas that are not updated yet."""
        name = (stateful_set.get("status") or {}).get("currentRevision")
        return next((each for each in history.revisions if name_of(each) == name), history.update)

    async def _carry_out(
        self, stateful_set: Document, steps: Sequence[Step], current: Document, update: Document
    ) -> bool:
        """False where a pod has to wait for its claims."""
        for step in steps:
            match step:
                case Create(ordinal, revision):
                    if not await self._make(stateful_set, ordinal, current if revision == "current" else update):
                        return False
                case Delete(pod):
                    await self._delete(stateful_set, pod)
                case Mend(pod, ordinal):
                    await self._mend(stateful_set, with_identity(stateful_set, pod, ordinal))
        return True

    async def _make(self, stateful_set: Document, ordinal: int, revision: Document) -> bool:
        pod = make_pod(stateful_set, template_of(revision), name_of(revision), ordinal)
        what = f"Create Pod {name_of(pod)} in StatefulSet {name_of(stateful_set)}"
        known = [self._claims.get(key_of(claim)) for claim in claims_of(stateful_set, ordinal)]
        if any(claim is not None and goes_with_pod(claim, name_of(pod)) for claim in known):
            return False  # it is about to go with an earlier pod of that name
        try:
            if not await self._make_claims(stateful_set, ordinal):
                return False
        except StatusError as error:
            if not is_namespace_ending(error):
                self._events.warning(stateful_set, "FailedCreate", f"{what} failed error: {error.message}")
            raise
        try:
            await self.client.create(resources.PODS, pod)
        except AlreadyExists:
            raise  # The cache will show it; or it is somebody else's, and stands in the way.
        except StatusError as error:
            if is_namespace_ending(error):
                return True
            self._events.warning(stateful_set, "FailedCreate", f"{what} failed error: {error.message}")
            raise
        self._events.normal(stateful_set, "SuccessfulCreate", f"{what} successful")
        return True

    async def _make_claims(self, stateful_set: Document, ordinal: int) -> bool:
        for claim in claims_of(stateful_set, ordinal):
            known = self._claims.get(key_of(claim))
            if known is not None:
                if is_deleting(known):
                    return False
                continue
            owners = claim_references(stateful_set, claim, None, condemned=False)
            if owners:
                claim["metadata"]["ownerReferences"] = owners
            where = f"Pod {name_of(stateful_set)}-{ordinal} in StatefulSet {name_of(stateful_set)}"
            try:
                await self.client.create(resources.PERSISTENT_VOLUME_CLAIMS, claim)
            except AlreadyExists:
                continue
            except StatusError as error:
                if not is_namespace_ending(error):
                    message = f"Create Claim {name_of(claim)} for {where} failed error: {error.message}"
                    self._events.warning(stateful_set, "FailedCreate", message)
                raise
            self._events.normal(stateful_set, "SuccessfulCreate", f"Create Claim {name_of(claim)} {where} success")
        return True

    async def _keep_claims(self, stateful_set: Document, found: Sequence[Document]) -> None:
        """Claims that a pending pod lacks, and the owners that the retention policy gives them."""
        if not stateful_set["spec"].get("volumeClaimTemplates"):
            return
        members, condemned = split(stateful_set, found)
        for ordinal, pod in members.items():
            if pods.phase_of(pod) == "Pending" and not is_deleting(pod):
                await self._make_claims(stateful_set, ordinal)
            await self._keep_owners(stateful_set, ordinal, pod, condemned=False)
        for pod in condemned:
            place = ordinal_of(stateful_set, pod)
            if place is not None:
                await self._keep_owners(stateful_set, place, pod, condemned=True)

    async def _keep_owners(self, stateful_set: Document, ordinal: int, pod: Document, *, condemned: bool) -> None:
        for wanted in claims_of(stateful_set, ordinal):
            claim = self._claims.get(key_of(wanted))
            if claim is None or is_deleting(claim):
                continue
            owners = claim_references(stateful_set, claim, pod, condemned=condemned)
            before = owner_references_of(claim)
            if [each.get("uid") for each in owners] == [each.get("uid") for each in before]:
                continue
            changed = thaw(claim)
            changed["metadata"]["ownerReferences"] = thaw(owners)
            await self.client.update(resources.PERSISTENT_VOLUME_CLAIMS, changed)

    async def _mend(self, stateful_set: Document, pod: Document) -> None:
        what = f"Update Pod {name_of(pod)} in StatefulSet {name_of(stateful_set)}"
        try:
            await self.client.update(resources.PODS, pod)
        except StatusError as error:
            self._events.warning(stateful_set, "FailedUpdate", f"{what} failed error: {error.message}")
            raise
        self._events.normal(stateful_set, "SuccessfulUpdate", f"{what} successful")

    async def _delete(self, stateful_set: Document, pod: Document) -> None:
        what = f"Delete Pod {name_of(pod)} in StatefulSet {name_of(stateful_set)}"
        try:
            await self.client.delete(resources.PODS, name_of(pod), namespace_of(pod), uid=uid_of(pod))
        except NotFound:
            return
        except StatusError as error:
            self._events.warning(stateful_set, "FailedDelete", f"{what} failed error: {error.message}")
            raise
        self._events.normal(stateful_set, "SuccessfulDelete", f"{what} successful")

    async def _write_status(
        self, stateful_set: Document, found: Sequence[Document], current: Document, history: Found
    ) -> None:
        status: MutableDocument = calculate_status(
            stateful_set,
            found,
            current=name_of(current),
            update=name_of(history.update),
            collisions=history.collisions,
            now=self.clock.now(),
        )
        if status != (stateful_set.get("status") or {}):
            changed = {**stateful_set, "status": status}
            self._written.note(await self.client.update_status(resources.STATEFUL_SETS, changed))
