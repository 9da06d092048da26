"""A Job's status: a finished Job says when, why, and never becomes unfinished again.

The rules are those that upstream lays on whoever controls Jobs (documented under "Delegation of managing a Job object
to external controller").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kube_core.meta import fields
from kube_core.meta.documents import Document
from kube_core.meta.fields import FieldError, Path
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.checks import Errors

__all__ = ["validate_status"]

STATUS = Path("status")
CONDITIONS = STATUS.child("conditions")
_COUNTS = ("active", "succeeded", "failed", "terminating", "ready")


def validate_status(document: Document, old: Document) -> Errors:
    status: Mapping[str, Any] = document.get("status") or {}
    before: Mapping[str, Any] = old.get("status") or {}
    for name in _COUNTS:
        yield from checks.non_negative(STATUS.child(name), status.get(name))
    active, ready = status.get("active") or 0, status.get("ready")
    if ready is not None and ready > active:
        yield fields.invalid(STATUS.child("ready"), ready, "cannot set more ready pods than active")
    yield from _transitions(status, before)
    complete, failed = _true(status, "Complete"), _true(status, "Failed")
    finished = complete or failed
    done = status.get("completionTime")
    if complete and done is None:
        yield fields.required(STATUS.child("completionTime"), "completionTime is required for Complete jobs")
    if not complete and done is not None:
        detail = "cannot set completionTime when there is no Complete=True condition"
        yield fields.invalid(STATUS.child("completionTime"), done, detail)
    if complete and failed:
        yield _conflict("cannot set Complete=True and Failed=true conditions")
    if complete and not _true(status, "SuccessCriteriaMet"):
        yield _conflict("cannot set Complete=True condition without the SuccessCriteriaMet=true condition")
    if failed and _true(status, "SuccessCriteriaMet"):
        yield _conflict("cannot set Failed=True and SuccessCriteriaMet=True conditions")
    if finished:
        if status.get("startTime") is None:
            yield fields.required(STATUS.child("startTime"), "startTime is required for finished job")
        if active > 0:
            yield fields.invalid(STATUS.child("active"), active, "active>0 is invalid for finished job")
    started = before.get("startTime")
    if started is not None and status.get("startTime") != started and not document["spec"].get("suspend"):
        if status.get("startTime") is None:
            yield fields.required(STATUS.child("startTime"), "startTime cannot be removed for unsuspended job")
        elif not _true(before, "Suspended"):
            detail = "startTime cannot be modified for unsuspended job"
            yield fields.required(STATUS.child("startTime"), detail)


def _transitions(status: Mapping[str, Any], before: Mapping[str, Any]) -> Errors:
    for kind in ("Complete", "Failed", "FailureTarget", "SuccessCriteriaMet"):
        if _true(before, kind) and not _true(status, kind):
            yield _conflict(f"cannot disable the terminal {kind}=True condition")
    if (_true(before, "Complete") or _true(before, "Failed")) and before.get("completionTime") != status.get(
        "completionTime"
    ):
        yield fields.invalid(STATUS.child("completionTime"), status.get("completionTime"), checks.IMMUTABLE)


def _true(status: Mapping[str, Any], kind: str) -> bool:
    return any(each.get("type") == kind and each.get("status") == "True" for each in status.get("conditions") or ())


def _conflict(detail: str) -> FieldError:
    return FieldError(str(CONDITIONS), "FieldValueInvalid", f"Invalid value: {detail}")
