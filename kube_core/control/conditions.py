"""Conditions in a status: reading them, and changing one the way upstream does.

`lastTransitionTime` moves only when a condition's `status` changes; the order of conditions is kept, a new one comes
last. These are pure: they return new lists and leave what they are given alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from kube_core.meta.documents import Document, MutableDocument
from kube_core.meta.times import format_time

__all__ = ["condition_of", "is_condition_true", "set_condition", "without_condition"]


def condition_of(document: Document, condition_type: str) -> Document | None:
    """The condition of that type in the document's status, or None."""
    conditions: Sequence[Document] = (document.get("status") or {}).get("conditions") or ()
    return next((condition for condition in conditions if condition.get("type") == condition_type), None)


def is_condition_true(document: Document, condition_type: str) -> bool:
    condition = condition_of(document, condition_type)
    return condition is not None and condition.get("status") == "True"


def set_condition(
    conditions: Sequence[Document],
    condition_type: str,
    status: str,
    *,
    now: float,
    reason: str = "",
    message: str = "",
    **more: object,
) -> list[MutableDocument]:
    """`conditions` with one of them set; `status` is "True", "False" or "Unknown", `now` seconds since the epoch.

    `more` are further fields (`observedGeneration`, `lastUpdateTime`), written as they are.
    """
    before = next((condition for condition in conditions if condition.get("type") == condition_type), None)
    moved = before is None or before.get("status") != status
    condition: MutableDocument = {
        "type": condition_type,
        "status": status,
        "lastTransitionTime": format_time(now) if moved or before is None else before.get("lastTransitionTime"),
    }
    if reason:
        condition["reason"] = reason
    if message:
        condition["message"] = message
    condition.update(more)
    changed = [condition if item.get("type") == condition_type else dict(item) for item in conditions]
    return changed if before is not None else [*changed, condition]


def without_condition(conditions: Sequence[Document], condition_type: str) -> list[MutableDocument]:
    """`conditions` without those of one type."""
    return [dict(condition) for condition in conditions if condition.get("type") != condition_type]
