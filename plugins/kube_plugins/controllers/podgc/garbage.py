"""Which pods are garbage. Pure planning.

Mirrors upstream's pod garbage collector ("Garbage collection of Pods"): pods that ended, when there are too many of
them; pods that are being deleted and were never bound, or whose node is out of service; pods of nodes that are gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kube_core.api.pods import is_terminal, node_name_of
from kube_core.control.conditions import is_condition_true
from kube_core.meta.documents import Document, is_deleting, name_of

__all__ = ["TERMINATED_THRESHOLD", "is_out_of_service", "is_unscheduled_and_ending", "surplus"]

#: How many pods that ended are kept (upstream's `--terminated-pod-gc-threshold`).
TERMINATED_THRESHOLD = 12500

_OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"


def surplus(pods: Iterable[Document], threshold: int = TERMINATED_THRESHOLD) -> Sequence[Document]:
    """The pods that ended and are too many: those that were evicted first, then the oldest."""
    ended = [pod for pod in pods if is_terminal(pod)]
    if threshold <= 0 or len(ended) <= threshold:
        return []
    return sorted(ended, key=_order)[: len(ended) - threshold]


def is_unscheduled_and_ending(pod: Document) -> bool:
    """It is being deleted, and no node will say that it is gone."""
    return is_deleting(pod) and not node_name_of(pod)


def is_out_of_service(node: Document) -> bool:
    """Somebody said by a taint that the node will not come back, and it is not ready indeed."""
    taints: Iterable[Document] = (node.get("spec") or {}).get("taints") or ()
    return any(taint.get("key") == _OUT_OF_SERVICE for taint in taints) and not is_condition_true(node, "Ready")


def _order(pod: Document) -> tuple[bool, str, str]:
    status = pod.get("status") or {}
    evicted = status.get("phase") == "Failed" and status.get("reason") == "Evicted"
    return not evicted, str(pod["metadata"].get("creationTimestamp") or ""), name_of(pod)
