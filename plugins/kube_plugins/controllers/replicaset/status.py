"""The status of a ReplicaSet: counters over its pods, and the condition ReplicaFailure.

Pure; upstream's fields ("ReplicaSet status"). Pods that are being deleted count as terminating, and as nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

from kube_core.api import pods
from kube_core.control.conditions import set_condition, without_condition
from kube_core.meta.documents import Document, MutableDocument, labels_of, metadata_of

__all__ = ["calculate_status", "seconds_until_available"]


def calculate_status(
    replica_set: Document, owned: Sequence[Document], now: float, *, surplus: int = 0, failure: str = ""
) -> MutableDocument:
    """What the status should say. `failure` is the error of the last attempt to make or delete pods ("": none)."""
    spec, before = replica_set["spec"], replica_set.get("status") or {}
    min_ready_seconds = int(spec.get("minReadySeconds") or 0)
    template_labels = labels_of(spec["template"]).items()
    active = [pod for pod in owned if pods.is_active(pod)]
    ready = [pod for pod in active if pods.is_ready(pod)]
    counters = {
        "fullyLabeledReplicas": sum(1 for pod in active if template_labels <= labels_of(pod).items()),
        "readyReplicas": len(ready),
        "availableReplicas": sum(1 for pod in ready if pods.is_available(pod, min_ready_seconds, now))
        if min_ready_seconds
        else len(ready),
    }
    status: MutableDocument = {
        "observedGeneration": int(metadata_of(replica_set).get("generation") or 0),
        "replicas": len(active),
        "terminatingReplicas": sum(1 for pod in owned if pods.is_terminating(pod)) if len(active) < len(owned) else 0,
    }
    status |= {name: count for name, count in counters.items() if count}
    conditions = _conditions(before.get("conditions") or (), surplus, failure, now)
    if conditions:
        status["conditions"] = conditions
    return status


def seconds_until_available(replica_set: Document, owned: Sequence[Document], now: float) -> float | None:
    """When the next pod that is ready becomes available, if any is yet to."""
    min_ready_seconds = int(replica_set["spec"].get("minReadySeconds") or 0)
    if not min_ready_seconds:
        return None
    waits = (pods.until_available(pod, min_ready_seconds, now) for pod in owned if pods.is_active(pod))
    return min((wait for wait in waits if wait is not None), default=None)


def _conditions(before: Sequence[Document], surplus: int, failure: str, now: float) -> list[MutableDocument]:
    if not failure:
        return without_condition(before, "ReplicaFailure")
    if any(condition.get("type") == "ReplicaFailure" for condition in before):
        return [dict(condition) for condition in before]  # the first failure stays until it is over
    reason = "FailedCreate" if surplus < 0 else "FailedDelete"
    return set_condition(before, "ReplicaFailure", "True", now=now, reason=reason, message=failure)
