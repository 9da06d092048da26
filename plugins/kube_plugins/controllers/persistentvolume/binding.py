"""What a claim and a volume look like once they are bound to each other. Pure; None where nothing has to change."""

from __future__ import annotations

from kube_core.meta.documents import Document, MutableDocument, annotations_of, name_of, thaw, uid_of
from kube_plugins.controllers.persistentvolume.objects import (
    BIND_COMPLETED,
    BOUND_BY_CONTROLLER,
    attributes_class_of,
    is_bound_to,
)
from kube_plugins.controllers.persistentvolume.provisioning import claim_reference

__all__ = ["bound_claim", "bound_claim_status", "bound_volume"]


def bound_volume(volume: Document, claim: Document) -> MutableDocument | None:
    """The volume with its `claimRef`. A volume that a person reserved is not marked as bound by the controller."""
    reserved = is_bound_to(volume, claim)
    if reserved and volume["spec"]["claimRef"].get("uid") == uid_of(claim):
        return None
    changed: MutableDocument = thaw(volume)
    changed["spec"]["claimRef"] = claim_reference(claim)
    if not reserved:
        _annotate(changed, BOUND_BY_CONTROLLER)
    return changed


def bound_claim(claim: Document, volume: Document) -> MutableDocument | None:
    """The claim with its `volumeName`. A claim that named its volume is not marked as bound by the controller."""
    named = (claim.get("spec") or {}).get("volumeName") == name_of(volume)
    if named and BIND_COMPLETED in annotations_of(claim):
        return None
    changed: MutableDocument = thaw(claim)
    changed["spec"]["volumeName"] = name_of(volume)
    _annotate(changed, BIND_COMPLETED)
    if not named:
        _annotate(changed, BOUND_BY_CONTROLLER)
    return changed


def bound_claim_status(claim: Document, volume: Document) -> MutableDocument | None:
    """The claim with the status of a bound one: what it got, which may be more than it asked for.

    What it holds, and its attributes' class, are told when it is bound; from then on they are told by who changes them.
    """
    status, spec = claim.get("status") or {}, volume["spec"]
    wanted: MutableDocument = {"phase": "Bound", "accessModes": list(spec.get("accessModes") or ())}
    if status.get("phase") != "Bound":
        wanted["capacity"] = dict(spec.get("capacity") or {})
        if attributes := attributes_class_of(volume):
            wanted["currentVolumeAttributesClassName"] = attributes
    if all(status.get(field) == value for field, value in wanted.items()):
        return None
    changed: MutableDocument = thaw(claim)
    changed["status"] = {**(changed.get("status") or {}), **wanted}
    return changed


def _annotate(document: MutableDocument, name: str) -> None:
    metadata = document["metadata"]
    metadata["annotations"] = {**(metadata.get("annotations") or {}), name: "yes"}
