"""Conditions of the common form (`metav1.Condition`), where a status has them.

Documented under "API conventions" (typical status properties). Kinds with conditions of their own form are not judged
by these rules.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from kube_core.meta import fields, names
from kube_core.meta.fields import Path, generated
from kube_core.registry.kinds.checks import Errors, named, one_of

__all__ = ["conditions", "is_true"]

_REASON = re.compile("[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?", re.ASCII)
_BAD_REASON = (
    "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric "
    "characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or "
    "'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is "
    f"'{_REASON.pattern}')"
)
_STATUSES = ("False", "True", "Unknown")
_REASON_LIMIT = 1024
_MESSAGE_LIMIT = 32 * 1024


def conditions(path: Path, listed: Sequence[Mapping[str, Any]] | None) -> Errors:
    seen: set[str] = set()
    for position, condition in enumerate(listed or ()):
        here, kind, status = path.index(position), condition.get("type") or "", condition.get("status") or ""
        if kind in seen:
            yield from generated([fields.duplicate(here, kind)])
        seen.add(kind)
        if kind:
            yield from named(here.child("type"), kind, names.qualified_name)
        else:
            yield from generated([fields.required(here.child("type"), "is required")])
        where = here.child("status")
        yield from generated(one_of(where, status, _STATUSES) if status else [fields.required(where)])
        generation = condition.get("observedGeneration") or 0
        if generation < 0:
            detail = "must be greater than or equal to zero"
            yield from generated([fields.invalid(here.child("observedGeneration"), generation, detail)])
        if not condition.get("lastTransitionTime"):
            yield from generated([fields.required(here.child("lastTransitionTime"))])
        yield from _reason(here.child("reason"), condition.get("reason") or "")
        if len(condition.get("message") or "") > _MESSAGE_LIMIT:
            yield fields.too_long(here.child("message"), _MESSAGE_LIMIT)


def is_true(listed: Sequence[Mapping[str, Any]] | None, kind: str) -> bool:
    return any(each.get("type") == kind and each.get("status") == "True" for each in listed or ())


def _reason(path: Path, reason: str) -> Errors:
    if not reason:
        yield from generated([fields.required(path)])
        return
    if not _REASON.fullmatch(reason):
        yield fields.invalid(path, reason, _BAD_REASON)
    if len(reason) > _REASON_LIMIT:
        yield from generated([fields.too_long(path, _REASON_LIMIT)])
