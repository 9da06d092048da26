"""From a volume and its claim to what is to be done for the volume. Pure.

Phases as upstream documents them: Available while no claim has it (one that is reserved by name for a claim that does
not exist yet included), Bound, Released once its claim is gone. What happens then is the reclaim policy's: `Retain`
keeps all, `Delete` has the provisioner delete the content and then the object. `Recycle` is deprecated and refused.
"""

from __future__ import annotations

from typing import Literal

import attrs

from kube_core.meta.documents import Document, annotations_of, finalizers_of, is_deleting, name_of, uid_of
from kube_plugins.controllers.persistentvolume.objects import (
    BOUND_BY_CONTROLLER,
    PROVISIONED_BY,
    PROVISIONER_FINALIZER,
    phase_of,
)

__all__ = ["VolumePlan", "plan_volume"]

Step = Literal["", "delete", "unbind", "release-finalizer", "refuse"]


@attrs.frozen
class VolumePlan:
    """The phase it should have ("": leave it), and one step after that."""

    phase: str = ""
    step: Step = ""


def plan_volume(volume: Document, claim: Document | None, *, provisioner: str) -> VolumePlan:
    """What to do for a volume. `claim`: the one that `claimRef` names, if it exists. `provisioner`: our driver's."""
    reference = volume["spec"].get("claimRef")
    if not reference:
        return _keep_clear(volume, "Available", provisioner)
    uid = reference.get("uid")
    if not uid:
        return _keep_clear(volume, "Available", provisioner)
    if claim is None or uid_of(claim) != uid:
        return _released(volume, provisioner)
    bound_to = (claim.get("spec") or {}).get("volumeName")
    if not bound_to:
        return VolumePlan()  # the claim's own turn finishes this binding
    if bound_to == name_of(volume):
        return VolumePlan(phase="Bound")
    # The claim has chosen another volume.
    if _is_ours(volume, provisioner) and _policy(volume) == "Delete":
        return _released(volume, provisioner)
    return VolumePlan(step="unbind")


def unbound(reference: Document, annotations: Document) -> Document | None:
    """What is left of a volume's `claimRef`: a reservation by name stays where a person has made it."""
    if annotations.get(BOUND_BY_CONTROLLER):
        return None
    return {key: value for key, value in reference.items() if key not in ("uid", "resourceVersion")}


def _is_ours(volume: Document, provisioner: str) -> bool:
    return annotations_of(volume).get(PROVISIONED_BY) == provisioner


def _policy(volume: Document) -> str:
    return str(volume["spec"].get("persistentVolumeReclaimPolicy") or "Retain")


def _keep_clear(volume: Document, phase: str, provisioner: str) -> VolumePlan:
    """A volume that nobody has: nothing of ours may keep it from being deleted."""
    if is_deleting(volume) and _is_ours(volume, provisioner) and PROVISIONER_FINALIZER in finalizers_of(volume):
        return VolumePlan(phase=phase, step="delete" if _policy(volume) == "Delete" else "release-finalizer")
    return VolumePlan(phase=phase)


def _released(volume: Document, provisioner: str) -> VolumePlan:
    # A volume that could not be deleted stays Failed for people to see, and is tried again.
    phase = "Failed" if phase_of(volume) == "Failed" else "Released"
    match _policy(volume):
        case "Delete" if _is_ours(volume, provisioner):
            return VolumePlan(phase=phase, step="delete")
        case "Recycle":
            return VolumePlan(phase="Failed", step="" if phase == "Failed" else "refuse")
        case "Retain" if is_deleting(volume) and PROVISIONER_FINALIZER in finalizers_of(volume):
            return VolumePlan(phase=phase, step="release-finalizer" if _is_ours(volume, provisioner) else "")
    return VolumePlan(phase=phase)
