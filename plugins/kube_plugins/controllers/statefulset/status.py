"""The status of a stateful set: counters over its pods, and which revision is the present one.

Pure. A rolling update is over when every replica is of the newest revision, and ready: then that becomes the current
one (upstream: "StatefulSet status").
"""

from __future__ import annotations

from collections.abc import Sequence

from kube_core.api import pods
from kube_core.meta.documents import Document, MutableDocument, is_deleting, metadata_of
from kube_plugins.controllers.statefulset.identity import revision_of
from kube_plugins.controllers.statefulset.plan import wanted

__all__ = ["calculate_status", "seconds_until_available"]


def calculate_status(
    stateful_set: Document, found: Sequence[Document], *, current: str, update: str, collisions: int, now: float
) -> MutableDocument:
    """What the status should say; `current` and `update` are names of revisions."""
    min_ready_seconds = int(stateful_set["spec"].get("minReadySeconds") or 0)
    ready = [pod for pod in found if pods.phase_of(pod) == "Running" and pods.is_ready(pod)]
    staying = [revision_of(pod) for pod in found if not is_deleting(pod)]
    counters = {
        "readyReplicas": len(ready),
        "currentReplicas": staying.count(current),
        "updatedReplicas": staying.count(update),
    }
    if _is_rolled_out(stateful_set, found, counters):
        current, counters["currentReplicas"] = update, counters["updatedReplicas"]
    status: MutableDocument = {
        "observedGeneration": int(metadata_of(stateful_set).get("generation") or 0),
        "replicas": len(found),
        "availableReplicas": sum(1 for pod in ready if pods.is_available(pod, min_ready_seconds, now)),
        "currentRevision": current,
        "updateRevision": update,
        "collisionCount": collisions,
    }
    status |= {name: count for name, count in counters.items() if count}
    conditions = (stateful_set.get("status") or {}).get("conditions")
    if conditions:
        status["conditions"] = conditions
    return status


def seconds_until_available(stateful_set: Document, found: Sequence[Document], now: float) -> float | None:
    """When the next pod that is ready becomes available, if any is yet to."""
    min_ready_seconds = int(stateful_set["spec"].get("minReadySeconds") or 0)
    waits = (pods.until_available(pod, min_ready_seconds, now) for pod in found if not is_deleting(pod))
    return min((wait for wait in waits if wait is not None), default=None)


def _is_rolled_out(stateful_set: Document, found: Sequence[Document], counters: dict[str, int]) -> bool:
    everyone = wanted(stateful_set)
    return len(found) == counters["updatedReplicas"] == counters["readyReplicas"] == everyone
