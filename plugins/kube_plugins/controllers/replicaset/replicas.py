"""How many pods to make, or to delete.

Pure. The plan covers at most `BURST` pods at a time; the next reconciliation goes on from there. Which are deleted is
decided in `victims.py`; how they are written is in `podwrites.py`.
"""

from __future__ import annotations

import attrs

from kube_core.meta.documents import Document, MutableDocument, annotations_of, finalizers_of, labels_of, name_of, thaw
from kube_core.meta.documents import namespace_of as _namespace

__all__ = ["BURST", "Plan", "plan_replicas", "pod_from_template", "wanted"]

#: How many pods one reconciliation makes or deletes at most.
BURST = 500


@attrs.frozen
class Plan:
    """Make `create` pods, or delete `delete`; `surplus` is how many there are too many (negative: too few)."""

    surplus: int = 0
    create: int = 0
    delete: int = 0


def wanted(replica_set: Document) -> int:
    """How many pods the replica set asks for."""
    replicas = replica_set["spec"].get("replicas")
    return 1 if replicas is None else int(replicas)


def plan_replicas(replica_set: Document, active: int) -> Plan:
    """From the pods that count to those that should."""
    surplus = active - wanted(replica_set)
    return Plan(surplus, create=min(max(-surplus, 0), BURST), delete=min(max(surplus, 0), BURST))


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
