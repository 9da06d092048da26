"""Which pods are bound to a node, and how the controllers that look after nodes mark a pod that is to go.

Shared by node lifecycle, taint eviction, pod garbage collection and preemption: one index of the pods' informer, and
the patch that notes in a pod's status why it is disrupted (upstream: "Pod disruption conditions"). What does not belong
here: which pods are to go, and why.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kube_core.api.pods import node_name_of, pod_condition
from kube_core.client.informer import Informer, Lister
from kube_core.meta.documents import Document, MutableDocument, metadata_of, uid_of
from kube_core.meta.times import format_time

__all__ = ["disruption", "index_by_node", "pods_on", "status_patch"]

_BY_NODE = "spec.nodeName"


def index_by_node(pods: Informer) -> Lister:
    """The pods' lister, for which `pods_on` works from now on."""
    pods.add_index(_BY_NODE, _node_of)
    return pods.lister


def pods_on(pods: Lister, node: str) -> Sequence[Document]:
    """The pods that are bound to a node, whether it exists or not."""
    return pods.by_index(_BY_NODE, node)


def disruption(pod: Document, reason: str, message: str, now: float) -> MutableDocument | None:
    """The pod's `DisruptionTarget` condition as it is to be; None where it says that already."""
    before = pod_condition(pod, "DisruptionTarget")
    moved = before is None or before.get("status") != "True"
    if before is not None and not moved and before.get("reason") == reason and before.get("message") == message:
        return None
    condition: MutableDocument = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": reason,
        "message": message,
        "lastTransitionTime": format_time(now) if moved or before is None else before.get("lastTransitionTime"),
    }
    generation = metadata_of(pod).get("generation")
    if generation:
        condition["observedGeneration"] = generation
    return condition


def status_patch(pod: Document, status: MutableDocument) -> MutableDocument:
    """A strategic merge patch of this very pod's status: one of the same name that came later is not meant."""
    return {"metadata": {"uid": uid_of(pod)}, "status": status}


def _node_of(pod: Document) -> Iterable[str]:
    node = node_name_of(pod)
    return (node,) if node else ()
