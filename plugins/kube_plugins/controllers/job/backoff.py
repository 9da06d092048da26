"""How long a Job waits before it replaces a pod that failed.

Ten seconds after the first failure, twice as long after each further one in a row, never more than ten minutes; a
success starts the count anew (upstream: "Pod backoff failure policy"). With a back-off limit for each index, every
index waits on its own, by the count of failures that its pods carry as an annotation.

Pure: `Streak` is remembered by the controller, because a pod that failed may be deleted before its replacement is due;
what is lost with the controller's memory is read again from the pods that are still there.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from kube_core.api import pods
from kube_core.meta.documents import Document, annotations_of, metadata_of, uid_of
from kube_core.meta.times import parse_time
from kube_plugins.controllers.job.policies import has_failed, judge

__all__ = [
    "FAILURES_ANNOTATION",
    "IGNORED_FAILURES_ANNOTATION",
    "Streak",
    "delay_after",
    "failure_counts",
    "finish_time",
    "next_failure_counts",
]

#: How often the pod's index had failed before it, not counting what the failure policy ignores; and that.
FAILURES_ANNOTATION = "batch.kubernetes.io/job-index-failure-count"
IGNORED_FAILURES_ANNOTATION = "batch.kubernetes.io/job-index-ignored-failure-count"

_FIRST = 10.0
_LONGEST = 600.0


@attrs.frozen
class Streak:
    """The failures since the last success: their pods' uids and the moment of the last one."""

    failed: frozenset[str] = frozenset()
    last_failure: float = 0.0
    last_success: float = 0.0

    def observe(self, job: Document, found: Iterable[Document], now: float) -> Streak:
        """With what these pods show. Asking twice with the same pods changes nothing."""
        failed, last_failure, last_success = set(self.failed), self.last_failure, self.last_success
        ended = [(finish_time(pod, now), pod) for pod in found if pods.is_terminal(pod) or has_failed(job, pod)]
        for moment, pod in sorted(ended, key=lambda each: each[0]):
            if pods.phase_of(pod) == "Succeeded":
                if moment > last_success:
                    last_success = moment
                    if moment >= last_failure:
                        failed.clear()
            elif uid_of(pod) not in failed and moment > last_success:
                failed.add(uid_of(pod))
                last_failure = max(last_failure, moment)
        return Streak(frozenset(failed), last_failure, last_success)

    def wait(self, now: float) -> float:
        """Seconds until the next pod may be made; 0 where it may be now."""
        return max(delay_after(len(self.failed)) - (now - self.last_failure), 0.0) if self.failed else 0.0


def delay_after(failures: int) -> float:
    """Seconds that follow the last of so many failures in a row."""
    return min(_FIRST * 2.0 ** min(failures - 1, 16), _LONGEST) if failures else 0.0


def finish_time(pod: Document, now: float) -> float:
    """When a pod ended, in seconds since the epoch: its last container, else what else tells, else now."""
    status = pod.get("status") or {}
    ends: list[float] = []
    for each in status.get("containerStatuses") or ():
        ended = (each.get("state") or {}).get("terminated") or {}
        if not ended.get("finishedAt"):
            ends = []
            break
        ends.append(parse_time(str(ended["finishedAt"])))
    if ends:
        return max(ends)
    ready = pods.pod_condition(pod, "Ready") or {}
    moment = metadata_of(pod).get("deletionTimestamp") or ready.get("lastTransitionTime")
    return min(parse_time(str(moment)), now) if moment else now


def failure_counts(pod: Document) -> tuple[int, int]:
    """How often the pod's index had failed before it: what counts, and what was ignored."""
    annotations = annotations_of(pod)
    return _number(annotations.get(FAILURES_ANNOTATION)), _number(annotations.get(IGNORED_FAILURES_ANNOTATION))


def next_failure_counts(job: Document, failed: Document | None) -> tuple[int, int]:
    """The same for the pod that replaces `failed`; None: it is the index's first."""
    if failed is None:
        return 0, 0
    counted, ignored = failure_counts(failed)
    return (counted, ignored + 1) if judge(job, failed).ignored else (counted + 1, ignored)


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() else 0
