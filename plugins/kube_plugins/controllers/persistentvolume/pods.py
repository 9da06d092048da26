"""Which claims a pod uses, for indexes. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from kube_core.meta.documents import Document, name_of, namespace_of

__all__ = ["BY_CLAIM", "claims_of_pod"]

#: The name of the index of pods by the claims they use, as `namespace/name`.
BY_CLAIM = "claim"


def claims_of_pod(pod: Document) -> Iterable[str]:
    """`namespace/name` of every claim that a pod's volumes use; generic ephemeral volumes have a claim of their own."""
    for volume in (pod.get("spec") or {}).get("volumes") or ():
        if claim := volume.get("persistentVolumeClaim"):
            yield f"{namespace_of(pod)}/{claim.get('claimName')}"
        elif volume.get("ephemeral"):
            yield f"{namespace_of(pod)}/{name_of(pod)}-{volume.get('name')}"
