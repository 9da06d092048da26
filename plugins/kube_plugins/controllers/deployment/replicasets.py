"""The vocabulary of a rollout: what a Deployment wants, what its replica sets have, and steps between the two.

A `Resize` is the only thing that a rollout does to the world: give one replica set another size. Policies return
tuples of them; the controller carries them out in order. `Fenceposts` are the two limits of a rolling update as whole
numbers: `maxSurge` rounds up, `maxUnavailable` rounds down, and when both come to nothing one pod may be unavailable,
for otherwise nothing could ever move (upstream: "Deployments", "Max Unavailable", "Max Surge").
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from kube_core.meta.documents import Document, annotations_of, metadata_of, name_of
from kube_plugins.controllers.shares import percent_or_number

__all__ = [
    "DESIRED_ANNOTATION",
    "MAX_ANNOTATION",
    "Fenceposts",
    "Resize",
    "active",
    "annotated_number",
    "available",
    "fenceposts",
    "is_rolling",
    "oldest_first",
    "reported",
    "size",
    "total_available",
    "total_size",
    "wanted",
]

#: How many replicas the Deployment wanted, and might have had with its surge, when the replica set was last sized.
DESIRED_ANNOTATION = "deployment.kubernetes.io/desired-replicas"
MAX_ANNOTATION = "deployment.kubernetes.io/max-replicas"


@attrs.frozen
class Resize:
    """Give `replica_set` this many replicas (and note the Deployment's present numbers on it, changed or not)."""

    replica_set: Document
    replicas: int


@attrs.frozen
class Fenceposts:
    """How far a rolling update may go above and below the wanted number of pods."""

    surge: int
    unavailable: int


def wanted(deployment: Document) -> int:
    """How many pods the Deployment wants."""
    replicas = deployment["spec"].get("replicas")
    return 1 if replicas is None else int(replicas)


def size(replica_set: Document | None) -> int:
    """How many pods a replica set is told to have (`spec.replicas`)."""
    if replica_set is None:
        return 0
    replicas = replica_set["spec"].get("replicas")
    return 1 if replicas is None else int(replicas)


def reported(replica_set: Document | None, counter: str) -> int:
    """One of the counters of a replica set's status."""
    return 0 if replica_set is None else int((replica_set.get("status") or {}).get(counter) or 0)


def available(replica_set: Document | None) -> int:
    return reported(replica_set, "availableReplicas")


def total_size(replica_sets: Iterable[Document]) -> int:
    return sum(size(replica_set) for replica_set in replica_sets)


def total_available(replica_sets: Iterable[Document]) -> int:
    return sum(available(replica_set) for replica_set in replica_sets)


def active(replica_sets: Iterable[Document]) -> list[Document]:
    """Those that are told to have any pods."""
    return [replica_set for replica_set in replica_sets if size(replica_set) > 0]


def oldest_first(replica_sets: Iterable[Document]) -> list[Document]:
    """By time of creation, then by name."""
    return sorted(replica_sets, key=lambda each: (metadata_of(each).get("creationTimestamp") or "", name_of(each)))


def annotated_number(replica_set: Document, annotation: str) -> int | None:
    """A whole number that was noted in an annotation, or None."""
    try:
        return int(annotations_of(replica_set)[annotation])
    except (KeyError, ValueError):
        return None


def is_rolling(deployment: Document) -> bool:
    kind: str = (deployment["spec"].get("strategy") or {}).get("type", "RollingUpdate")
    return kind == "RollingUpdate"


def fenceposts(deployment: Document) -> Fenceposts:
    """The limits of a rolling update; both nothing for a Deployment that is recreated."""
    if not is_rolling(deployment):
        return Fenceposts(0, 0)
    rules = (deployment["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    replicas = wanted(deployment)
    surge = percent_or_number(rules.get("maxSurge", "25%"), replicas, round_up=True)
    unavailable = percent_or_number(rules.get("maxUnavailable", "25%"), replicas, round_up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return Fenceposts(surge, min(unavailable, replicas))
