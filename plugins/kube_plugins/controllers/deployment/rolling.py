"""Rolling update: which replica set grows or shrinks next.

One step at a time, as upstream documents it: first the new replica set grows as far as the surge allows; when it
cannot, old ones shrink, those of their pods that are unhealthy first, as far as the unavailable limit allows. Each
step looks only at the sizes and the availability that replica sets report, so a step may be planned from a state that
is a little behind and still keeps the limits:

* the sizes together never come to more than wanted + surge because of a step;
* a step never takes pods so that fewer than wanted - unavailable could be available, counting the new replica set's
  pods that are not available yet as already lost.

An empty plan means that there is nothing to do until pods change, or that the rollout is complete.
"""

from __future__ import annotations

from collections.abc import Sequence

from kube_core.meta.documents import Document
from kube_plugins.controllers.deployment.replicasets import (
    Resize,
    available,
    fenceposts,
    is_rolling,
    oldest_first,
    size,
    total_size,
    wanted,
)

__all__ = ["new_size", "plan_rolling_update"]


def plan_rolling_update(deployment: Document, new: Document, old: Sequence[Document]) -> tuple[Resize, ...]:
    """The next step from what there is towards only `new` having pods. `old` excludes `new`."""
    grown = new_size(deployment, new, old)
    if grown != size(new):
        return (Resize(new, grown),)
    return _shrink_old(deployment, new, old)


def new_size(deployment: Document, new: Document | None, old: Sequence[Document]) -> int:
    """How large the new replica set should be now, beside the old ones. `None`: it is yet to be made."""
    replicas = wanted(deployment)
    if not is_rolling(deployment):
        return replicas
    present = size(new)
    if present >= replicas:
        return replicas
    room = replicas + fenceposts(deployment).surge - (total_size(old) + present)
    return present + min(max(room, 0), replicas - present)


def _shrink_old(deployment: Document, new: Document, old: Sequence[Document]) -> tuple[Resize, ...]:
    minimum = wanted(deployment) - fenceposts(deployment).unavailable
    not_yet_available = size(new) - available(new)
    budget = total_size([*old, new]) - minimum - not_yet_available
    if total_size(old) == 0 or budget <= 0:
        return ()
    sizes = {id(replica_set): size(replica_set) for replica_set in old}
    _take_unhealthy(old, sizes, budget)
    _take_healthy([*old, new], old, sizes, minimum)
    return tuple(
        Resize(replica_set, sizes[id(replica_set)])
        for replica_set in oldest_first(old)
        if sizes[id(replica_set)] != size(replica_set)
    )


def _take_unhealthy(old: Sequence[Document], sizes: dict[int, int], budget: int) -> None:
    """Pods that serve nobody go first, for they cost no availability."""
    for replica_set in oldest_first(old):
        unhealthy = max(sizes[id(replica_set)] - available(replica_set), 0)
        taken = min(unhealthy, budget)
        sizes[id(replica_set)] -= taken
        budget -= taken


def _take_healthy(everything: Sequence[Document], old: Sequence[Document], sizes: dict[int, int], minimum: int) -> None:
    """Then pods that do, down to the number that must stay."""
    # A replica set that was told to shrink may still report pods that are as good as gone.
    spare = sum(min(available(each), size(each)) for each in everything) - minimum
    for replica_set in oldest_first(old):
        taken = min(sizes[id(replica_set)], max(spare, 0))
        sizes[id(replica_set)] -= taken
        spare -= taken
