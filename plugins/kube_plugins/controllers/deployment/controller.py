"""The Deployment controller: the outline of a rollout. What it decides is in the files beside this one.

One reconciliation reads the Deployment and its replica sets from the caches, claims what is its own, and then does one
step: a change of scale where the wanted number changed, otherwise a step of the strategy; then it writes the status.
Every step is a write to a replica set, whose watch brings the Deployment back for the next one. Writes carry the
version that was read, so a step planned from a stale cache fails with a conflict and is planned again.

Mirrors upstream's deployment controller ("Deployments" in the concepts). Deployments are rolled back by their clients,
who patch an earlier template in; the annotation of the long-gone rollback API is not looked at.
"""

from __future__ import annotations

from collections.abc import Iterable

from kube_core.api import resources
from kube_core.control.action import Action, await_change, requeue
from kube_core.control.claims import controller_reference
from kube_core.control.controller import Controller, ControllerContext, Watch, to_controller_owner, to_itself
from kube_core.meta.documents import (
    Document,
    Key,
    MutableDocument,
    annotations_of,
    controller_of,
    is_deleting,
    metadata_of,
    name_of,
    namespace_of,
    thaw,
    uid_of,
)
from kube_core.meta.status import AlreadyExists, NotFound, StatusError
from kube_plugins.controllers.adoption import Dependents, selects_everything
from kube_plugins.controllers.deployment import history, progress, recreate, revisions, rolling, scaling
from kube_plugins.controllers.deployment.replicasets import Resize, is_rolling, size, wanted
from kube_plugins.controllers.deployment.revisions import Generations
from kube_plugins.controllers.deployment.status import calculate_status, condition_of, is_complete, note_failure
from kube_plugins.controllers.podwrites import is_namespace_ending

__all__ = ["DeploymentController"]


