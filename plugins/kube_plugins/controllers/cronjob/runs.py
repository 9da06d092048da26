"""Whether a run of a CronJob is due now, and what becomes of it.

Pure; upstream's rules ("CronJob", "Deadline for delayed Job start", "Concurrency policy"). Of several missed times only
the last one is run. A time is missed from the last run, or from the CronJob's creation; with a starting deadline only
those count that are not older than it. More than a hundred missed times are worth a warning.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

import attrs

from kube_core.meta.documents import Document, metadata_of
from kube_core.meta.times import parse_time
from kube_plugins.controllers.cronjob.schedules import Schedule

__all__ = ["DELAY", "Decision", "Remark", "decide", "due", "until_next"]

#: Runs start so many seconds after their time, so that the time has surely come.
DELAY = 0.1

_MANY = 100


@attrs.frozen
class Remark:
    """An event to record."""

    kind: Literal["Normal", "Warning"]
    reason: str
    message: str


@attrs.frozen
class Decision:
    """`run`: the time to start a Job for; `replace`: active Jobs to end first; `wait`: seconds until the next look."""

    run: float | None = None
    replace: tuple[Document, ...] = ()
    wait: float | None = None
    remarks: tuple[Remark, ...] = ()


def due(cron_job: Document, schedule: Schedule, now: float) -> tuple[float | None, int, float | None]:
    """The last time that has come and was not run; about how many have; and the next, None where none is in sight."""
    since = _last_run(cron_job)
    if since is None:
        since = parse_time(str(metadata_of(cron_job)["creationTimestamp"]))
    deadline = cron_job["spec"].get("startingDeadlineSeconds")
    if deadline is not None:
        since = max(since, now - float(deadline))
    first = schedule.after(since)
    if first is None or now < first:
        return None, 0, first
    second = schedule.after(first)
    if second is None or now < second:
        return first, 1, second
    latest = schedule.latest(first, now)
    return latest, int((now - first) // max(second - first, 1.0)) + 1, schedule.after(latest)


def until_next(schedule: Schedule, now: float) -> float | None:
    """Seconds until the next look; None where the schedule has no time in sight."""
    upcoming = schedule.after(now)
    return None if upcoming is None else max(upcoming - now, 0.0) + DELAY


def decide(cron_job: Document, schedule: Schedule, active: Sequence[Document], now: float) -> Decision:
    """What to do; `active` are the references of the Jobs that run."""
    spec = cron_job["spec"]
    if spec.get("suspend"):
        return Decision()
    moment, missed, upcoming = due(cron_job, schedule, now)
    wait = None if upcoming is None else max(upcoming - now, 0.0) + DELAY
    remarks: tuple[Remark, ...] = ()
    if missed > _MANY:
        advice = "Set or decrease .spec.startingDeadlineSeconds or check clock skew"
        remarks = (Remark("Warning", "TooManyMissedTimes", f"too many missed start times. {advice}"),)
    last = _last_run(cron_job)
    if moment is None or (last is not None and moment <= last):
        return Decision(wait=wait, remarks=remarks)
    deadline = spec.get("startingDeadlineSeconds")
    if deadline is not None and moment + float(deadline) < now:
        when = datetime.fromtimestamp(moment, UTC).strftime("%a, %d %b %Y %H:%M:%S +0000")
        remark = Remark("Warning", "MissSchedule", f"Missed scheduled time to start a job: {when}")
        return Decision(wait=wait, remarks=(*remarks, remark))
    policy = spec.get("concurrencyPolicy") or "Allow"
    if policy == "Forbid" and active:
        message = "Not starting job because prior execution is running and concurrency policy is Forbid"
        return Decision(wait=wait, remarks=(*remarks, Remark("Normal", "JobAlreadyActive", message)))
    return Decision(moment, tuple(active) if policy == "Replace" else (), wait, remarks)


def _last_run(cron_job: Document) -> float | None:
    text = (cron_job.get("status") or {}).get("lastScheduleTime")
    return parse_time(str(text)) if text else None
