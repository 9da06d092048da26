"""How many pods to make, or which to delete.

Pure. The plan covers at most `BURST` pods at a time; the next reconciliation goes on from there. How they are written
is in `podwrites.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from kube_core.meta.documents import Document, MutableDocument, annotations_of, finalizers_of, labels_of, name_of, thaw
from kube_core.meta.documents import namespace_of as _namespace
from kube_plugins.controllers.replicaset.victims import choose_victims

__all__ = ["BURST", "Plan", "plan_replicas", "pod_from_template", "wanted"]

#: How many pods one reconciliation makes or deletes at most.
BURST = 500


@attrs.frozen
class Plan:
    """Make `create` pods, or delete these; `surplus` is how many there are too many (negative: too few)."""

    surplus: int = 0
    create: int = 0
    delete: tuple[Document, ...] = ()


def wanted(replica_set: Document) -> int:
    """How many pods the replica set asks for."""
    replicas = replica_set["spec"].get("replicas")
    return 1 if replicas is None else int(replicas)


def plan_replicas(replica_set: Document, active: Sequence[Document], related: Iterable[Document], now: float) -> Plan:
    """From the pods that count to those that should. `related`: see `choose_victims`."""
    surplus = len(active) - wanted(replica_set)
    if surplus < 0:
        return Plan(surplus, create=min(-surplus, BURST))
    if surplus > 0:
        return Plan(surplus, delete=tuple(choose_victims(active, related, min(surplus, BURST), now)))
    return Plan()


def pod_from_template(replica_set: Document, owner_reference: dict[str, object]) -> MutableDocument:
    """A pod of this replica set, as it should be created."""
    template = replica_set["spec"]["template"]
    metadata: MutableDocument = {
        "generateName": f"{name_of(replica_set)}-",
        "namespace": _namespace(replica_set),
        "labels": dict(labels_of(template)),
        "ownerReferences": [owner_reference],
    }
    if annotations_of(template):
        metadata["annotations"] = dict(annotations_of(template))
    if finalizers_of(template):
        metadata["finalizers"] = list(finalizers_of(template))
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": thaw(template.get("spec") or {})}
