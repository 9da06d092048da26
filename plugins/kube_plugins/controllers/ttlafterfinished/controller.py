"""Deletes Jobs some time after they finished, where they say so (`ttlSecondsAfterFinished`).

The time counts from the condition that finished the Job. Before it deletes, the controller reads the Job from the
server: the time may have been lengthened. The Job's pods go first (foreground). Mirrors upstream's TTL-after-finished
controller ("Automatic Cleanup for Finished Jobs").
"""

from __future__ import annotations

from collections.abc import Iterable

from kube_core.api import resources
from kube_core.control.action import Action, await_change, requeue
from kube_core.control.conditions import condition_of
from kube_core.control.controller import Controller, ControllerContext, Watch
from kube_core.meta.documents import Document, Key, is_deleting, name_of, namespace_of, resource_version_of, uid_of
from kube_core.meta.status import NotFound
from kube_core.meta.times import parse_time

__all__ = ["TtlAfterFinishedController", "expiry"]


def expiry(job: Document) -> float | None:
    """When the Job's time is over, in seconds since the epoch; None where it has none, or has not finished."""
    seconds = job["spec"].get("ttlSecondsAfterFinished")
    if seconds is None:
        return None
    for kind in ("Complete", "Failed"):
        condition = condition_of(job, kind)
        if condition is not None and condition.get("status") == "True":
            return parse_time(str(condition["lastTransitionTime"])) + float(seconds)
    return None


class TtlAfterFinishedController(Controller):
    """Cleans up finished Jobs."""

    workers = 5

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        self._jobs = context.informers.informer(resources.JOBS).lister

    def watches(self) -> Iterable[Watch]:
        return (Watch(resources.JOBS, predicate=_may_expire),)

    async def reconcile(self, key: Key) -> Action:
        job = self._jobs.get(key)
        if job is None or (wait := self._wait(job)) is None:
            return await_change()
        if wait <= 0:
            try:
                job = await self.client.get(resources.JOBS, key.name, key.namespace)
            except NotFound:
                return await_change()
            if (wait := self._wait(job)) is None:
                return await_change()
        if wait > 0:
            return requeue(wait)
        await self.client.delete(
            resources.JOBS,
            name_of(job),
            namespace_of(job),
            propagation="Foreground",
            uid=uid_of(job),
            resource_version=resource_version_of(job),
        )
        return await_change()

    def _wait(self, job: Document) -> float | None:
        moment = expiry(job)
        return None if moment is None or is_deleting(job) else moment - self.clock.now()


def _may_expire(_: Document | None, after: Document | None) -> bool:
    """Most Jobs have no such time, and are kept."""
    return after is not None and after["spec"].get("ttlSecondsAfterFinished") is not None
