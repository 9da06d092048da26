"""Which pods go first when there are too many.

Pods are ranked so that those whose end costs least come first: without a node before with one; pending before unknown
before running; not ready before ready; a lower `controller.kubernetes.io/pod-deletion-cost` before a higher one; on a
node with more pods of the same family before on one with fewer; ready for a short time before ready for a long one;
with more restarts before with fewer; newer before older. Ages are compared by their order of magnitude, so that which
of many equally old pods goes is up to chance (their uids), and not to their order (upstream: "ReplicaSet", "Scaling a
ReplicaSet").
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from kube_core.api import pods
from kube_core.meta.documents import Document, annotations_of, metadata_of, uid_of
from kube_core.meta.times import parse_time

__all__ = ["DELETION_COST_ANNOTATION", "choose_victims", "deletion_cost"]

DELETION_COST_ANNOTATION = "controller.kubernetes.io/pod-deletion-cost"

_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}


def choose_victims(active: Sequence[Document], related: Iterable[Document], count: int, now: float) -> list[Document]:
    """`count` of the `active` pods. `related`: the active pods of all sets of the same owner, these included."""
    if count >= len(active):
        return list(active)
    neighbours = Counter(pods.node_name_of(pod) for pod in related)
    return sorted(active, key=lambda pod: _rank(pod, neighbours[pods.node_name_of(pod)], now))[:count]


def deletion_cost(pod: Document) -> int:
    """The pod's deletion cost; 0 where it has none, or none that is a number."""
    try:
        return int(annotations_of(pod).get(DELETION_COST_ANNOTATION, "0"))
    except ValueError:
        return 0


def _rank(pod: Document, neighbours: int, now: float) -> tuple[object, ...]:
    ready = pods.is_ready(pod)
    created = metadata_of(pod).get("creationTimestamp")
    return (
        pods.node_name_of(pod) != "",
        _PHASES.get(pods.phase_of(pod), 0),
        ready,
        deletion_cost(pod),
        -neighbours,
        _magnitude(pods.ready_since(pod), now) if ready else 0,
        -pods.restarts_of(pod),
        _magnitude(parse_time(str(created)) if created else None, now),
        uid_of(pod),
    )


def _magnitude(since: float | None, now: float) -> int:
    """The order of magnitude of an age; a moment that nobody wrote down counts as just now."""
    if since is None or now <= since:
        return -1
    return int(math.log2((now - since) * 1e9))
