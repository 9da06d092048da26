"""What a Job's controller sees at one moment, and the counts that follow from it.

Pure. Everything else in this package is a function of an `Observation`. `released` are pods whose finalizer the
controller has taken off though its cache does not show it yet: they were counted, and must not be counted again.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from kube_core.api import pods
from kube_core.meta.documents import Document, finalizers_of, uid_of
from kube_plugins.controllers.job.backoff import failure_counts
from kube_plugins.controllers.job.indexes import completion_index, parse_indexes
from kube_plugins.controllers.job.policies import has_failed, judge, replaces_only_failed

__all__ = ["TRACKING_FINALIZER", "Observation", "condition", "is_finished", "is_tracked"]

#: Keeps a pod until its Job has counted it.
TRACKING_FINALIZER = "batch.kubernetes.io/job-tracking"


def is_tracked(pod: Document) -> bool:
    """Whether a Job has yet to count this pod."""
    return TRACKING_FINALIZER in finalizers_of(pod)


def condition(job: Document, kind: str) -> Mapping[str, Any] | None:
    """The Job's condition of that type, where it is True."""
    for each in (job.get("status") or {}).get("conditions") or ():
        if each.get("type") == kind and each.get("status") == "True":
            found: Mapping[str, Any] = each
            return found
    return None


def is_finished(job: Document) -> bool:
    """Complete or Failed: nothing of it changes any more."""
    return condition(job, "Complete") is not None or condition(job, "Failed") is not None


@attrs.frozen(slots=False)
class Observation:
    """A Job, its pods, and the moment (seconds since the epoch)."""

    job: Document
    pods: Sequence[Document]
    now: float
    released: frozenset[str] = frozenset()

    @property
    def spec(self) -> Mapping[str, Any]:
        spec: Mapping[str, Any] = self.job["spec"]
        return spec

    @property
    def status(self) -> Mapping[str, Any]:
        return self.job.get("status") or {}

    @property
    def is_indexed(self) -> bool:
        return self.spec.get("completionMode") == "Indexed"

    @property
    def is_suspended(self) -> bool:
        return bool(self.spec.get("suspend"))

    @property
    def is_limited_per_index(self) -> bool:
        return self.is_indexed and self.spec.get("backoffLimitPerIndex") is not None

    @property
    def completions(self) -> int | None:
        completions = self.spec.get("completions")
        return None if completions is None else int(completions)

    @functools.cached_property
    def tracked(self) -> Sequence[Document]:
        """The pods that were not counted yet, as far as is known."""
        return [pod for pod in self.pods if is_tracked(pod) and uid_of(pod) not in self.released]

    @functools.cached_property
    def active(self) -> Sequence[Document]:
        return [pod for pod in self.pods if pods.is_active(pod)]

    @functools.cached_property
    def terminating(self) -> int:
        return sum(1 for pod in self.pods if pods.is_terminating(pod))

    @functools.cached_property
    def ready(self) -> int:
        return sum(1 for pod in self.active if pods.is_ready(pod))

    @functools.cached_property
    def uncounted(self) -> tuple[frozenset[str], frozenset[str]]:
        """The uids that the status holds until their pods' finalizers are off: succeeded, failed."""
        waiting = self.status.get("uncountedTerminatedPods") or {}
        return frozenset(waiting.get("succeeded") or ()), frozenset(waiting.get("failed") or ())

    @functools.cached_property
    def new_failures(self) -> Sequence[Document]:
        """Pods that failed and are in neither counter nor list."""
        return [pod for pod in self.tracked if uid_of(pod) not in self.uncounted[1] and has_failed(self.job, pod)]

    @functools.cached_property
    def succeeded_indexes(self) -> frozenset[int]:
        """Of an indexed Job: those that the status tells, and those of pods that it has yet to tell of."""
        if not self.is_indexed:
            return frozenset()
        limit = self.completions or 0
        told = parse_indexes(str(self.status.get("completedIndexes") or ""), limit)
        return told.union(
            index
            for pod in self.tracked
            if pods.phase_of(pod) == "Succeeded" and (index := completion_index(pod)) is not None and index < limit
        )

    @functools.cached_property
    def failed_indexes(self) -> frozenset[int]:
        """Of a Job with a limit for each index: those that are given up."""
        if not self.is_limited_per_index:
            return frozenset()
        limit = self.completions or 0
        told = parse_indexes(str(self.status.get("failedIndexes") or ""), limit)
        allowed = int(self.spec["backoffLimitPerIndex"])
        found = set(told)
        for pod in self.tracked:
            index = completion_index(pod)
            if index is None or index >= limit or not has_failed(self.job, pod):
                continue
            judgement = judge(self.job, pod)
            if judgement.fails_index or (judgement.counts and failure_counts(pod)[0] >= allowed):
                found.add(index)
        return frozenset(found)

    @functools.cached_property
    def succeeded(self) -> int:
        if self.is_indexed:
            return len(self.succeeded_indexes)
        listed = self.uncounted[0]
        fresh = sum(1 for pod in self.tracked if pods.phase_of(pod) == "Succeeded" and uid_of(pod) not in listed)
        return int(self.status.get("succeeded") or 0) + len(listed) + fresh

    @functools.cached_property
    def failed(self) -> int:
        """The failures that count towards the back-off limit."""
        fresh = sum(1 for pod in self.new_failures if judge(self.job, pod).counts)
        return int(self.status.get("failed") or 0) + len(self.uncounted[1]) + fresh

    @functools.cached_property
    def awaiting_replacement(self) -> Mapping[int, Document]:
        """With a limit for each index: the last failed pod of every index that needs another one.

        Its finalizer stays on until the replacement is there, because it carries the index's count of failures.
        """
        if not self.is_limited_per_index:
            return {}
        busy = {completion_index(pod) for pod in self.active} | self.succeeded_indexes | self.failed_indexes
        last: dict[int, Document] = {}
        for pod in self.tracked:
            index = completion_index(pod)
            if index is None or index in busy or index >= (self.completions or 0) or not has_failed(self.job, pod):
                continue
            if index not in last or sum(failure_counts(pod)) > sum(failure_counts(last[index])):
                last[index] = pod
        return last

    @property
    def held(self) -> int:
        """Pods that are going and hold their place until they have gone."""
        return self.terminating if replaces_only_failed(self.job) else 0
