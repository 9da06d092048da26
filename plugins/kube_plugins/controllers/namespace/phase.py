"""Whether a namespace takes new objects, as its status and the server's refusals tell."""

from __future__ import annotations

from kube_core.meta.documents import Document, is_deleting
from kube_core.meta.status import StatusError

__all__ = ["is_active", "is_terminating_error"]


def is_active(namespace: Document) -> bool:
    """Not asked to go, and not on its way."""
    phase = (namespace.get("status") or {}).get("phase", "Active")
    return phase == "Active" and not is_deleting(namespace)


def is_terminating_error(error: StatusError) -> bool:
    """Whether a write was refused because its namespace is being deleted."""
    return any(cause.get("reason") == "NamespaceTerminating" for cause in error.causes)
