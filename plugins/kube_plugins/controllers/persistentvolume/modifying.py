"""Changing the attributes of a volume when its claim names another VolumeAttributesClass. Pure.

`status.modifyVolumeStatus` of the claim tells how far that is: `Pending` while the class is not there, `InProgress`,
`Infeasible` where the driver can never do it; `status.currentVolumeAttributesClassName` is what the volume has.
Upstream leaves this to the external resizer of a CSI driver ("Volume Attributes Classes"), whose words these are.
"""

from __future__ import annotations

from typing import Literal

from kube_core.abc.volume import VolumeCapabilities
from kube_core.meta.documents import Document, MutableDocument, annotations_of, is_deleting, thaw, uid_of
from kube_plugins.controllers.persistentvolume.objects import PROVISIONED_BY, attributes_class_of, phase_of

__all__ = ["Modification", "modified", "modifying", "plan_modification"]

Modification = Literal["", "Pending", "InProgress", "Infeasible"]


def plan_modification(
    claim: Document,
    volume: Document,
    wanted: Document | None,
    *,
    provisioner: str,
    capabilities: VolumeCapabilities,
) -> Modification:
    """What to do for a claim. `wanted`: the class that it names, if it is there; "" for volumes of other drivers."""
    target = attributes_class_of(claim)
    if not target or target == (claim.get("status") or {}).get("currentVolumeAttributesClassName"):
        return ""
    if phase_of(claim) != "Bound" or is_deleting(claim) or annotations_of(volume).get(PROVISIONED_BY) != provisioner:
        return ""
    if (volume["spec"].get("claimRef") or {}).get("uid") != uid_of(claim):
        return ""
    if wanted is None:
        return "Pending"
    return "InProgress" if capabilities.modification and wanted.get("driverName") == provisioner else "Infeasible"


def modifying(claim: Document, state: Modification) -> MutableDocument | None:
    """The claim that says how far its modification is; None where it says so already."""
    changed: MutableDocument = thaw(claim)
    told = {"targetVolumeAttributesClassName": attributes_class_of(claim), "status": state}
    if changed.setdefault("status", {}).get("modifyVolumeStatus") == told:
        return None
    changed["status"]["modifyVolumeStatus"] = told
    return changed


def modified(claim: Document) -> MutableDocument:
    """The claim once its volume has the attributes."""
    changed: MutableDocument = thaw(claim)
    changed["status"].pop("modifyVolumeStatus", None)
    changed["status"]["currentVolumeAttributesClassName"] = attributes_class_of(claim)
    return changed
