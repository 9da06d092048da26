"""A daemon set's pods, and the nodes that they are for.

Pure. A daemon is bound to its node by an affinity to the node's name, and placed by the scheduler like any other pod;
it tolerates what only says that a node is not well (upstream: "How Daemon Pods are scheduled", "Taints and
tolerations").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from kube_core.api import pods
from kube_core.api.nodeselectors import matches_selector
from kube_core.api.taints import tolerates
from kube_core.control.claims import controller_reference
from kube_core.meta.documents import (
    Document,
    MutableDocument,
    annotations_of,
    finalizers_of,
    labels_of,
    name_of,
    namespace_of,
    thaw,
)

__all__ = ["HASH_LABEL", "Eligibility", "eligibility", "hash_of", "make_daemon", "target_node"]

#: On a pod and on its revision: the hash of the template.
HASH_LABEL = "controller-revision-hash"

_GENERATION_LABEL = "pod-template-generation"
_GENERATION_ANNOTATION = "deprecated.daemonset.template.generation"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_TOLERATED: Sequence[tuple[str, str]] = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)
_TOLERATED_ON_HOST_NETWORK = ("node.kubernetes.io/network-unavailable", "NoSchedule")


@attrs.frozen
class Eligibility:
    """Whether a node should get a daemon, and whether one that is there may stay."""

    runs: bool
    stays: bool


def eligibility(daemon_set: Document, node: Document) -> Eligibility:
    """A node with a taint that is not tolerated gets no daemon; one that is there goes only for `NoExecute`."""
    spec: Mapping[str, Any] = daemon_set["spec"]["template"].get("spec") or {}
    name, labels = name_of(node), labels_of(node)
    required = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(_REQUIRED)
    chosen = (
        spec.get("nodeName") in (None, "", name)
        and (spec.get("nodeSelector") or {}).items() <= labels.items()
        and (required is None or matches_selector(required, labels, name))
    )
    if not chosen:
        return Eligibility(False, False)
    tolerations = _tolerations(spec)
    taints: Iterable[Mapping[str, Any]] = (node.get("spec") or {}).get("taints") or ()
    refused = {taint.get("effect") for taint in taints if not tolerates(tolerations, taint)}
    return Eligibility(not refused & {"NoSchedule", "NoExecute"}, "NoExecute" not in refused)


def target_node(pod: Document) -> str:
    """The node that a daemon is on, or is meant for; "" where it says neither."""
    if name := pods.node_name_of(pod):
        return name
    affinity = ((pod.get("spec") or {}).get("affinity") or {}).get("nodeAffinity") or {}
    for term in (affinity.get(_REQUIRED) or {}).get("nodeSelectorTerms") or ():
        for field in term.get("matchFields") or ():
            if field.get("key") == "metadata.name" and field.get("operator") == "In" and field.get("values"):
                return str(field["values"][0])
    return ""


def hash_of(document: Document) -> str:
    """The hash of the template that a pod was made from, or that a revision keeps."""
    return str(labels_of(document).get(HASH_LABEL) or "")


def make_daemon(daemon_set: Document, node: str, template_hash: str) -> MutableDocument:
    """The daemon of a node."""
    template = daemon_set["spec"]["template"]
    labels = {**labels_of(template), HASH_LABEL: template_hash}
    generation = annotations_of(daemon_set).get(_GENERATION_ANNOTATION)
    if generation:
        labels[_GENERATION_LABEL] = generation
    metadata: MutableDocument = {
        "generateName": f"{name_of(daemon_set)}-",
        "namespace": namespace_of(daemon_set),
        "labels": labels,
        "ownerReferences": [controller_reference(daemon_set)],
    }
    if annotations_of(template):
        metadata["annotations"] = dict(annotations_of(template))
    if finalizers_of(template):
        metadata["finalizers"] = list(finalizers_of(template))
    spec: MutableDocument = thaw(template.get("spec") or {})
    spec["tolerations"] = _tolerations(spec)
    affinity = spec.setdefault("affinity", {}).setdefault("nodeAffinity", {})
    named = {"key": "metadata.name", "operator": "In", "values": [node]}
    # What was required of nodes has been looked at; the name says it all.
    affinity[_REQUIRED] = {"nodeSelectorTerms": [{"matchFields": [named]}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _tolerations(spec: Mapping[str, Any]) -> list[MutableDocument]:
    added = [*_TOLERATED, *((_TOLERATED_ON_HOST_NETWORK,) if spec.get("hostNetwork") else ())]
    wanted = [{"key": key, "operator": "Exists", "effect": effect} for key, effect in added]
    own = [thaw(each) for each in spec.get("tolerations") or ()]
    replaced = [(each["key"], each["effect"]) for each in wanted]
    kept = [each for each in own if (each.get("key"), each.get("effect")) not in replaced]
    return [*kept, *wanted]
