"""What claims, volumes and classes say about each other: names of annotations and finalizers, and readers of them.

All are upstream's well-known names ("Well-Known Labels, Annotations and Taints" in the reference). Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kube_core.meta import quantities
from kube_core.meta.documents import Document, Key, annotations_of, metadata_of, name_of, namespace_of, uid_of
from kube_core.meta.quantities import Quantity

__all__ = [
    "BIND_COMPLETED",
    "BOUND_BY_CONTROLLER",
    "CLAIM_PROTECTION",
    "DEFAULT_CLASS",
    "PROVISIONED_BY",
    "PROVISIONER_FINALIZER",
    "SELECTED_NODE",
    "STORAGE_PROVISIONER",
    "STORAGE_PROVISIONER_BETA",
    "VOLUME_PROTECTION",
    "access_modes_of",
    "asks_for_default_class",
    "attributes_class_of",
    "capacity_of",
    "claim_key_of",
    "class_name_of",
    "default_class",
    "is_bound_to",
    "names_claim",
    "phase_of",
    "requested_by",
    "volume_mode_of",
    "waits_for_consumer",
]

BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
STORAGE_PROVISIONER = "volume.kubernetes.io/storage-provisioner"
STORAGE_PROVISIONER_BETA = "volume.beta.kubernetes.io/storage-provisioner"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
CLAIM_PROTECTION = "kubernetes.io/pvc-protection"
VOLUME_PROTECTION = "kubernetes.io/pv-protection"

#: On a volume whose content its provisioner has to delete before the object may go.
PROVISIONER_FINALIZER = "external-provisioner.volume.kubernetes.io/finalizer"

_CLASS_BETA = "volume.beta.kubernetes.io/storage-class"


def class_name_of(document: Document) -> str:
    """The storage class that a claim asks for or a volume has; "" for none."""
    beta = annotations_of(document).get(_CLASS_BETA)
    return beta if beta is not None else str((document.get("spec") or {}).get("storageClassName") or "")


def asks_for_default_class(claim: Document) -> bool:
    """Whether a claim leaves the choice of its class to the cluster ("" chooses none)."""
    return _CLASS_BETA not in annotations_of(claim) and (claim.get("spec") or {}).get("storageClassName") is None


def default_class(classes: Iterable[Document]) -> Document | None:
    """The default class: of several the one made last, and of those the first by name."""
    marked = [item for item in classes if annotations_of(item).get(DEFAULT_CLASS) == "true"]
    by_name = sorted(marked, key=name_of)
    return max(by_name, key=lambda item: str(metadata_of(item).get("creationTimestamp") or ""), default=None)


def waits_for_consumer(storage_class: Document | None) -> bool:
    return storage_class is not None and storage_class.get("volumeBindingMode") == "WaitForFirstConsumer"


def access_modes_of(document: Document) -> Sequence[str]:
    return (document.get("spec") or {}).get("accessModes") or ()


def attributes_class_of(document: Document) -> str:
    """The VolumeAttributesClass that a claim asks for or a volume has; "" for none."""
    return str((document.get("spec") or {}).get("volumeAttributesClassName") or "")


def volume_mode_of(document: Document) -> str:
    return str((document.get("spec") or {}).get("volumeMode") or "Filesystem")


def capacity_of(volume: Document) -> Quantity:
    return quantities.parse(((volume.get("spec") or {}).get("capacity") or {}).get("storage"))


def requested_by(claim: Document) -> Quantity:
    """How much a claim asks for."""
    resources = (claim.get("spec") or {}).get("resources") or {}
    return quantities.parse((resources.get("requests") or {}).get("storage"))


def phase_of(document: Document) -> str:
    """`status.phase`; "" before anyone has set it."""
    return str((document.get("status") or {}).get("phase") or "")


def claim_key_of(volume: Document) -> Key | None:
    """The claim that a volume is for, or None."""
    reference = (volume.get("spec") or {}).get("claimRef")
    return Key(str(reference.get("namespace") or ""), str(reference.get("name") or "")) if reference else None


def names_claim(volume: Document, claim: Document) -> bool:
    """Whether the volume is meant for a claim of this name, bound to it already or not."""
    return claim_key_of(volume) == Key(namespace_of(claim), name_of(claim))


def is_bound_to(volume: Document, claim: Document) -> bool:
    """Whether the volume is for this very claim: by name, and by uid where it has one."""
    if not names_claim(volume, claim):
        return False
    uid = volume["spec"]["claimRef"].get("uid")
    return not uid or uid == uid_of(claim)
