"""Taints of nodes that the cloud's controllers put on and take off. Pure."""

from __future__ import annotations

from typing import Any, Final

from kube_core.meta.documents import Document, MutableDocument, resource_version_of

__all__ = ["SHUT_DOWN", "UNINITIALIZED", "has_taint", "with_taints", "without_taint"]

#: A node that the cloud has yet to say more of; put on by its kubelet.
UNINITIALIZED: Final = "node.cloudprovider.kubernetes.io/uninitialized"
#: A node whose machine is switched off.
SHUT_DOWN: Final = "node.cloudprovider.kubernetes.io/shutdown"


def has_taint(node: Document, key: str) -> bool:
    return any(taint.get("key") == key for taint in (node.get("spec") or {}).get("taints") or ())


def without_taint(node: Document, key: str) -> list[dict[str, Any]]:
    return [dict(taint) for taint in (node.get("spec") or {}).get("taints") or () if taint.get("key") != key]


def with_taints(node: Document, taints: list[dict[str, Any]]) -> MutableDocument:
    """A merge patch, for this very state of the node: taints are one list."""
    return {"metadata": {"resourceVersion": resource_version_of(node)}, "spec": {"taints": taints or None}}
