"""A Job's status but for its counters of ended pods: times, active pods, conditions.

Pure. A Job that is suspended says so in a condition, and has no time of its start; when it is resumed its time starts
anew. The condition of its end
comes when every pod is gone and counted, and not before (upstream: "Termination of Job pods").
"""

from __future__ import annotations

from kube_core.control.conditions import set_condition
from kube_core.meta.documents import MutableDocument
from kube_core.meta.times import format_time
from kube_plugins.controllers.job.observation import Observation, condition
from kube_plugins.controllers.job.verdict import Verdict

__all__ = ["finish", "follow", "suspension"]


def suspension(seen: Observation) -> str:
    """The event that the Job's state asks for: `Suspended`, `Resumed`, or "" where its condition says it already."""
    if seen.is_suspended:
        return "" if condition(seen.job, "Suspended") is not None else "Suspended"
    return "Resumed" if condition(seen.job, "Suspended") is not None else ""


def follow(
    seen: Observation,
    status: MutableDocument,
    verdict: Verdict | None,
    changed: str = "",
    *,
    made: int = 0,
    deleted: int,
) -> MutableDocument:
    """The status as it is now. `changed`: what `suspension` says.

    A moment ago `made` pods were made that are not among those seen, and `deleted` active ones were ended.
    """
    now = format_time(seen.now)
    followed: MutableDocument = dict(status)
    conditions = list(followed.get("conditions") or ())
    if not seen.is_suspended and not followed.get("startTime"):
        followed["startTime"] = now
    if verdict is not None:
        if condition(seen.job, verdict.kind) is None:
            conditions = _with(conditions, seen, verdict.kind, "True", verdict.reason, verdict.message)
    elif changed == "Suspended":
        followed.pop("startTime", None)
        conditions = _with(conditions, seen, "Suspended", "True", "JobSuspended", "Job suspended")
    elif changed == "Resumed":
        conditions = _with(conditions, seen, "Suspended", "False", "JobResumed", "Job resumed")
        followed["startTime"] = now
    if conditions:
        followed["conditions"] = conditions
    active = len(seen.active) + made - deleted
    followed.pop("active", None)
    if active:
        followed["active"] = active
    followed["ready"] = min(seen.ready, active)
    followed["terminating"] = seen.terminating + deleted
    return followed


def finish(seen: Observation, status: MutableDocument, verdict: Verdict) -> MutableDocument:
    """With the final condition, where nothing is left to wait for."""
    if status.get("active") or status.get("terminating") or status.get("uncountedTerminatedPods"):
        return status
    finished: MutableDocument = dict(status)
    finished.setdefault("startTime", format_time(seen.now))
    finished["conditions"] = _with(
        list(status.get("conditions") or ()), seen, verdict.final, "True", verdict.reason, verdict.message
    )
    if not verdict.is_failure:
        finished["completionTime"] = format_time(seen.now)
    return finished


def _with(
    conditions: list[MutableDocument], seen: Observation, kind: str, status: str, reason: str, message: str
) -> list[MutableDocument]:
    probed = format_time(seen.now)
    return set_condition(conditions, kind, status, now=seen.now, reason=reason, message=message, lastProbeTime=probed)
