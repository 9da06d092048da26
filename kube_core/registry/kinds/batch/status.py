"""A Job's status: a finished Job says when, why, and never becomes unfinished again.

The rules are those that upstream lays on whoever controls Jobs (documented under "Delegation of managing a Job object
to external controller"). Most are about what a write changes only: a status that breaks one of them already can still
be written, as long as the write leaves alone what is wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from kube_core.meta import fields, times
from kube_core.meta.documents import Document
from kube_core.meta.fields import FieldError, Path
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.batch.indexes import IndexesError, parse_indexes
from kube_core.registry.kinds.checks import Errors

__all__ = ["validate_status"]

STATUS = Path("status")
CONDITIONS = STATUS.child("conditions")
_COUNTS = ("active", "succeeded", "failed", "ready", "terminating")
_FIELDS = (
    "active",
    "completedIndexes",
    "completionTime",
    "failedIndexes",
    "ready",
    "startTime",
    "terminating",
    "uncountedTerminatedPods",
)
_CONDITIONS = ("Complete", "Failed", "FailureTarget", "SuccessCriteriaMet")
#: Which of two conditions that are both true is shown how: whether that changed now matters for the first two only.
_EXCLUSIVE = (("Complete", "Failed"), ("Complete", "FailureTarget"))


def validate_status(document: Document, old: Document) -> Errors:
    spec: Mapping[str, Any] = document["spec"]
    status: Mapping[str, Any] = document.get("status") or {}
    before: Mapping[str, Any] = old.get("status") or {}
    changed = {name for name in _FIELDS if (status.get(name) or None) != (before.get(name) or None)}
    changed |= {name for name in _CONDITIONS if _true(status, name) != _true(before, name)}
    if _finished(status) != _finished(before):
        changed.add("finished")
    for name in _COUNTS:
        yield from checks.non_negative(STATUS.child(name), status.get(name))
    yield from _uncounted(status)
    yield from _times(status, changed)
    yield from _reasons(status, changed)
    yield from _leftovers(spec, status, changed)
    yield from _indexes(spec, status, changed)
    if _finished(status) and changed & {"finished", "terminating"} and (count := status.get("terminating") or 0) > 0:
        yield fields.invalid(STATUS.child("terminating"), count, "terminating>0 is invalid for finished job")
    ready = status.get("ready")
    if ready is not None and changed & {"ready", "active"} and ready > (status.get("active") or 0):
        yield fields.invalid(STATUS.child("ready"), ready, "cannot set more ready pods than active")
    for other in ("Failed", "FailureTarget"):
        if _true(status, "SuccessCriteriaMet") and _true(status, other):
            yield _conflict(f"cannot set SuccessCriteriaMet=True and {other}=true conditions")
    if spec.get("successPolicy") is not None and _true(status, "Complete") and not _true(status, "SuccessCriteriaMet"):
        yield _conflict("cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True")
    yield from _transitions(spec, status, before)


def _uncounted(status: Mapping[str, Any]) -> Errors:
    seen: set[str] = set()
    for name in ("succeeded", "failed"):
        for position, uid in enumerate((status.get("uncountedTerminatedPods") or {}).get(name) or ()):
            here = STATUS.child("uncountedTerminatedPods").child(name).index(position)
            if not uid:
                yield fields.invalid(here, uid, "must not be empty")
            elif uid in seen:
                yield fields.duplicate(here, uid)
            seen.add(uid)


def _times(status: Mapping[str, Any], changed: Collection[str]) -> Errors:
    for one, other in _EXCLUSIVE:
        if {one, other} & set(changed) and _true(status, one) and _true(status, other):
            yield _conflict(f"cannot set {one}=True and {other}=true conditions")
    done, started, where = status.get("completionTime"), status.get("startTime"), STATUS.child("completionTime")
    if {"Complete", "completionTime"} & set(changed):
        if done is not None and not _true(status, "Complete"):
            yield fields.invalid(where, done, "cannot set completionTime when there is no Complete=True condition")
        if done is None and _true(status, "Complete"):
            yield fields.required(where, "completionTime is required for Complete jobs")
    backwards = done is not None and started is not None and times.parse_time(done) < times.parse_time(started)
    if backwards and {"startTime", "completionTime"} & set(changed):
        yield fields.invalid(where, done, "must be equal to or after `startTime`")


def _reasons(status: Mapping[str, Any], changed: Collection[str]) -> Errors:
    """A Job ends in two steps: first it is known how, then, when its pods are gone, it is over."""
    for end, target, watched in (
        ("Failed", "FailureTarget", {"Failed", "failedIndexes"}),
        ("Complete", "SuccessCriteriaMet", {"Complete", "SuccessCriteriaMet"}),
    ):
        if watched & set(changed) and _true(status, end) and not _true(status, target):
            yield _conflict(f"cannot set {end}=True condition without the {target}=true condition")


def _leftovers(spec: Mapping[str, Any], status: Mapping[str, Any], changed: Collection[str]) -> Errors:
    """What a finished Job has no more of."""
    if not _finished(status):
        return
    active, uncounted = status.get("active") or 0, status.get("uncountedTerminatedPods") or {}
    if {"finished", "active"} & set(changed) and active > 0:
        yield fields.invalid(STATUS.child("active"), active, "active>0 is invalid for finished job")
    never_started = spec.get("suspend") and spec.get("completions") == 0
    if {"finished", "startTime"} & set(changed) and status.get("startTime") is None and not never_started:
        yield fields.required(STATUS.child("startTime"), "startTime is required for finished job")
    if {"finished", "uncountedTerminatedPods"} & set(changed) and (
        uncounted.get("failed") or uncounted.get("succeeded")
    ):
        where = STATUS.child("uncountedTerminatedPods")
        yield fields.invalid(where, dict(uncounted), "must be empty for finished job")


def _indexes(spec: Mapping[str, Any], status: Mapping[str, Any], changed: Collection[str]) -> Errors:
    completions, limited = spec.get("completions"), spec.get("backoffLimitPerIndex") is not None
    done, failed = status.get("completedIndexes") or "", status.get("failedIndexes")
    lists: dict[str, Sequence[range]] = {}
    for name, text, wanted in (("completedIndexes", done, True), ("failedIndexes", failed, limited)):
        if text is None or completions is None:
            continue
        try:
            lists[name] = parse_indexes(text, completions)
        except IndexesError as error:
            if wanted and name in changed:
                yield fields.invalid(STATUS.child(name), text, f"error parsing {name}: {error}")
    if done and "completedIndexes" in changed and spec.get("completionMode") != "Indexed":
        detail = "cannot set non-empty completedIndexes when non-indexed completion mode"
        yield fields.invalid(STATUS.child("completedIndexes"), done, detail)
    if failed is not None and "failedIndexes" in changed and not limited:
        detail = "cannot set non-null failedIndexes when backoffLimitPerIndex is null"
        yield fields.invalid(STATUS.child("failedIndexes"), failed, detail)
    if {"failedIndexes", "completedIndexes"} & set(changed) and len(lists) == 2:
        common = next(_common(lists["completedIndexes"], lists["failedIndexes"]), None)
        if common is not None:
            detail = f"failedIndexes and completedIndexes overlap at index: {common}"
            yield fields.invalid(STATUS.child("failedIndexes"), failed, detail)


def _common(one: Sequence[range], other: Sequence[range]) -> Iterator[int]:
    """Indexes that are in both lists of ranges, as the first of each overlap."""
    for left in one:
        for right in other:
            start = max(left.start, right.start)
            if start < min(left.stop, right.stop):
                yield start


def _transitions(spec: Mapping[str, Any], status: Mapping[str, Any], before: Mapping[str, Any]) -> Errors:
    for kind in ("Failed", "Complete", "FailureTarget"):
        if _true(before, kind) and not _true(status, kind):
            yield _conflict(f"cannot disable the terminal {kind}=True condition")
    # An indexed Job may shrink, its parallelism with it.
    elastic = spec.get("completionMode") == "Indexed" and spec.get("completions") == spec.get("parallelism")
    for name in ("failed",) if elastic else ("failed", "succeeded"):
        if (count := status.get(name) or 0) < (before.get(name) or 0):
            yield fields.invalid(STATUS.child(name), count, f"cannot decrease the {name} counter")
    done, was_done = status.get("completionTime"), before.get("completionTime")
    if done is not None and was_done is not None and done != was_done:
        yield fields.invalid(STATUS.child("completionTime"), done, checks.IMMUTABLE)
    started, was_started = status.get("startTime"), before.get("startTime")
    resumes = _true(before, "Suspended") and _true(status, "Suspended", "False")
    if was_started is not None and started != was_started and not spec.get("suspend") and not resumes:
        detail = "field is immutable for unsuspended job once set"
        yield fields.invalid(STATUS.child("startTime"), started, detail)
    met, was_met = _true(status, "SuccessCriteriaMet"), _true(before, "SuccessCriteriaMet")
    if was_met and not met:
        yield _conflict("cannot disable the SuccessCriteriaMet=True condition")
    if met and not was_met and _true(before, "Complete"):
        yield _conflict("cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions")


def _finished(status: Mapping[str, Any]) -> bool:
    return _true(status, "Complete") or _true(status, "Failed")


def _true(status: Mapping[str, Any], kind: str, value: str = "True") -> bool:
    return any(each.get("type") == kind and each.get("status") == value for each in status.get("conditions") or ())


def _conflict(detail: str) -> FieldError:
    return FieldError(str(CONDITIONS), "FieldValueInvalid", f"Invalid value: {detail}")
