"""Who a stateful set's pods are: names by ordinal, labels, host names, and the claims that stay with them.

Pure. `web-2` is always `web-2`, with the claims `data-web-2`, …, whichever pod of that name it is at the moment
(upstream: "Pod Identity", "PersistentVolumeClaim retention").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from kube_core.control.claims import controller_reference
from kube_core.meta.documents import (
    Document,
    MutableDocument,
    annotations_of,
    finalizers_of,
    labels_of,
    name_of,
    namespace_of,
    owner_references_of,
    thaw,
    uid_of,
)

__all__ = [
    "REVISION_LABEL",
    "claim_name",
    "claim_references",
    "claims_of",
    "goes_with_pod",
    "has_identity",
    "make_pod",
    "ordinal_of",
    "pod_name",
    "revision_of",
    "start_of",
    "with_identity",
]

#: On a pod: the name of the revision that it was made from.
REVISION_LABEL = "controller-revision-hash"

_NAME_LABEL = "statefulset.kubernetes.io/pod-name"
_INDEX_LABEL = "apps.kubernetes.io/pod-index"
_NAME = re.compile(r"(.+)-(0|[1-9][0-9]*)", re.ASCII)


def start_of(stateful_set: Document) -> int:
    """The first ordinal."""
    return int((stateful_set["spec"].get("ordinals") or {}).get("start") or 0)


def pod_name(stateful_set: Document, ordinal: int) -> str:
    return f"{name_of(stateful_set)}-{ordinal}"


def ordinal_of(stateful_set: Document, pod: Document) -> int | None:
    """The ordinal in a pod's name; None where the name is not one of this set's."""
    found = _NAME.fullmatch(name_of(pod))
    return int(found[2]) if found is not None and found[1] == name_of(stateful_set) else None


def revision_of(pod: Document) -> str:
    return str(labels_of(pod).get(REVISION_LABEL) or "")


def make_pod(stateful_set: Document, template: Document, revision: str, ordinal: int) -> MutableDocument:
    """The pod of an ordinal, from the template of a revision."""
    metadata: MutableDocument = {
        "name": pod_name(stateful_set, ordinal),
        "namespace": namespace_of(stateful_set),
        "labels": {**labels_of(template), REVISION_LABEL: revision},
        "ownerReferences": [controller_reference(stateful_set)],
    }
    if annotations_of(template):
        metadata["annotations"] = dict(annotations_of(template))
    if finalizers_of(template):
        metadata["finalizers"] = list(finalizers_of(template))
    spec: MutableDocument = thaw(template.get("spec") or {})
    spec["hostname"] = metadata["name"]
    if stateful_set["spec"].get("serviceName"):
        spec["subdomain"] = stateful_set["spec"]["serviceName"]
    pod: MutableDocument = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    return with_identity(stateful_set, pod, ordinal)


def has_identity(stateful_set: Document, pod: Document, ordinal: int) -> bool:
    """Whether a pod carries its labels, and mounts its claims."""
    return with_identity(stateful_set, pod, ordinal) == pod


def with_identity(stateful_set: Document, pod: Document, ordinal: int) -> MutableDocument:
    """The pod with the labels and volumes of its ordinal."""
    identified: MutableDocument = thaw(pod)
    labels = identified["metadata"].setdefault("labels", {})
    labels[_NAME_LABEL], labels[_INDEX_LABEL] = pod_name(stateful_set, ordinal), str(ordinal)
    volumes = {volume["name"]: volume for volume in identified["spec"].get("volumes") or ()}
    for template in _claim_templates(stateful_set):
        source = {"claimName": claim_name(stateful_set, template, ordinal)}
        before = volumes.get(name_of(template)) or {}
        if (before.get("persistentVolumeClaim") or {}).get("claimName") != source["claimName"]:
            volumes[name_of(template)] = {"name": name_of(template), "persistentVolumeClaim": source}
    if volumes:
        identified["spec"]["volumes"] = list(volumes.values())
    return identified


def claim_name(stateful_set: Document, template: Document, ordinal: int) -> str:
    return f"{name_of(template)}-{name_of(stateful_set)}-{ordinal}"


def claims_of(stateful_set: Document, ordinal: int) -> Sequence[MutableDocument]:
    """The claims of an ordinal, as they should be created."""
    selected = (stateful_set["spec"].get("selector") or {}).get("matchLabels") or {}
    claims: list[MutableDocument] = []
    for template in _claim_templates(stateful_set):
        metadata: MutableDocument = {
            "name": claim_name(stateful_set, template, ordinal),
            "namespace": namespace_of(stateful_set),
            "labels": {**labels_of(template), **selected},
        }
        if annotations_of(template):
            metadata["annotations"] = dict(annotations_of(template))
        claims.append(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": metadata,
                "spec": thaw(template.get("spec") or {}),
            }
        )
    return claims


def claim_references(
    stateful_set: Document, claim: Document, pod: Document | None, *, condemned: bool
) -> list[Document]:
    """The owners that a claim should have: with them it goes with the set, or with the pod that is scaled away."""
    policy = stateful_set["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
    on_scale, on_delete = (policy.get(name) == "Delete" for name in ("whenScaled", "whenDeleted"))
    ours = {uid_of(stateful_set), *((uid_of(pod),) if pod is not None else ())}
    kept = [
        each
        for each in owner_references_of(claim)
        # With a reference to an earlier pod of that name the claim would be collected under the new one.
        if each.get("uid") not in ours and not (pod is not None and _names_pod(each, name_of(pod)))
    ]
    if on_scale and condemned and pod is not None:
        return [*kept, controller_reference(pod)]
    if on_delete:
        return [*kept, controller_reference(stateful_set)]
    return kept


def goes_with_pod(claim: Document, name: str) -> bool:
    """Whether a claim is owned by a pod of that name: it is deleted when that is gone."""
    return any(_names_pod(reference, name) for reference in owner_references_of(claim))


def _names_pod(reference: Document, name: str) -> bool:
    return bool(reference.get("kind") == "Pod" and reference.get("name") == name)


def _claim_templates(stateful_set: Document) -> Iterable[Document]:
    templates: Iterable[Document] = stateful_set["spec"].get("volumeClaimTemplates") or ()
    return templates
