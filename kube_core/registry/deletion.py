"""What a deletion does to one object: remove it now, mark it and wait, or nothing new. Pure planning.

Upstream's rules (documented under "Garbage Collection", "Finalizers" and "Pod termination"):

* The propagation policy, or else what the object already carries, or else the kind's default, decides which of the
  finalizers `orphan` and `foregroundDeletion` it has. While it has any finalizer it is only marked.
* A graceful kind (pods) is marked with its grace period and removed when somebody deletes it with grace 0. A second
  deletion may shorten the period, never lengthen it.
* Marking raises `metadata.generation`, where it is kept.
"""

from __future__ import annotations

from typing import Any

import attrs

from kube_core.meta.documents import Document, MutableDocument, thaw
from kube_core.meta.times import format_time, parse_time
from kube_core.registry.context import DeleteOptions
from kube_core.registry.strategy import Strategy

__all__ = ["FOREGROUND", "ORPHAN", "Plan", "is_gone", "plan"]

ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"


@attrs.frozen
class Plan:
    """`document` is the object as it is to be answered; it is written unless `remove`, or nothing changed."""

    document: MutableDocument
    remove: bool
    changed: bool


def plan(current: Document, options: DeleteOptions, strategy: Strategy, now: float) -> Plan:
    """What deleting `current` with `options` does at `now` (seconds since the epoch)."""
    document: MutableDocument = thaw(current)
    metadata: dict[str, Any] = document["metadata"]
    finalizers = _finalizers(metadata, options, strategy)
    grace = strategy.grace_period(current, options.grace_period) if strategy.graceful else 0
    finalizers_changed = finalizers != (metadata.get("finalizers") or [])
    if finalizers:
        metadata["finalizers"] = finalizers
    else:
        metadata.pop("finalizers", None)

    if "deletionTimestamp" in metadata:
        shortened = _shorten(metadata, grace, asked=options.grace_period is not None, graceful=strategy.graceful)
        changed = finalizers_changed or shortened
        pending = bool(finalizers) or (strategy.graceful and metadata.get("deletionGracePeriodSeconds", 0) > 0)
        return Plan(document, remove=not pending and not strategy.holds(document), changed=changed)

    if not (strategy.graceful or finalizers or strategy.holds(document)):
        # It is gone at once: nobody ever sees it marked.
        return Plan(document, remove=True, changed=True)
    mark(document, grace, strategy, now)
    pending = bool(finalizers) or (strategy.graceful and grace > 0) or strategy.holds(document)
    return Plan(document, remove=not pending, changed=True)


def mark(document: MutableDocument, grace: int, strategy: Strategy, now: float) -> None:
    """Set the deletion time, the grace period, and a new generation."""
    metadata = document["metadata"]
    metadata["deletionTimestamp"] = format_time(now + grace)
    metadata["deletionGracePeriodSeconds"] = grace
    if metadata.get("generation", 0) > 0:
        metadata["generation"] += 1
    strategy.prepare_for_deletion(document)


def is_gone(document: Document, strategy: Strategy) -> bool:
    """Whether an object that was just written has nothing left to wait for."""
    metadata = document["metadata"]
    if "deletionTimestamp" not in metadata or metadata.get("finalizers"):
        return False
    if strategy.graceful and metadata.get("deletionGracePeriodSeconds", 0) > 0:
        return False
    return not strategy.holds(document)


def _finalizers(metadata: Document, options: DeleteOptions, strategy: Strategy) -> list[str]:
    present = list(metadata.get("finalizers") or [])
    orphan = _wants(ORPHAN, "Orphan", present, options, strategy)
    foreground = _wants(FOREGROUND, "Foreground", present, options, strategy)
    kept = [finalizer for finalizer in present if finalizer not in (ORPHAN, FOREGROUND)]
    return kept + [ORPHAN] * orphan + [FOREGROUND] * foreground


def _wants(finalizer: str, policy: str, present: list[str], options: DeleteOptions, strategy: Strategy) -> bool:
    if options.orphan_dependents is not None:
        return options.orphan_dependents and finalizer == ORPHAN
    if options.propagation is not None:
        return options.propagation == policy
    if finalizer in present:
        return True
    return policy == strategy.default_propagation


def _shorten(metadata: dict[str, Any], grace: int, *, asked: bool, graceful: bool) -> bool:
    if not graceful or not asked:
        return False
    present = int(metadata.get("deletionGracePeriodSeconds") or 0)
    if grace >= present:
        return False
    began = parse_time(metadata["deletionTimestamp"]) - present
    metadata["deletionTimestamp"] = format_time(began + grace)
    metadata["deletionGracePeriodSeconds"] = grace
    return True
