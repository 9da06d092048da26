"""How many pods a Job makes, for which indexes, and which it ends.

Pure. No more pods run than `parallelism` says, and no more than completions are missing. A pod that is too many is one
whose index is done, taken twice, or out of range; then whichever a ReplicaSet would let go first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs

from kube_core.meta.documents import Document, uid_of
from kube_plugins.controllers.job.backoff import Streak, delay_after, finish_time, next_failure_counts
from kube_plugins.controllers.job.indexes import completion_index
from kube_plugins.controllers.job.observation import Observation
from kube_plugins.controllers.replicaset.victims import choose_victims

__all__ = ["BURST", "Plan", "plan_pods", "replacement_counts", "wanted"]

#: How many pods one reconciliation makes or deletes at most.
BURST = 500


@attrs.frozen
class Plan:
    """`create`: an entry for each pod, its index, or None where pods have none. `wait`: when more may be made."""

    create: tuple[int | None, ...] = ()
    delete: tuple[Document, ...] = ()
    wait: float | None = None


def wanted(seen: Observation) -> int:
    """How many pods should be active."""
    if seen.is_suspended:
        return 0
    parallelism = int(seen.spec.get("parallelism", 1))
    if seen.completions is None:
        # A work queue: once one pod has succeeded the queue is empty, and no pod is replaced.
        return min(len(seen.active), parallelism) if seen.succeeded else parallelism
    return max(min(seen.completions - seen.succeeded - len(seen.failed_indexes), parallelism), 0)


def plan_pods(seen: Observation, streak: Streak) -> Plan:
    """From the pods that are active to those that should be."""
    surplus = len(seen.active) - wanted(seen)
    delete = _victims(seen, surplus)
    if delete:
        return Plan(delete=tuple(delete[:BURST]))
    missing = min(-surplus - seen.held, BURST)
    if missing <= 0:
        return Plan()
    if seen.is_limited_per_index:
        return _plan_by_index(seen, missing)
    if (wait := streak.wait(seen.now)) > 0:
        return Plan(wait=wait)
    if not seen.is_indexed:
        return Plan((None,) * missing)
    return Plan(tuple(_take(_free_indexes(seen), missing)))


def replacement_counts(seen: Observation, index: int | None) -> tuple[int, int]:
    """The counts of failures that a new pod of this index carries."""
    failed = seen.awaiting_replacement.get(index) if index is not None else None
    return next_failure_counts(seen.job, failed) if failed is not None else (0, 0)


def _plan_by_index(seen: Observation, missing: int) -> Plan:
    """Each index waits on its own after a failure."""
    create: list[int | None] = []
    waits: list[float] = []
    for index in _free_indexes(seen):
        if len(create) == missing:
            break
        failed = seen.awaiting_replacement.get(index)
        if failed is not None:
            due = finish_time(failed, seen.now) + delay_after(sum(next_failure_counts(seen.job, failed)))
            if due > seen.now:
                waits.append(due - seen.now)
                continue
        create.append(index)
    return Plan(tuple(create), wait=min(waits) if waits and len(create) < missing else None)


def _free_indexes(seen: Observation) -> Iterator[int]:
    taken = {completion_index(pod) for pod in seen.active} | seen.succeeded_indexes | seen.failed_indexes
    if seen.held:
        taken |= {completion_index(pod) for pod in seen.pods if _is_going(pod)}
    return (index for index in range(seen.completions or 0) if index not in taken)


def _victims(seen: Observation, surplus: int) -> Sequence[Document]:
    if not seen.is_indexed:
        return choose_victims(seen.active, seen.active, surplus, seen.now) if surplus > 0 else ()
    done = seen.succeeded_indexes | seen.failed_indexes
    victims: list[Document] = []
    kept: dict[int, list[Document]] = {}
    for pod in seen.active:
        index = completion_index(pod)
        if index is None or index >= (seen.completions or 0) or index in done:
            victims.append(pod)
        else:
            kept.setdefault(index, []).append(pod)
    for twins in kept.values():
        victims += choose_victims(twins, twins, len(twins) - 1, seen.now) if len(twins) > 1 else ()
    gone = {uid_of(pod) for pod in victims}
    rest = [pod for pod in seen.active if uid_of(pod) not in gone]
    if len(victims) < surplus:
        victims += choose_victims(rest, rest, surplus - len(victims), seen.now)
    return victims


def _is_going(pod: Document) -> bool:
    phase = (pod.get("status") or {}).get("phase")
    return pod["metadata"].get("deletionTimestamp") is not None and phase not in ("Succeeded", "Failed")


def _take(indexes: Iterator[int], count: int) -> Iterator[int]:
    for _, index in zip(range(count), indexes, strict=False):
        yield index
