"""Revision history: which old replica sets are no longer kept.

`revisionHistoryLimit` old replica sets stay, the newest revisions, for `kubectl rollout undo`; those beyond it go,
but only while they have no pods, want none, and have been seen to by their controller (upstream: "Deployments",
"Clean up Policy").
"""

from __future__ import annotations

from collections.abc import Sequence

from kube_core.meta.documents import Document, is_deleting, metadata_of
from kube_plugins.controllers.deployment.replicasets import oldest_first, reported, size
from kube_plugins.controllers.deployment.revisions import revision_of

__all__ = ["plan_cleanup"]

_NO_LIMIT = 2**31 - 1


def plan_cleanup(deployment: Document, old: Sequence[Document]) -> tuple[Document, ...]:
    """The old replica sets to delete."""
    limit = deployment["spec"].get("revisionHistoryLimit")
    if limit is None or limit == _NO_LIMIT:
        return ()
    kept = [replica_set for replica_set in old if not is_deleting(replica_set)]
    surplus = max(len(kept) - int(limit), 0)
    candidates = sorted(oldest_first(kept), key=revision_of)[:surplus]
    return tuple(replica_set for replica_set in candidates if _is_idle(replica_set))


def _is_idle(replica_set: Document) -> bool:
    seen = reported(replica_set, "observedGeneration") >= int(metadata_of(replica_set).get("generation") or 0)
    return seen and size(replica_set) == 0 and reported(replica_set, "replicas") == 0
