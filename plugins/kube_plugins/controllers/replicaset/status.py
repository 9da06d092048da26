"""The status of a ReplicaSet: counters over its pods, and the condition ReplicaFailure.

Pure; upstream's fields ("ReplicaSet status"). Pods that are being deleted count as terminating, and as nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from kube_core.api import pods
from kube_core.control.conditions import set_condition, without_condition
from kube_core.meta.documents import Document, MutableDocument, labels_of, metadata_of
from kube_plugins.controllers.replicaset.tally import Sort, sorted_out

__all__ = ["Counts", "calculate_status", "count", "count_sorts", "min_ready_seconds", "seconds_until_available"]


@attrs.frozen
class Counts:
    """The pods of a replica set, by number."""

    active: int = 0
    terminating: int = 0
    fully_labeled: int = 0
    ready: int = 0
    available: int = 0


def min_ready_seconds(replica_set: Document) -> int:
    """For how long a pod has to be ready to be available."""
    return int(replica_set["spec"].get("minReadySeconds") or 0)


def count(replica_set: Document, owned: Sequence[Document], now: float) -> Counts:
    """By looking at each pod."""
    counts, seconds = count_sorts(replica_set, sorted_out(owned)), min_ready_seconds(replica_set)
    if not seconds:
        return counts
    available = sum(1 for pod in owned if pods.is_active(pod) and pods.is_available(pod, seconds, now))
    return attrs.evolve(counts, available=available)


def count_sorts(replica_set: Document, sorts: Mapping[Sort, int]) -> Counts:
    """The same from how many pods of each sort there are; all that are ready are taken for available."""
    template_labels = labels_of(replica_set["spec"]["template"]).items()
    active = terminating = fully_labeled = ready = 0
    for sort, number in sorts.items():
        if not sort.active:
            terminating += number
            continue
        active += number
        if sort.labels.issuperset(template_labels):
            fully_labeled += number
        if sort.ready:
            ready += number
    return Counts(active, terminating, fully_labeled, ready, ready)


def calculate_status(
    replica_set: Document, counts: Counts, now: float, *, surplus: int = 0, failure: str = ""
) -> MutableDocument:
    """What the status should say. `failure` is the error of the last attempt to make or delete pods ("": none)."""
    before = replica_set.get("status") or {}
    status: MutableDocument = {
        "observedGeneration": int(metadata_of(replica_set).get("generation") or 0),
        "replicas": counts.active,
        "terminatingReplicas": counts.terminating,
    }
    counters = {
        "fullyLabeledReplicas": counts.fully_labeled,
        "readyReplicas": counts.ready,
        "availableReplicas": counts.available,
    }
    status |= {name: number for name, number in counters.items() if number}
    conditions = _conditions(before.get("conditions") or (), surplus, failure, now)
    if conditions:
        status["conditions"] = conditions
    return status


def seconds_until_available(replica_set: Document, owned: Sequence[Document], now: float) -> float | None:
    """When the next pod that is ready becomes available, if any is yet to."""
    seconds = min_ready_seconds(replica_set)
    if not seconds:
        return None
    waits = (pods.until_available(pod, seconds, now) for pod in owned if pods.is_active(pod))
    return min((wait for wait in waits if wait is not None), default=None)


def _conditions(before: Sequence[Document], surplus: int, failure: str, now: float) -> list[MutableDocument]:
    if not failure:
        return without_condition(before, "ReplicaFailure")
    if any(condition.get("type") == "ReplicaFailure" for condition in before):
        return [dict(condition) for condition in before]  # the first failure stays until it is over
    reason = "FailedCreate" if surplus < 0 else "FailedDelete"
    return set_condition(before, "ReplicaFailure", "True", now=now, reason=reason, message=failure)
