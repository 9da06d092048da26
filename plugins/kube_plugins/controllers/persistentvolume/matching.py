"""Which volume a claim gets: upstream's documented matching ("Persistent Volumes", Binding). Pure.

A volume that is reserved for the claim comes before all others. Of the free ones that fit (mode, access modes, class,
labels, size) the smallest is taken, so that large ones stay for large claims.
"""

from __future__ import annotations

from collections.abc import Iterable

from kube_core.meta import selectors
from kube_core.meta.documents import Document, is_deleting, labels_of, name_of
from kube_plugins.controllers.persistentvolume.objects import (
    access_modes_of,
    attributes_class_of,
    capacity_of,
    class_name_of,
    is_bound_to,
    phase_of,
    requested_by,
    volume_mode_of,
)

__all__ = ["find_volume", "mismatch"]


def find_volume(claim: Document, volumes: Iterable[Document], *, reserved_only: bool) -> Document | None:
    """The volume for a claim that names none. `reserved_only`: binding waits, so only one that is reserved will do."""
    requested = requested_by(claim)
    modes = set(access_modes_of(claim))
    spec = claim.get("spec") or {}
    selector = selectors.from_document(spec["selector"]) if spec.get("selector") else None
    best: Document | None = None
    for volume in volumes:
        if volume_mode_of(volume) != volume_mode_of(claim) or capacity_of(volume) < requested or is_deleting(volume):
            continue
        if attributes_class_of(volume) != attributes_class_of(claim):
            continue
        if is_bound_to(volume, claim):
            return volume
        if reserved_only or (volume.get("spec") or {}).get("claimRef") or phase_of(volume) != "Available":
            continue
        if class_name_of(volume) != class_name_of(claim) or not modes.issubset(access_modes_of(volume)):
            continue
        if selector is not None and not selector.matches(labels_of(volume)):
            continue
        if best is None or (capacity_of(volume), name_of(volume)) < (capacity_of(best), name_of(best)):
            best = volume
    return best


def mismatch(claim: Document, volume: Document) -> str:
    """Why a claim cannot have the volume that it names; "" where it can."""
    if is_deleting(volume):
        return f'the volume is marked for deletion "{name_of(volume)}"'
    if capacity_of(volume) < requested_by(claim):
        return "requested PV is too small"
    if class_name_of(volume) != class_name_of(claim):
        return "storageClassName does not match"
    if attributes_class_of(volume) != attributes_class_of(claim):
        return "volumeAttributesClassName does not match"
    if volume_mode_of(volume) != volume_mode_of(claim):
        return "incompatible volumeMode"
    if not set(access_modes_of(claim)).issubset(access_modes_of(volume)):
        return "incompatible accessMode"
    return ""
