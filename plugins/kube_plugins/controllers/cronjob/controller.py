"""The CronJob controller: the outline. When a run is due is decided in `runs.py`, by the schedule of `schedules.py`.

One reconciliation brings the list of active Jobs up to date, starts at most one Job, deletes finished Jobs beyond the
history limits, and comes back at the next scheduled time. A Job's name is made from its time, so that however often a
run is tried, it is made once.

Mirrors upstream's cronjob controller v2 ("CronJob" in the concepts), events included: SuccessfulCreate,
SuccessfulDelete, SawCompletedJob, UnexpectedJob, MissingJob, MissSchedule, TooManyMissedTimes, JobAlreadyActive,
FailedCreate, UnknownTimeZone, UnparseableSchedule, UnsupportedSchedule. Without a time zone a schedule is in UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kube_core.api import resources
from kube_core.control.action import Action, await_change, requeue
from kube_core.control.controller import Controller, ControllerContext, Watch, to_controller_owner, to_itself
from kube_core.meta.documents import (
    Document,
    Key,
    MutableDocument,
    controller_of,
    is_deleting,
    key_of,
    name_of,
    namespace_of,
    thaw,
    uid_of,
)
from kube_core.meta.status import AlreadyExists, NotFound, StatusError
from kube_core.meta.times import format_time
from kube_plugins.controllers.cronjob.jobs import concerns_owner, make_job, outcome, reference_to, surplus
from kube_plugins.controllers.cronjob.runs import Decision, decide, until_next
from kube_plugins.controllers.cronjob.schedules import Schedule, ScheduleError, parse_schedule, parse_zone
from kube_plugins.controllers.podwrites import is_namespace_ending
from kube_plugins.controllers.written import LastWritten

__all__ = ["CronJobController"]

_ABOUT_ZONES = "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"


class CronJobController(Controller):
    """Starts Jobs by the clock."""

    workers = 5

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        self._events = context.events
        self._cron_jobs = context.informers.informer(resources.CRON_JOBS).lister
        self._jobs = context.informers.informer(resources.JOBS).lister
        self._written = LastWritten()
        self._rescheduled: set[Key] = set()

    def watches(self) -> Iterable[Watch]:
        return (
            Watch(resources.CRON_JOBS, to_itself, predicate=self._is_news),
            Watch(resources.JOBS, to_controller_owner("CronJob"), predicate=concerns_owner),
        )

    async def reconcile(self, key: Key) -> Action:
        cached = self._cron_jobs.get(key)
        if cached is None:
            self._written.forget(key)
            self._rescheduled.discard(key)
            return await_change()
        cron_job = self._written.newest(cached)
        jobs = [job for job in self._jobs.by_index("owner", uid_of(cron_job)) if _is_controlled(cron_job, job)]
        status: MutableDocument = thaw(cron_job.get("status") or {})
        forgotten = await self._follow(cron_job, jobs, status)
        wait = None
        try:
            if not is_deleting(cron_job):
                wait = await self._run(cron_job, status, forgotten)
        finally:
            await self._write_status(cron_job, status)
        await self._clean_up(cron_job, jobs)
        return requeue(wait) if wait is not None else await_change()

    async def _follow(self, cron_job: Document, jobs: Sequence[Document], status: MutableDocument) -> list[Document]:
        """The active Jobs in the status: without those that finished, or that are gone.

        Returns references to those that run and are not listed: somebody stopped before that was written down.
        """
        forgotten: list[Document] = []
        active = {str(each.get("uid")): each for each in status.get("active") or ()}
        for job in jobs:
            ended = outcome(job)
            if uid_of(job) not in active:
                if ended == "Complete":
                    _note_success(status, job)
                elif not ended:
                    message = f"Saw a job that the controller did not create or forgot: {name_of(job)}"
                    self._events.warning(cron_job, "UnexpectedJob", message)
                    forgotten.append(reference_to(job))
                continue
            if ended:
                del active[uid_of(job)]
                message = f"Saw completed job: {name_of(job)}, condition: {ended}"
                self._events.normal(cron_job, "SawCompletedJob", message)
                if ended == "Complete":
                    _note_success(status, job)
        present = {uid_of(job) for job in jobs}
        for uid in [uid for uid in active if uid not in present]:
            # The cache may not show yet what was made a moment ago.
            if not await self._exists(active[uid]):
                self._events.normal(cron_job, "MissingJob", f"Active job went missing: {active[uid].get('name')}")
                del active[uid]
        _set_active(status, list(active.values()))
        return forgotten

    def _is_news(self, before: Document | None, after: Document | None) -> bool:
        """Every change counts but what this controller wrote itself; one of the schedule is remembered."""
        if before is None or after is None:
            return True
        if self._written.is_latest(after):
            return False
        times = [(each["spec"].get("schedule"), each["spec"].get("timeZone")) for each in (before, after)]
        if times[0] != times[1]:
            self._rescheduled.add(key_of(after))
        return True

    async def _exists(self, reference: Document) -> bool:
        try:
            job = await self.client.get(resources.JOBS, str(reference["name"]), str(reference["namespace"]))
        except NotFound:
            return False
        return uid_of(job) == reference.get("uid")

    async def _run(self, cron_job: Document, status: MutableDocument, forgotten: Sequence[Document]) -> float | None:
        """Start a Job, where one is due; returns the seconds until the next look."""
        schedule = self._schedule(cron_job)
        if schedule is None:
            return None
        if key_of(cron_job) in self._rescheduled:
            # A new schedule counts from now on: what it would have run before it was made was not missed.
            self._rescheduled.discard(key_of(cron_job))
            return until_next(schedule, self.clock.now())
        active = [*(status.get("active") or ()), *forgotten]
        decision = decide({**cron_job, "status": status}, schedule, active, self.clock.now())
        for remark in decision.remarks:
            record = self._events.normal if remark.kind == "Normal" else self._events.warning
            record(cron_job, remark.reason, remark.message)
        if decision.run is not None:
            await self._start(cron_job, schedule, decision, status)
        return decision.wait

    def _schedule(self, cron_job: Document) -> Schedule | None:
        """None where it cannot be followed until somebody changes it."""
        spec = cron_job["spec"]
        zone = str(spec.get("timeZone") or "")
        try:
            found = parse_zone(zone)
        except ScheduleError as error:
            self._events.warning(cron_job, "UnknownTimeZone", f'invalid timeZone: "{zone}": {error}')
            return None
        text = str(spec["schedule"])
        if "TZ" in text:
            message = f'CRON_TZ or TZ used in schedule "{text}" is not officially supported, see {_ABOUT_ZONES}'
            self._events.warning(cron_job, "UnsupportedSchedule", message)
        try:
            return parse_schedule(text, found)
        except ScheduleError as error:
            message = f'unparseable schedule: "{text}" : {error}'
            self._events.warning(cron_job, "UnparseableSchedule", message)
            return None

    async def _start(self, cron_job: Document, schedule: Schedule, decision: Decision, status: MutableDocument) -> None:
        assert decision.run is not None
        for reference in decision.replace:
            await self._delete(cron_job, str(reference["name"]), str(reference.get("uid") or ""))
            _set_active(
                status, [each for each in status.get("active") or () if each.get("uid") != reference.get("uid")]
            )
        wanted = make_job(cron_job, schedule.in_zone(decision.run))
        try:
            job = await self.client.create(resources.JOBS, wanted)
        except AlreadyExists:
            job = await self.client.get(resources.JOBS, name_of(wanted), namespace_of(wanted))
            if not _is_controlled(cron_job, job):
                return  # somebody else's, which stands in the way this time
        except StatusError as error:
            if is_namespace_ending(error):
                return
            self._events.warning(cron_job, "FailedCreate", f"Error creating job: {error.message}")
            raise
        else:
            self._events.normal(cron_job, "SuccessfulCreate", f"Created job {name_of(job)}")
        listed = list(status.get("active") or ())
        if not outcome(job) and all(each.get("uid") != uid_of(job) for each in listed):
            _set_active(status, [*listed, reference_to(job)])
        status["lastScheduleTime"] = format_time(decision.run)

    async def _write_status(self, cron_job: Document, status: MutableDocument) -> None:
        if status != (cron_job.get("status") or {}):
            changed = {**cron_job, "status": status}
            self._written.note(await self.client.update_status(resources.CRON_JOBS, changed))

    async def _clean_up(self, cron_job: Document, jobs: Sequence[Document]) -> None:
        for job in surplus(cron_job, [job for job in jobs if not is_deleting(job)]):
            await self._delete(cron_job, name_of(job), uid_of(job))

    async def _delete(self, cron_job: Document, name: str, uid: str) -> None:
        try:
            await self.client.delete(
                resources.JOBS, name, key_of(cron_job).namespace, propagation="Background", uid=uid
            )
        except NotFound:
            return
        except StatusError as error:
            self._events.warning(cron_job, "FailedDelete", f"Deleted job: {error.message}")
            raise
        self._events.normal(cron_job, "SuccessfulDelete", f"Deleted job {name}")


def _is_controlled(cron_job: Document, job: Document) -> bool:
    owner = controller_of(job)
    return owner is not None and owner.get("uid") == uid_of(cron_job)


def _note_success(status: MutableDocument, job: Document) -> None:
    done = (job.get("status") or {}).get("completionTime")
    if done and str(done) > str(status.get("lastSuccessfulTime") or ""):
        status["lastSuccessfulTime"] = done


def _set_active(status: MutableDocument, references: list[Document]) -> None:
    if references:
        status["active"] = references
    else:
        status.pop("active", None)
