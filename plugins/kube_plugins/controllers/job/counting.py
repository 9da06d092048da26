"""Counting pods that ended, each exactly once.

Pure; upstream's "Job tracking with finalizers", in three steps that may be broken off between any two:

1. `note`: the uids of pods that ended go into the status, into `uncountedTerminatedPods`;
2. their finalizers are taken off (the controller's part), so that the pods may go;
3. `settle`: uids whose pods have no finalizer any more leave the list, and the counters grow by them.

Of an indexed Job's successes only the indexes are kept: an index is not counted twice by its nature.
"""

from __future__ import annotations

from collections.abc import Collection

import attrs

from kube_core.api import pods
from kube_core.meta.documents import Document, MutableDocument, is_deleting, thaw, uid_of
from kube_plugins.controllers.job.indexes import completion_index, format_indexes
from kube_plugins.controllers.job.observation import Observation
from kube_plugins.controllers.job.policies import has_failed, judge
from kube_plugins.controllers.job.verdict import Verdict

__all__ = ["LIMIT", "Note", "note", "settle"]

#: How many uids the status holds at most.
LIMIT = 500


@attrs.frozen
class Note:
    """The status with what ended noted in it, and the pods whose finalizers may then come off."""

    status: MutableDocument
    release: tuple[Document, ...]


def note(seen: Observation, verdict: Verdict | None) -> Note:
    """Step 1. A verdict lets go of every pod: those that it ends count as failed, if it is one of failure."""
    status: MutableDocument = thaw(seen.status)
    waiting = status.get("uncountedTerminatedPods") or {}
    succeeded, failed = list(waiting.get("succeeded") or ()), list(waiting.get("failed") or ())
    listed = {*succeeded, *failed}
    waits = set() if verdict is not None else {uid_of(pod) for pod in seen.awaiting_replacement.values()}
    release: list[Document] = []
    for pod in seen.tracked:
        uid = uid_of(pod)
        if uid in waits and not is_deleting(seen.job):
            continue
        failed_now = has_failed(seen.job, pod) or (verdict is not None and verdict.is_failure)
        if not (pods.is_terminal(pod) or failed_now or is_deleting(seen.job) or verdict is not None):
            continue
        if uid not in listed:
            if len(succeeded) + len(failed) >= LIMIT:
                break
            if pods.phase_of(pod) == "Succeeded":
                if not seen.is_indexed:
                    succeeded.append(uid)
            elif failed_now and _counts(seen, pod):
                failed.append(uid)
        release.append(pod)
    if seen.is_indexed:
        _write(status, "completedIndexes", format_indexes(seen.succeeded_indexes))
        _write(status, "succeeded", len(seen.succeeded_indexes))
    if seen.is_limited_per_index:
        status["failedIndexes"] = format_indexes(seen.failed_indexes)
    status["uncountedTerminatedPods"] = _lists(succeeded, failed)
    return Note(status, tuple(release))


def settle(seen: Observation, status: MutableDocument, released: Collection[str]) -> MutableDocument:
    """Step 3. `released`: the uids whose finalizers came off just now."""
    tracked = {uid_of(pod) for pod in seen.tracked} - set(released)
    waiting = status.get("uncountedTerminatedPods") or {}
    settled: MutableDocument = dict(status)
    left: dict[str, list[str]] = {}
    for name in ("succeeded", "failed"):
        uids = list(waiting.get(name) or ())
        left[name] = [uid for uid in uids if uid in tracked]
        _write(settled, name, int(settled.get(name) or 0) + len(uids) - len(left[name]))
    settled["uncountedTerminatedPods"] = _lists(left["succeeded"], left["failed"])
    return settled


def _counts(seen: Observation, pod: Document) -> bool:
    """Whether a failed pod is counted: one out of an indexed Job's range, or that the policy ignores, is not."""
    if seen.is_indexed:
        index = completion_index(pod)
        if index is None or index >= (seen.completions or 0):
            return False
    return judge(seen.job, pod).counts


def _lists(succeeded: list[str], failed: list[str]) -> MutableDocument:
    return {name: uids for name, uids in (("succeeded", succeeded), ("failed", failed)) if uids}


def _write(status: MutableDocument, name: str, value: int | str) -> None:
    if value:
        status[name] = value
    else:
        status.pop(name, None)
