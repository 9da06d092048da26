"""From a claim, and what there is, to what is to be done for it. Pure: one of the steps below, never two.

Follows upstream's life of a claim: Pending until a volume is found or made for it; Bound, and bound for good; Lost when
the volume it was bound to is gone, or is another claim's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs

from kube_core.meta.documents import Document, annotations_of, is_deleting, name_of, uid_of
from kube_plugins.controllers.persistentvolume.matching import find_volume, mismatch
from kube_plugins.controllers.persistentvolume.objects import (
    BIND_COMPLETED,
    SELECTED_NODE,
    asks_for_default_class,
    class_name_of,
    default_class,
    is_bound_to,
    waits_for_consumer,
)

__all__ = ["Bind", "ClaimPlan", "Lose", "Occasion", "Provision", "SetClass", "Wait", "plan_claim"]

_LOST = "Data on the volume is lost!"


@attrs.frozen
class Occasion:
    """An event to record."""

    reason: str
    message: str
    is_warning: bool = False


@attrs.frozen
class Bind:
    """Bind claim and volume to each other, or finish doing so."""

    volume: Document


@attrs.frozen
class Provision:
    """Have a volume made by the class's provisioner."""

    storage_class: Document


@attrs.frozen
class SetClass:
    """Give the claim, which left it open, the default class."""

    name: str


@attrs.frozen
class Wait:
    """Stay Pending."""

    occasion: Occasion | None = None


@attrs.frozen
class Lose:
    """The volume is gone for good."""

    occasion: Occasion


ClaimPlan = Bind | Provision | SetClass | Wait | Lose


def plan_claim(
    claim: Document,
    volumes: Mapping[str, Document],
    classes: Mapping[str, Document],
    *,
    consumers: Sequence[str] = (),
) -> ClaimPlan:
    """What to do for a claim. `volumes`, `classes`: all there are, by name. `consumers`: names of pods that use it."""
    if BIND_COMPLETED in annotations_of(claim):
        return _plan_bound(claim, volumes)
    wanted = str((claim.get("spec") or {}).get("volumeName") or "")
    if wanted:
        return _plan_named(claim, volumes.get(wanted), wanted)
    return _plan_open(claim, volumes.values(), classes, consumers)


def _plan_bound(claim: Document, volumes: Mapping[str, Document]) -> ClaimPlan:
    name = str((claim.get("spec") or {}).get("volumeName") or "")
    if not name:
        return Lose(Occasion("ClaimLost", f"Bound claim has lost reference to PersistentVolume. {_LOST}", True))
    volume = volumes.get(name)
    if volume is None:
        return Lose(Occasion("ClaimLost", f"Bound claim has lost its PersistentVolume. {_LOST}", True))
    reference = volume["spec"].get("claimRef")
    if not reference or (is_bound_to(volume, claim) and reference.get("uid") == uid_of(claim)):
        return Bind(volume)
    return Lose(
        Occasion(
            "ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly", is_warning=True
        )
    )


def _plan_named(claim: Document, volume: Document | None, wanted: str) -> ClaimPlan:
    if volume is None or is_deleting(claim):
        return Wait()
    if not volume["spec"].get("claimRef"):
        why = mismatch(claim, volume)
        if why:
            return Wait(Occasion("VolumeMismatch", f'Cannot bind to requested volume "{wanted}": {why}', True))
        return Bind(volume)
    if is_bound_to(volume, claim):
        return Bind(volume)
    return Wait(Occasion("FailedBinding", f'volume "{wanted}" already bound to a different claim.', True))


def _plan_open(
    claim: Document, volumes: Iterable[Document], classes: Mapping[str, Document], consumers: Sequence[str]
) -> ClaimPlan:
    if is_deleting(claim):
        return Wait()
    name = class_name_of(claim)
    storage_class = classes.get(name)
    delayed = waits_for_consumer(storage_class) and SELECTED_NODE not in annotations_of(claim)
    volume = find_volume(claim, volumes, reserved_only=delayed)
    if volume is not None:
        return Bind(volume)
    if asks_for_default_class(claim) and (chosen := default_class(classes.values())) is not None:
        return SetClass(name_of(chosen))
    if delayed:
        return Wait(_waiting(consumers))
    if storage_class is not None:
        return Provision(storage_class)
    if name:
        return Wait(Occasion("ProvisioningFailed", f'storageclass.storage.k8s.io "{name}" not found', is_warning=True))
    return Wait(Occasion("FailedBinding", "no persistent volumes available for this claim and no storage class is set"))


def _waiting(consumers: Sequence[str]) -> Occasion:
    if consumers:
        return Occasion("WaitForPodScheduled", f"waiting for pod {','.join(consumers)} to be scheduled")
    return Occasion("WaitForFirstConsumer", "waiting for first consumer to be created before binding")
