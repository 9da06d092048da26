"""The Job controller: the outline. What it decides is in the files beside this one.

One reconciliation looks once (`observation.py`), decides whether the Job has come to its end (`verdict.py`), makes or
ends pods (`scaling.py`), counts those that ended (`counting.py`) and writes the status. Pods are counted once: they
keep a finalizer until their uids are in the status, and what was written is not planned from until it is seen.

Mirrors upstream's job controller ("Jobs" in the concepts), events included: SuccessfulCreate, SuccessfulDelete,
Suspended, Resumed, Completed, and a failure's reason. Jobs that name another controller in `managedBy` are left alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from kube_core.api import pods, resources
from kube_core.control.action import Action, await_change, requeue
from kube_core.control.controller import Controller, ControllerContext, Watch, to_itself
from kube_core.meta.documents import (
    Document,
    Key,
    MutableDocument,
    controller_of,
    is_deleting,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
)
from kube_core.meta.status import NotFound
from kube_plugins.controllers.adoption import Dependents, owner_key
from kube_plugins.controllers.job.backoff import Streak
from kube_plugins.controllers.job.counting import note, settle
from kube_plugins.controllers.job.observation import TRACKING_FINALIZER, Observation, is_finished, is_tracked
from kube_plugins.controllers.job.podmaking import make_pod
from kube_plugins.controllers.job.scaling import Plan, plan_pods, replacement_counts
from kube_plugins.controllers.job.status import finish, follow, suspension
from kube_plugins.controllers.job.verdict import Verdict, decide, until_deadline
from kube_plugins.controllers.pace import Pace
from kube_plugins.controllers.podwrites import Made, PodWrites
from kube_plugins.controllers.written import LastWritten

__all__ = ["CONTROLLER_NAME", "JobController"]

#: What `managedBy` says of the Jobs that are this controller's.
CONTROLLER_NAME = "kubernetes.io/job-controller"

#: See `Pace`; upstream looks at any Job once a second at most.
_PODS_PER_SECOND, _FEW_PODS = 1000, 50

_NAME_LABEL = "batch.kubernetes.io/job-name"
_TRACKED_INDEX = "job-tracked"


class JobController(Controller):
    """Runs pods until enough of them have succeeded."""

    workers = 5

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        self._events = context.events
        self._jobs = context.informers.informer(resources.JOBS).lister
        self._dependents = Dependents(context, resources.JOBS, resources.PODS, finalizer=TRACKING_FINALIZER)
        informer = self._dependents.informer
        informer.add_index(_TRACKED_INDEX, _tracking_jobs)
        self._writes = PodWrites(resources.JOBS, self.client, context.events, self.clock)
        # Before the runtime's own handler, so that a key is never reconciled ahead of what it waited for.
        informer.add_handler(self._observe_pod)
        self._pods = informer.lister
        self._written = LastWritten()
        self._streaks: dict[Key, tuple[str, Streak]] = {}
        self._released: dict[str, None] = {}
        self._pace = Pace(self.clock, objects_per_second=_PODS_PER_SECOND, few=_FEW_PODS)

    def watches(self) -> Iterable[Watch]:
        return (Watch(resources.JOBS, to_itself), Watch(resources.PODS, self._jobs_of_pod))

    async def reconcile(self, key: Key) -> Action:
        cached = self._jobs.get(key)
        if cached is None:
            self._forget(key)
            await self._let_go(key, keep="")
            return await_change()
        if cached["spec"].get("managedBy") not in (None, "", CONTROLLER_NAME):
            return await_change()
        job = self._written.newest(cached)
        if is_finished(job):
            await self._let_go(key, keep="")
            return await_change()
        if rest := self._pace.rest(key):
            return requeue(rest)
        await self._let_go(key, keep=uid_of(job))
        return await self._run(key, job)

    async def _run(self, key: Key, job: Document) -> Action:
        seen = Observation(job, await self._claim(job), self.clock.now(), frozenset(self._released))
        self._pace.looked_at(key, len(seen.pods))
        streak = self._streak(key, seen)
        verdict = decide(seen)
        settled = self._writes.settled(key)
        plan = Plan()
        # Pods that were made count as active before the cache shows them.
        made, error, deleted = self._writes.unseen(key), None, 0
        managed = settled and verdict is None and not is_deleting(job)
        if settled and verdict is not None:
            plan = Plan(delete=tuple(seen.active))
        elif managed:
            plan = plan_pods(seen, streak)
        if settled:
            done = await self._carry_out(seen, plan, verdict)
            made, error = done.count, done.error
            deleted = len(plan.delete) if error is None else 0
        # What is decided is told once it is done.
        told = verdict if settled and error is None else None
        await self._report(seen, told, made=made, deleted=deleted, managed=managed)
        if error is not None:
            raise error
        waits = [wait for wait in (plan.wait, until_deadline(seen)) if wait]
        return requeue(min(waits)) if waits and verdict is None else await_change()

    async def _carry_out(self, seen: Observation, plan: Plan, verdict: Verdict | None) -> Made:
        job = seen.job
        if plan.create:
            return await self._writes.create(job, len(plan.create), lambda number: _make_pod(seen, plan.create[number]))
        if plan.delete:
            if verdict is None:
                # A pod that is one too many is no failure: it goes uncounted.
                await self._release(pod for pod in plan.delete if is_tracked(pod))
            return Made(error=await self._writes.delete(job, plan.delete))
        return Made()

    async def _report(
        self, seen: Observation, verdict: Verdict | None, *, made: int, deleted: int, managed: bool
    ) -> None:
        """Count what ended and write the status: first with the uids that are counted, then, released, with numbers."""
        changed = suspension(seen) if managed else ""
        noted = note(seen, verdict)
        status = follow(seen, noted.status, verdict, changed, made=made, deleted=deleted)
        job = await self._write_status(seen.job, status) if noted.release else seen.job
        released = await self._release(noted.release)
        status = settle(seen, status, released)
        if verdict is not None:
            status = finish(seen, status, verdict)
        job = await self._write_status(job, status)
        if changed:
            self._events.normal(job, changed, f"Job {changed.lower()}")
        if verdict is not None and is_finished(job):
            self._record_end(job, verdict)
            self._writes.forget(key_of(job))
            self._streaks.pop(key_of(job), None)
            self._pace.forget(key_of(job))

    def _record_end(self, job: Document, verdict: Verdict) -> None:
        if verdict.is_failure:
            self._events.warning(job, verdict.reason, verdict.message)
            return
        completions = job["spec"].get("completions")
        if completions is not None and int(job["status"].get("succeeded") or 0) > int(completions):
            message = "Too many succeeded pods running after completion count reached"
            self._events.warning(job, "TooManySucceededPods", message)
        self._events.normal(job, "Completed", "Job completed")

    async def _write_status(self, job: Document, status: MutableDocument) -> Document:
        if status == (job.get("status") or {}):
            return job
        return self._written.note(await self.client.update_status(resources.JOBS, {**job, "status": status}))

    async def _claim(self, job: Document) -> Sequence[Document]:
        orphans = {uid_of(pod) for pod in self._dependents.orphans(job)}
        claimed = await self._dependents.claim(job, lambda pod: pods.is_active(pod) or uid_of(pod) not in orphans)
        return [await self._track(pod) if uid_of(pod) in orphans else pod for pod in claimed]

    async def _track(self, pod: Document) -> Document:
        """A pod that was adopted is counted like one that was made."""
        if is_tracked(pod):
            return pod
        patch = {"metadata": {"uid": uid_of(pod), "finalizers": [TRACKING_FINALIZER]}}
        return await self.client.patch(resources.PODS, name_of(pod), patch, namespace_of(pod), patch_type="strategic")

    async def _let_go(self, key: Key, *, keep: str) -> None:
        """Take the finalizer off the pods that no Job will count: all but those of the Job with the uid `keep`."""
        strays = [
            pod
            for pod in self._pods.by_index(_TRACKED_INDEX, str(key))
            if not keep or (controller_of(pod) or {"uid": keep}).get("uid") != keep
        ]
        await self._release(strays)

    async def _release(self, tracked: Iterable[Document]) -> frozenset[str]:
        """Take the tracking finalizer off; returns the uids of the pods that are without it now."""
        answers = await asyncio.gather(*(self._release_one(pod) for pod in tracked))
        return frozenset(answers)

    async def _release_one(self, pod: Document) -> str:
        removal = {"uid": uid_of(pod), "$deleteFromPrimitiveList/finalizers": [TRACKING_FINALIZER]}
        try:
            await self.client.patch(
                resources.PODS, name_of(pod), {"metadata": removal}, namespace_of(pod), patch_type="strategic"
            )
        except NotFound:
            pass
        cached = self._pods.get(key_of(pod))
        if cached is not None and uid_of(cached) == uid_of(pod) and is_tracked(cached):
            self._released[uid_of(pod)] = None
        return uid_of(pod)

    def _streak(self, key: Key, seen: Observation) -> Streak:
        uid, streak = self._streaks.get(key, ("", Streak()))
        if uid != uid_of(seen.job):
            streak = Streak()
        streak = streak.observe(seen.job, seen.pods, seen.now)
        self._streaks[key] = (uid_of(seen.job), streak)
        return streak

    def _forget(self, key: Key) -> None:
        self._writes.forget(key)
        self._written.forget(key)
        self._streaks.pop(key, None)
        self._pace.forget(key)

    # From changes to keys, and to what was waited for.

    def _observe_pod(self, before: Document | None, after: Document | None) -> None:
        self._writes.observe(before, after)
        pod = after if after is not None else before
        if pod is not None and (after is None or not is_tracked(after)):
            self._released.pop(uid_of(pod), None)

    def _jobs_of_pod(self, pod: Document) -> Iterable[Key]:
        keys = self._dependents.owner_keys(pod)
        if controller_of(pod) is not None:
            return keys
        return [*keys, *(Key(*text.split("/", 1)) for text in _tracking_jobs(pod))]


def _make_pod(seen: Observation, index: int | None) -> MutableDocument:
    return make_pod(seen.job, index, replacement_counts(seen, index) if seen.is_limited_per_index else None)


def _tracking_jobs(pod: Document) -> Iterable[str]:
    """The Job that a pod's finalizer waits for, as the text of its key; there may be none of that name any more."""
    if not is_tracked(pod):
        return
    key = owner_key(pod, resources.JOBS)
    if key is not None:
        yield str(key)
    elif controller_of(pod) is None and (name := labels_of(pod).get(_NAME_LABEL)):
        yield str(Key(namespace_of(pod), name))
