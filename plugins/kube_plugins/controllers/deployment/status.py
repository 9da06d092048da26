"""The status of a Deployment: counters over its replica sets, and the conditions Available and ReplicaFailure.

Pure. Condition reasons and messages are upstream's ("Deployments", "Deployment status"); the Progressing condition has
a file of its own (`progress.py`). A condition keeps its times while its status and reason stay what they were, and its
transition time while its status does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kube_core.meta.documents import Document, MutableDocument, metadata_of, thaw
from kube_core.meta.times import format_time
from kube_plugins.controllers.deployment.replicasets import (
    fenceposts,
    reported,
    total_available,
    total_size,
    wanted,
)
from kube_plugins.controllers.deployment.revisions import Generations

__all__ = [
    "calculate_status",
    "condition_of",
    "is_complete",
    "make_condition",
    "note_failure",
    "remove_condition",
    "set_condition",
]


def calculate_status(deployment: Document, generations: Generations, now: float) -> MutableDocument:
    """What the status should say, its conditions Progressing and ReplicaFailure left as they are."""
    everything = generations.all
    available = total_available(everything)
    before: Document = deployment.get("status") or {}
    status: MutableDocument = {
        "observedGeneration": int(metadata_of(deployment).get("generation") or 0),
        "replicas": _sum(everything, "replicas"),
        "updatedReplicas": reported(generations.new, "replicas"),
        "readyReplicas": _sum(everything, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(total_size(everything) - available, 0),
        "terminatingReplicas": _sum(everything, "terminatingReplicas"),
        "conditions": thaw(before.get("conditions") or []),
    }
    if before.get("collisionCount") is not None:
        status["collisionCount"] = before["collisionCount"]
    # Upstream's counters are left out of the document while they are 0 (but for the one that may be unknown).
    for counter in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas"):
        if not status[counter]:
            del status[counter]
    enough = available >= wanted(deployment) - fenceposts(deployment).unavailable
    set_condition(status, _availability(enough, now))
    return status


def note_failure(status: MutableDocument, generations: Generations) -> None:
    """Take over the condition of a replica set that cannot make its pods, or drop it where all can."""
    failure = _failure(generations)
    if failure is None:
        remove_condition(status, "ReplicaFailure")
    else:
        set_condition(status, failure)


def is_complete(deployment: Document, status: Document) -> bool:
    """Every pod is of the new revision and available, and no old one is left."""
    replicas = wanted(deployment)
    counters = ("updatedReplicas", "replicas", "availableReplicas")
    seen = int(status.get("observedGeneration") or 0) >= int(metadata_of(deployment).get("generation") or 0)
    return seen and all(int(status.get(counter) or 0) == replicas for counter in counters)


def condition_of(status: Document | None, kind: str) -> Document | None:
    for condition in (status or {}).get("conditions") or ():
        if condition.get("type") == kind:
            found: Document = condition
            return found
    return None


def make_condition(kind: str, state: str, reason: str, message: str, now: float) -> dict[str, Any]:
    """A condition as of now; `state` is `True`, `False` or `Unknown`."""
    moment = format_time(now)
    return {
        "type": kind,
        "status": state,
        "lastUpdateTime": moment,
        "lastTransitionTime": moment,
        "reason": reason,
        "message": message,
    }


def set_condition(status: MutableDocument, condition: dict[str, Any]) -> None:
    """Put a condition in; one with the same status and reason stays as it was."""
    present = condition_of(status, condition["type"])
    if present is not None and present["status"] == condition["status"]:
        if present.get("reason") == condition["reason"]:
            return
        condition = {**condition, "lastTransitionTime": present.get("lastTransitionTime")}
    remove_condition(status, condition["type"])
    status.setdefault("conditions", []).append(condition)


def remove_condition(status: MutableDocument, kind: str) -> None:
    status["conditions"] = [each for each in status.get("conditions") or () if each.get("type") != kind]


def _availability(enough: bool, now: float) -> dict[str, Any]:
    if enough:
        message = "Deployment has minimum availability."
        return make_condition("Available", "True", "MinimumReplicasAvailable", message, now)
    message = "Deployment does not have minimum availability."
    return make_condition("Available", "False", "MinimumReplicasUnavailable", message, now)


def _failure(generations: Generations) -> dict[str, Any] | None:
    """The failure that a replica set reports, the new one's first."""
    newest_first = ([generations.new] if generations.new is not None else []) + list(generations.old)
    for replica_set in newest_first:
        condition = condition_of(replica_set.get("status"), "ReplicaFailure")
        if condition is not None:
            copied: dict[str, Any] = {**thaw(condition), "lastUpdateTime": condition.get("lastTransitionTime")}
            return copied
    return None


def _sum(replica_sets: Sequence[Document], counter: str) -> int:
    return sum(reported(replica_set, counter) for replica_set in replica_sets)
