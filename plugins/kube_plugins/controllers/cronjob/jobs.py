"""The Jobs of a CronJob: what one looks like, which still run, and which finished ones are no longer kept.

Pure. A Job is named after its CronJob and the minute for which it runs, so that none is made twice for one time.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from kube_core.control.claims import controller_reference
from kube_core.control.conditions import is_condition_true
from kube_core.meta.documents import (
    Document,
    MutableDocument,
    annotations_of,
    controller_of,
    is_deleting,
    labels_of,
    metadata_of,
    name_of,
    namespace_of,
    resource_version_of,
    thaw,
    uid_of,
)

__all__ = ["SCHEDULED_ANNOTATION", "concerns_owner", "job_name", "make_job", "outcome", "reference_to", "surplus"]

SCHEDULED_ANNOTATION = "batch.kubernetes.io/cronjob-scheduled-timestamp"


def job_name(cron_job: Document, moment: float) -> str:
    """The name of the Job for a scheduled time, in seconds since the epoch."""
    return f"{name_of(cron_job)}-{int(moment) // 60}"


def make_job(cron_job: Document, moment: datetime) -> MutableDocument:
    """The Job for a scheduled time, given in the CronJob's own zone."""
    template = cron_job["spec"]["jobTemplate"]
    scheduled = moment.isoformat(timespec="seconds").replace("+00:00", "Z")
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(cron_job, moment.timestamp()),
            "namespace": namespace_of(cron_job),
            "labels": dict(labels_of(template)),
            "annotations": {**annotations_of(template), SCHEDULED_ANNOTATION: scheduled},
            "ownerReferences": [controller_reference(cron_job)],
        },
        "spec": thaw(template.get("spec") or {}),
    }


def outcome(job: Document) -> str:
    """`Complete`, `Failed`, or "" while it goes on."""
    return next((kind for kind in ("Complete", "Failed") if is_condition_true(job, kind)), "")


def concerns_owner(before: Document | None, after: Document | None) -> bool:
    """Whether a change of a Job is one that its CronJob has to look at: not while it only makes progress."""
    return before is None or after is None or _told(before) != _told(after)


def reference_to(job: Document) -> MutableDocument:
    """The entry of an active Job in its CronJob's status."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "namespace": namespace_of(job),
        "name": name_of(job),
        "uid": uid_of(job),
        "resourceVersion": resource_version_of(job),
    }


def surplus(cron_job: Document, jobs: Sequence[Document]) -> tuple[Document, ...]:
    """The finished Jobs beyond the history limits, the oldest of each outcome first."""
    found: list[Document] = []
    for limit_name, kind in (("successfulJobsHistoryLimit", "Complete"), ("failedJobsHistoryLimit", "Failed")):
        limit = cron_job["spec"].get(limit_name)
        if limit is None:
            continue
        finished = sorted((job for job in jobs if outcome(job) == kind), key=_start)
        found += finished[: max(len(finished) - int(limit), 0)]
    return tuple(found)


def _told(job: Document) -> tuple[object, ...]:
    """What a CronJob's status and history depend on."""
    controller = controller_of(job) or {}
    return outcome(job), (job.get("status") or {}).get("completionTime"), is_deleting(job), controller.get("uid")


def _start(job: Document) -> tuple[str, str]:
    started = (job.get("status") or {}).get("startTime") or metadata_of(job).get("creationTimestamp") or ""
    return str(started), name_of(job)
