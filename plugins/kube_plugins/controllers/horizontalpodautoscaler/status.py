"""An autoscaler's status while it is being made: conditions one by one, the numbers, and one write if any differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kube_core.control.conditions import set_condition
from kube_core.meta.documents import Document, MutableDocument, metadata_of, thaw
from kube_core.meta.times import format_time

__all__ = ["Draft", "was_scaled_to_zero"]


class Draft:
    """Of one autoscaler, at one moment (seconds since the epoch)."""

    def __init__(self, autoscaler: Document, now: float) -> None:
        self._autoscaler = autoscaler
        self._now = now
        self._before: Document = autoscaler.get("status") or {}
        self._status: MutableDocument = dict(self._before)

    def set(self, condition: str, status: str, reason: str, message: str) -> None:
        conditions: Sequence[Document] = self._status.get("conditions") or ()
        self._status["conditions"] = set_condition(
            conditions, condition, status, now=self._now, reason=reason, message=message
        )

    def numbers(
        self, current: int, desired: int | None, metrics: Sequence[Mapping[str, Any]], *, rescaled: bool = False
    ) -> None:
        """How many replicas there are and are wanted (None: as it says), and what the metrics say."""
        wanted = self._before.get("desiredReplicas", 0) if desired is None else desired
        self._status |= {
            "currentReplicas": current,
            "desiredReplicas": wanted,
            "currentMetrics": [dict(each) for each in metrics] or None,
            "observedGeneration": metadata_of(self._autoscaler).get("generation"),
        }
        if rescaled:
            self._status["lastScaleTime"] = format_time(self._now)

    def written(self) -> MutableDocument | None:
        """The autoscaler with this status; None where it has it already."""
        if _compact(self._status) == _compact(self._before):
            return None
        return {**thaw(self._autoscaler), "status": thaw(_compact(self._status))}


def was_scaled_to_zero(autoscaler: Document) -> bool:
    """Whether it is zero because the controller made it so."""
    conditions: Sequence[Document] = (autoscaler.get("status") or {}).get("conditions") or ()
    return any(each.get("type") == "ScaledToZero" and each.get("status") == "True" for each in conditions)


def _compact(status: Document) -> MutableDocument:
    """Without what says nothing; the two numbers are always said."""
    kept = {key: value for key, value in status.items() if value not in (None, [], "")}
    return {"currentReplicas": 0, "desiredReplicas": 0, "currentMetrics": None, **kept}
