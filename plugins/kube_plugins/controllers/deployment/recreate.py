"""Recreate: everything old goes, and only when no old pod runs any more does the new replica set get its pods.

"Runs" means pods, not numbers: a pod that is being deleted still holds its volumes and ports, so it is waited for
(upstream: "Deployments", "Recreate Deployment").
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kube_core.api import pods
from kube_core.meta.documents import Document, controller_of, uid_of
from kube_plugins.controllers.deployment.replicasets import Resize, active, reported

__all__ = ["old_pods_running", "plan_recreate"]


def plan_recreate(old: Sequence[Document]) -> tuple[Resize, ...]:
    """All old replica sets down to nothing; empty when they are."""
    return tuple(Resize(replica_set, 0) for replica_set in active(old))


def old_pods_running(new: Document | None, old: Sequence[Document], owned_pods: Iterable[Document]) -> bool:
    """Whether a pod of an old replica set has not ended yet. `owned_pods`: those of all the Deployment's sets."""
    if any(reported(replica_set, "replicas") for replica_set in old):
        return True
    new_uid = uid_of(new) if new is not None else ""
    for pod in owned_pods:
        owner = controller_of(pod)
        if owner is not None and owner.get("uid") != new_uid and not pods.is_terminal(pod):
            return True
    return False
