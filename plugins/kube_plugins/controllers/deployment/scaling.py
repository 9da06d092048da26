"""Scaling in the middle of a rollout, or while it is paused.

With one replica set that has pods, it takes the whole change. With several, the change is shared in proportion to
their sizes, so that a half-done rollout stays half done (upstream: "Deployments", "Proportional scaling"). The
numbers noted on each replica set when it was last sized tell what its size was a share of, and that a scaling has
happened at all; what rounding leaves over goes to the largest (and there to the newest when growing, to the oldest
when shrinking).
"""

from __future__ import annotations

from collections.abc import Sequence

from kube_core.meta.documents import Document, metadata_of, name_of
from kube_plugins.controllers.deployment.replicasets import (
    DESIRED_ANNOTATION,
    MAX_ANNOTATION,
    Resize,
    active,
    annotated_number,
    available,
    fenceposts,
    is_rolling,
    oldest_first,
    size,
    total_size,
    wanted,
)

__all__ = ["is_saturated", "is_scaled", "plan_scaling"]


def is_scaled(deployment: Document, replica_sets: Sequence[Document]) -> bool:
    """Whether the wanted number has changed since the replica sets with pods were last sized."""
    noted = (annotated_number(replica_set, DESIRED_ANNOTATION) for replica_set in active(replica_sets))
    return any(number is not None and number != wanted(deployment) for number in noted)


def is_saturated(deployment: Document, replica_set: Document | None) -> bool:
    """Whether one replica set alone already is all that the Deployment wants."""
    if replica_set is None:
        return False
    replicas = wanted(deployment)
    noted = annotated_number(replica_set, DESIRED_ANNOTATION)
    return size(replica_set) == replicas and noted == replicas and available(replica_set) == replicas


def plan_scaling(deployment: Document, new: Document | None, old: Sequence[Document]) -> tuple[Resize, ...]:
    """Sizes that bring the replica sets together to what the Deployment now wants, without moving the rollout on."""
    only = _active_or_latest(new, old)
    if only is not None:
        return () if size(only) == wanted(deployment) else (Resize(only, wanted(deployment)),)
    if is_saturated(deployment, new):
        return tuple(Resize(replica_set, 0) for replica_set in active(old))
    if is_rolling(deployment):
        return _in_proportion(deployment, active([*old, *([new] if new is not None else [])]))
    return ()


def _active_or_latest(new: Document | None, old: Sequence[Document]) -> Document | None:
    """The only replica set with pods; the newest where none has any; None where several have."""
    with_pods = active([*old, *([new] if new is not None else [])])
    if len(with_pods) == 1:
        return with_pods[0]
    if with_pods:
        return None
    if new is not None:
        return new
    return oldest_first(old)[-1] if old else None


def _in_proportion(deployment: Document, replica_sets: Sequence[Document]) -> tuple[Resize, ...]:
    replicas = wanted(deployment)
    allowed = replicas + fenceposts(deployment).surge if replicas > 0 else 0
    to_add = allowed - total_size(replica_sets)
    ordered = _largest_first(replica_sets, newest_first=to_add > 0)
    sizes: list[int] = []
    added = 0
    for replica_set in ordered:
        share = _share(deployment, replica_set, to_add - added) if to_add else 0
        sizes.append(size(replica_set) + share)
        added += share
    left = to_add - added
    for position, number in enumerate(sizes):
        # The first takes it all, but for what it does not have to give.
        change = max(left, -number)
        sizes[position] += change
        left -= change
    return tuple(Resize(replica_set, number) for replica_set, number in zip(ordered, sizes, strict=True))


def _largest_first(replica_sets: Sequence[Document], *, newest_first: bool) -> list[Document]:
    by_age = sorted(
        replica_sets,
        key=lambda each: (metadata_of(each).get("creationTimestamp") or "", name_of(each)),
        reverse=newest_first,
    )
    return sorted(by_age, key=size, reverse=True)


def _share(deployment: Document, replica_set: Document, left: int) -> int:
    """How many of the `left` replicas to add (or, where negative, to take) are this replica set's."""
    if left == 0:
        return 0
    present = size(replica_set)
    replicas = wanted(deployment)
    if replicas == 0:
        fraction = -present
    else:
        before = annotated_number(replica_set, MAX_ANNOTATION) or int(
            (deployment.get("status") or {}).get("replicas") or 0
        )
        if not before:
            return 0
        scaled = present * (replicas + fenceposts(deployment).surge) / before
        fraction = int(scaled + 0.5) - present
    return min(fraction, left) if left > 0 else max(fraction, left)
