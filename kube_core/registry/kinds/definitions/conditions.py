"""Conditions and marks of definitions: what their strategy and the API server's loop over them share."""

from __future__ import annotations

from typing import Final

from kube_core.meta.documents import MutableDocument
from kube_core.meta.times import format_time

__all__ = ["API_APPROVED", "CLEANUP", "is_protected", "set_condition"]

#: The finalizer that holds a definition until its objects are gone.
CLEANUP: Final = "customresourcecleanup.apiextensions.k8s.io"
API_APPROVED: Final = "api-approved.kubernetes.io"


def is_protected(group: str) -> bool:
    """Whether a group belongs to the Kubernetes project."""
    return group in ("k8s.io", "kubernetes.io") or group.endswith((".k8s.io", ".kubernetes.io"))


def set_condition(document: MutableDocument, kind: str, status: str, reason: str, message: str, now: float) -> None:
    """Set a condition of a definition; its transition time changes with its status only. `now` in seconds."""
    conditions = document.setdefault("status", {}).get("conditions") or []
    document["status"]["conditions"] = conditions
    wanted = {
        "type": kind,
        "status": status,
        "lastTransitionTime": format_time(now),
        "reason": reason,
        "message": message,
    }
    for index, present in enumerate(conditions):
        if present["type"] == kind:
            if present["status"] == status:
                wanted["lastTransitionTime"] = present.get("lastTransitionTime") or wanted["lastTransitionTime"]
            conditions[index] = wanted
            return
    conditions.append(wanted)
