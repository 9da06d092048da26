"""What a pod's claims allow. Pure.

A claim is *bound* when it names a volume and says that binding is complete; *delayed* when its class waits for the
first consumer; anything else that is not bound is *immediate*, and for the volume controller to bind first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import attrs

from kube_core.api.nodeselectors import matches_selector
from kube_core.meta.documents import Document, annotations_of, is_deleting, name_of

__all__ = [
    "SELECTED_NODE",
    "Claims",
    "claim_names",
    "fits_volume",
    "provisionable_on",
    "refuse_claims",
    "sort_claims",
]

SELECTED_NODE = "volume.kubernetes.io/selected-node"
_BIND_COMPLETED = "pv.kubernetes.io/bind-completed"


@attrs.frozen
class Claims:
    bound: tuple[Document, ...] = ()
    delayed: tuple[Document, ...] = ()
    unbound_immediate: tuple[Document, ...] = ()


def claim_names(pod: Document) -> tuple[str, ...]:
    """The claims that a pod uses; an ephemeral volume's is named after the pod and the volume."""
    names = []
    for volume in pod["spec"].get("volumes") or ():
        if volume.get("persistentVolumeClaim"):
            names.append(str(volume["persistentVolumeClaim"]["claimName"]))
        elif volume.get("ephemeral"):
            names.append(f"{name_of(pod)}-{volume['name']}")
    return tuple(names)


def refuse_claims(pod: Document, found: Mapping[str, Document | None]) -> str:
    """Why the pod can go nowhere, or ""."""
    ephemeral = {f"{name_of(pod)}-{each['name']}" for each in pod["spec"].get("volumes") or () if each.get("ephemeral")}
    for name, claim in found.items():
        if claim is None:
            if name in ephemeral:
                return f'waiting for ephemeral volume controller to create the persistentvolumeclaim "{name}"'
            return f'persistentvolumeclaim "{name}" not found'
        if (claim.get("status") or {}).get("phase") == "Lost":
            volume = claim["spec"].get("volumeName", "")
            return f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{volume}"'
        if is_deleting(claim):
            return f'persistentvolumeclaim "{name}" is being deleted'
    return ""


def sort_claims(claims: Iterable[Document], class_of: Callable[[Document], Document | None]) -> Claims:
    bound: list[Document] = []
    delayed: list[Document] = []
    immediate: list[Document] = []
    for claim in claims:
        if claim["spec"].get("volumeName"):
            complete = _BIND_COMPLETED in annotations_of(claim) or (claim.get("status") or {}).get("phase") == "Bound"
            (bound if complete else immediate).append(claim)
            continue
        storage_class = class_of(claim)
        waits = storage_class is not None and storage_class.get("volumeBindingMode") == "WaitForFirstConsumer"
        (delayed if waits else immediate).append(claim)
    return Claims(tuple(bound), tuple(delayed), tuple(immediate))


def fits_volume(volume: Document, labels: Mapping[str, str], node: str) -> bool:
    """Whether a node can reach a volume."""
    required = ((volume.get("spec") or {}).get("nodeAffinity") or {}).get("required")
    return required is None or matches_selector(required, labels, node)


def provisionable_on(storage_class: Document, labels: Mapping[str, str]) -> bool:
    """Whether the class makes volumes for a node with these labels (`allowedTopologies`)."""
    terms = storage_class.get("allowedTopologies")
    if not terms:
        return True
    return any(
        all(labels.get(each["key"]) in (each.get("values") or ()) for each in term.get("matchLabelExpressions") or ())
        for term in terms
    )