class DeploymentController(Controller):
    """Keeps a Deployment's replica sets as its template, number and strategy ask for."""

    workers = 5

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        self._events = context.events
        self._deployments = context.informers.informer(resources.DEPLOYMENTS).lister
        self._replica_sets = Dependents(context, resources.DEPLOYMENTS, resources.REPLICA_SETS)
        self._pods = context.informers.informer(resources.PODS).lister

    def watches(self) -> Iterable[Watch]:
        return (
            Watch(resources.DEPLOYMENTS, to_itself),
            Watch(resources.REPLICA_SETS, self._replica_sets.owner_keys),
            Watch(resources.PODS, self._recreated_deployment_of_pod, predicate=_is_end_of_pod),
        )

    async def reconcile(self, key: Key) -> Action:
        deployment = self._deployments.get(key)
        if deployment is None:
            return await_change()
        if selects_everything(deployment):
            message = "This deployment is selecting all pods. A non-empty selector is required."
            self._events.warning(deployment, "SelectingAll", message)
            return await_change()
        generations = revisions.sort_generations(deployment, await self._replica_sets.claim(deployment))
        if is_deleting(deployment):
            return await self._write_status(deployment, generations, with_progress=False)
        deployment = await self._note_pause(deployment)
        if deployment["spec"].get("paused") or scaling.is_scaled(deployment, generations.all):
            return await self._rescale(deployment, generations)
        if is_rolling(deployment):
            return await self._roll(deployment, generations)
        return await self._recreate(deployment, generations)

    # The branches of the outline, in the order in which they are tried.

    async def _rescale(self, deployment: Document, generations: Generations) -> Action:
        """Follow the wanted number, and do not move the rollout on."""
        deployment, generations = await self._with_new(deployment, generations, create=False)
        await self._carry_out(deployment, scaling.plan_scaling(deployment, generations.new, generations.old))
        if deployment["spec"].get("paused"):
            await self._clean_up(deployment, generations)
        return await self._write_status(deployment, generations, with_progress=False)

    async def _roll(self, deployment: Document, generations: Generations) -> Action:
        deployment, generations = await self._with_new(deployment, generations, create=True)
        assert generations.new is not None
        steps = rolling.plan_rolling_update(deployment, generations.new, generations.old)
        if steps:
            await self._carry_out(deployment, steps)
        elif is_complete(deployment, deployment.get("status") or {}):
            await self._clean_up(deployment, generations)
        return await self._write_status(deployment, generations)

    async def _recreate(self, deployment: Document, generations: Generations) -> Action:
        deployment, generations = await self._with_new(deployment, generations, create=False)
        steps = recreate.plan_recreate(generations.old)
        if steps:
            await self._carry_out(deployment, steps)
            return await self._write_status(deployment, generations)
        if recreate.old_pods_running(generations.new, generations.old, self._pods_of(generations.all)):
            return await self._write_status(deployment, generations)
        deployment, generations = await self._with_new(deployment, generations, create=True)
        assert generations.new is not None
        if size(generations.new) != wanted(deployment):
            await self._carry_out(deployment, (Resize(generations.new, wanted(deployment)),))
        elif is_complete(deployment, deployment.get("status") or {}):
            await self._clean_up(deployment, generations)
        return await self._write_status(deployment, generations)

    # What they are made of.

    async def _note_pause(self, deployment: Document) -> Document:
        status: MutableDocument = thaw(deployment.get("status") or {})
        if not progress.note_pause(deployment, status, self.clock.now()):
            return deployment
        return await self._update_status(deployment, status)

    async def _with_new(
        self, deployment: Document, generations: Generations, *, create: bool
    ) -> tuple[Document, Generations]:
        """The new replica set up to date with the Deployment's annotations and revision; made, where that is asked."""
        new = generations.new
        if new is None:
            return await self._make_new(deployment, generations) if create else (deployment, generations)
        annotations = revisions.annotated(deployment, new, revisions.next_revision(generations.old))
        min_ready_seconds = int(deployment["spec"].get("minReadySeconds") or 0)
        outdated = int(new["spec"].get("minReadySeconds") or 0) != min_ready_seconds
        if outdated or annotations != annotations_of(new):
            changed = thaw(new)
            changed["metadata"]["annotations"] = annotations
            changed["spec"]["minReadySeconds"] = min_ready_seconds
            new = await self.client.update(resources.REPLICA_SETS, changed)
        status: MutableDocument = thaw(deployment.get("status") or {})
        if progress.has_deadline(deployment) and condition_of(status, "Progressing") is None:
            progress.note_found(status, new, self.clock.now())
        deployment = await self._write_revision(deployment, new, status)
        return deployment, Generations(new, generations.old)

    async def _make_new(self, deployment: Document, generations: Generations) -> tuple[Document, Generations]:
        wanted_set = revisions.build_new(deployment, generations.old, controller_reference(deployment))
        status: MutableDocument = thaw(deployment.get("status") or {})
        name = name_of(wanted_set)
        try:
            new = await self.client.create(resources.REPLICA_SETS, wanted_set)
        except AlreadyExists:
            new = await self.client.get(resources.REPLICA_SETS, name, namespace_of(deployment))
            if not revisions.is_own(deployment, new):
                status["collisionCount"] = int(status.get("collisionCount") or 0) + 1
                await self._update_status(deployment, status)
                raise
        except StatusError as error:
            if is_namespace_ending(error):
                raise
            await self._note_failure(deployment, status, f'Failed to create new replica set "{name}": {error.message}')
            raise
        else:
            if size(new) > 0:
                self._events.normal(
                    deployment, "ScalingReplicaSet", f"Scaled up replica set {name} from 0 to {size(new)}"
                )
            if progress.has_deadline(deployment):
                progress.note_made(status, new, self.clock.now())
        deployment = await self._write_revision(deployment, new, status)
        return deployment, Generations(new, generations.old)

    async def _note_failure(self, deployment: Document, status: MutableDocument, message: str) -> None:
        self._events.warning(deployment, "ReplicaSetCreateError", message)
        if progress.has_deadline(deployment):
            progress.note_failed(status, message, self.clock.now())
            await self._update_status(deployment, status)

    async def _carry_out(self, deployment: Document, steps: Iterable[Resize]) -> None:
        for step in steps:
            before = size(step.replica_set)
            annotations = {**annotations_of(step.replica_set), **revisions.sized(deployment)}
            if before == step.replicas and annotations == annotations_of(step.replica_set):
                continue
            changed = thaw(step.replica_set)
            changed["metadata"]["annotations"] = annotations
            changed["spec"]["replicas"] = step.replicas
            await self.client.update(resources.REPLICA_SETS, changed)
            if before != step.replicas:
                way = "up" if step.replicas > before else "down"
                name = name_of(step.replica_set)
                message = f"Scaled {way} replica set {name} from {before} to {step.replicas}"
                self._events.normal(deployment, "ScalingReplicaSet", message)

    async def _clean_up(self, deployment: Document, generations: Generations) -> None:
        for replica_set in history.plan_cleanup(deployment, generations.old):
            try:
                await self.client.delete(
                    resources.REPLICA_SETS,
                    name_of(replica_set),
                    namespace_of(replica_set),
                    propagation="Background",
                    uid=uid_of(replica_set),
                )
            except NotFound:
                pass

    async def _write_revision(self, deployment: Document, new: Document, status: MutableDocument) -> Document:
        """The new replica set's revision on the Deployment, together with `status`, where either differs."""
        annotations = dict(annotations_of(deployment))
        annotations[revisions.REVISION_ANNOTATION] = annotations_of(new).get(revisions.REVISION_ANNOTATION, "")
        if annotations == annotations_of(deployment) and status == (deployment.get("status") or {}):
            return deployment
        # The status subresource lets annotations through, so one write does both.
        metadata = {**metadata_of(deployment), "annotations": annotations}
        return await self._update_status({**deployment, "metadata": metadata}, status)

    async def _write_status(
        self, deployment: Document, generations: Generations, *, with_progress: bool = True
    ) -> Action:
        now = self.clock.now()
        status = calculate_status(deployment, generations, now)
        if with_progress:
            progress.update_progress(deployment, generations.new, status, now)
            note_failure(status, generations)
        if status != (deployment.get("status") or {}):
            await self._update_status(deployment, status)
        after = progress.seconds_until_stuck(deployment, status, now)
        return requeue(after) if after is not None else await_change()

    async def _update_status(self, deployment: Document, status: MutableDocument) -> Document:
        return await self.client.update_status(resources.DEPLOYMENTS, {**deployment, "status": status})

    # From changes to keys.

    def _recreated_deployment_of_pod(self, pod: Document) -> Iterable[Key]:
        """The Deployment of a pod, where it waits for its pods to go."""
        owner = controller_of(pod)
        if owner is None or owner.get("kind") != "ReplicaSet":
            return
        replica_set = self._replica_sets.lister.get(Key(namespace_of(pod), str(owner["name"])))
        if replica_set is None:
            return
        for key in to_controller_owner("Deployment")(replica_set):
            deployment = self._deployments.get(key)
            if deployment is not None and not is_rolling(deployment):
                yield key

    def _pods_of(self, replica_sets: Iterable[Document]) -> Iterable[Document]:
        for replica_set in replica_sets:
            yield from self._pods.by_index("owner", uid_of(replica_set))


def _is_end_of_pod(before: Document | None, after: Document | None) -> bool:
    if after is None:
        return True
    phase = (after.get("status") or {}).get("phase")
    return phase in ("Succeeded", "Failed") and before is not None
