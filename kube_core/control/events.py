"""Writing events (`kubectl get events`): who reports, about what, why.

Recording never blocks and never fails the caller: events go through a bounded buffer to a writer task, which
aggregates repeats into one Event with a count, as upstream's correlator documents it.
"""

from __future__ import annotations

from kube_core.meta.documents import Document

__all__ = ["EventRecorder"]


class EventRecorder:
    """Records events for one reporting component (`deployment-controller`, `kubelet`)."""

    def normal(self, regarding: Document, reason: str, message: str) -> None:
        """Something that was meant to happen did."""
        raise NotImplementedError

    def warning(self, regarding: Document, reason: str, message: str) -> None:
        """Something went wrong, or may."""
        raise NotImplementedError
