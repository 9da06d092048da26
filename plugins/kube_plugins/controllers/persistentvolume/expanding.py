"""Grows volumes whose claims ask for more than they have: the expander, and what it decides. `plan_growth` is pure.

A claim that asks for more first says so of itself (condition `Resizing`, `allocatedResources`), then the driver lets
the volume grow, then the volume says what it holds, and at last the claim. Whatever of that is done already is not done
again, so a growth that was broken off is finished by whoever looks next. Volumes of other drivers are left to them, and
the claim told. A driver that cannot let a volume grow while pods use it is asked once none does. After that come the
attributes of volumes (`modifying.py`).

Mirrors upstream's expand controller and, for the cluster's own driver, its external resizer: conditions and events.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, cast

from kube_core.abc.volume import VolumeCapabilities, VolumeDriver, VolumeError
from kube_core.api import pods, resources
from kube_core.api.types import ResourceType
from kube_core.control.action import Action, await_change
from kube_core.control.conditions import set_condition, without_condition
from kube_core.control.controller import Controller, ControllerContext, Watch
from kube_core.meta import quantities
from kube_core.meta.documents import Document, Key, MutableDocument, is_deleting, key_of, name_of, thaw, uid_of
from kube_core.meta.quantities import Quantity
from kube_plugins.controllers.persistentvolume.modifying import modified, modifying, plan_modification
from kube_plugins.controllers.persistentvolume.objects import (
    PROVISIONED_BY,
    attributes_class_of,
    capacity_of,
    phase_of,
    requested_by,
)
from kube_plugins.controllers.persistentvolume.pods import BY_CLAIM, claims_of_pod
from kube_plugins.controllers.persistentvolume.provisioning import handle_of

__all__ = ["Growth", "PersistentVolumeExpander", "being_resized", "plan_growth", "resized"]

_RESIZING = "Resizing"
_FAILED = "ControllerResizeError"
_PENDING_CONDITIONS = (_RESIZING, _FAILED, "FileSystemResizePending")

Growth = Literal["", "external", "unable", "later", "grow"]


def held_by(claim: Document) -> Quantity:
    """How much a claim says it has."""
    return quantities.parse(((claim.get("status") or {}).get("capacity") or {}).get("storage"))


def plan_growth(
    claim: Document, volume: Document | None, *, provisioner: str, capabilities: VolumeCapabilities, in_use: bool
) -> Growth:
    """What to do for a claim. `provisioner`, `capabilities`: of the cluster's driver; `in_use`: by a pod on a node."""
    if volume is None or phase_of(claim) != "Bound" or is_deleting(claim):
        return ""
    if (volume["spec"].get("claimRef") or {}).get("uid") != uid_of(claim) or requested_by(claim) <= held_by(claim):
        return ""
    if (volume["metadata"].get("annotations") or {}).get(PROVISIONED_BY) != provisioner:
        return "external"
    if not capabilities.expansion:
        return "unable"
    return "later" if in_use and not capabilities.expansion_in_use else "grow"


def being_resized(claim: Document, *, now: float, error: str = "") -> MutableDocument | None:
    """The claim that says it is growing, and why that failed of late; None where it says so already."""
    changed: MutableDocument = thaw(claim)
    status = changed.setdefault("status", {})
    conditions = set_condition(status.get("conditions") or (), _RESIZING, "True", now=now)
    if error:
        conditions = set_condition(conditions, _FAILED, "True", now=now, message=error)
    status["conditions"] = conditions
    status.setdefault("allocatedResources", {})["storage"] = str(requested_by(claim))
    status.setdefault("allocatedResourceStatuses", {})["storage"] = "ControllerResizeInProgress"
    return None if changed == thaw(claim) else changed


def resized(claim: Document, capacity: str) -> MutableDocument:
    """The claim once its volume has grown."""
    changed: MutableDocument = thaw(claim)
    status = changed.setdefault("status", {})
    status.setdefault("capacity", {})["storage"] = capacity
    for kind in _PENDING_CONDITIONS:
        status["conditions"] = without_condition(status.get("conditions") or (), kind)
    (status.get("allocatedResourceStatuses") or {}).pop("storage", None)
    for field in ("conditions", "allocatedResourceStatuses"):
        if not status.get(field):
            status.pop(field, None)
    return changed


class PersistentVolumeExpander(Controller):
    """See the module's docstring."""

    workers = 2

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        self._driver = cast(VolumeDriver, context.drivers["volume"])
        informers = context.informers
        on_nodes = informers.informer(resources.PODS)
        on_nodes.add_index(BY_CLAIM, claims_of_pod)
        self._pods = on_nodes.lister
        self._claims = informers.lister(resources.PERSISTENT_VOLUME_CLAIMS)
        self._volumes = informers.lister(resources.PERSISTENT_VOLUMES)
        self._attributes = informers.lister(resources.VOLUME_ATTRIBUTES_CLASSES)

    def watches(self) -> Iterable[Watch]:
        yield Watch(resources.PERSISTENT_VOLUME_CLAIMS, predicate=_size_or_class_changed)
        yield Watch(resources.VOLUME_ATTRIBUTES_CLASSES, self._claims_of_class)
        if not self._driver.capabilities.expansion_in_use:
            yield Watch(resources.PODS, _claim_keys, predicate=_left)

    def reads(self) -> Iterable[ResourceType]:
        return (resources.PERSISTENT_VOLUMES, resources.PODS)

    async def reconcile(self, key: Key) -> Action:
        claim = self._claims.get(key)
        if claim is None:
            return await_change()
        volume = self._volumes.get(Key("", str(claim["spec"].get("volumeName") or "")))
        driver, events = self._driver, self.context.events
        plan = plan_growth(
            claim,
            volume,
            provisioner=driver.provisioner,
            capabilities=driver.capabilities,
            in_use=any(pods.node_name_of(pod) for pod in self._pods.by_index(BY_CLAIM, str(key))),
        )
        if plan == "external":
            events.normal(claim, "ExternalExpanding", "waiting for an external controller to expand this PVC")
        elif plan == "unable":
            events.warning(claim, "VolumeResizeFailed", f"volumes of {driver.provisioner} cannot grow")
        elif plan == "later":
            events.normal(claim, "Resizing", "waiting for the pods that use the volume to end")
        elif plan == "grow" and volume is not None:
            claim = await self._grow(claim, volume)
        if volume is not None:
            await self._modify(claim, volume)
        return await_change()

    async def _modify(self, claim: Document, volume: Document) -> None:
        wanted = self._attributes.get(Key("", attributes_class_of(claim)))
        driver, events = self._driver, self.context.events
        plan = plan_modification(
            claim, volume, wanted, provisioner=driver.provisioner, capabilities=driver.capabilities
        )
        if plan == "":
            return
        told = modifying(claim, plan)
        if told is not None:
            claim = await self.client.update_status(resources.PERSISTENT_VOLUME_CLAIMS, told)
        if plan == "Infeasible" and told is not None:
            why = f"volumes of {driver.provisioner} have no attributes that could change"
            events.warning(claim, "VolumeModifyFailed", why)
        if plan != "InProgress" or wanted is None:
            return
        try:
            await driver.modify(handle_of(volume), dict(wanted.get("parameters") or {}))
        except VolumeError as error:
            events.warning(claim, "VolumeModifyFailed", str(error))
            raise
        patch = {"spec": {"volumeAttributesClassName": name_of(wanted)}}
        await self.client.patch(resources.PERSISTENT_VOLUMES, name_of(volume), patch)
        await self.client.update_status(resources.PERSISTENT_VOLUME_CLAIMS, modified(claim))
        message = f"external resizer modified volume {name_of(claim)} with vac {name_of(wanted)} successfully"
        events.normal(claim, "VolumeModifySuccessful", message)

    def _claims_of_class(self, attributes: Document) -> Iterable[Key]:
        name = name_of(attributes)
        return [key_of(claim) for claim in self._claims.list() if attributes_class_of(claim) == name]

    async def _grow(self, claim: Document, volume: Document) -> Document:
        """The claim afterwards."""
        events, wanted = self.context.events, requested_by(claim)
        marked = being_resized(claim, now=self.clock.now())
        if marked is not None:
            events.normal(claim, "Resizing", f"External resizer is resizing volume {name_of(volume)}")
            claim = await self.client.update_status(resources.PERSISTENT_VOLUME_CLAIMS, marked)
        try:
            grown = await self._driver.expand(handle_of(volume), wanted.value)
        except VolumeError as error:
            why = f'resize volume "{name_of(volume)}" by resizer "{self._driver.provisioner}" failed: {error}'
            events.warning(claim, "VolumeResizeFailed", why)
            failed = being_resized(claim, now=self.clock.now(), error=str(error))
            if failed is not None:
                await self.client.update_status(resources.PERSISTENT_VOLUME_CLAIMS, failed)
            raise
        capacity = str(wanted if grown == wanted.value else Quantity(grown * 10**9, "binary"))
        if str(capacity_of(volume)) != capacity:
            patch = {"spec": {"capacity": {"storage": capacity}}}
            await self.client.patch(resources.PERSISTENT_VOLUMES, name_of(volume), patch)
        claim = await self.client.update_status(resources.PERSISTENT_VOLUME_CLAIMS, resized(claim, capacity))
        events.normal(claim, "VolumeResizeSuccessful", "Resize volume succeeded")
        return claim


def _size_or_class_changed(before: Document | None, after: Document | None) -> bool:
    def told(claim: Document | None) -> object:
        if claim is None:
            return None
        return str(requested_by(claim)), str(held_by(claim)), phase_of(claim), attributes_class_of(claim)

    return told(before) != told(after)


def _left(before: Document | None, after: Document | None) -> bool:
    return after is None


def _claim_keys(pod: Document) -> Iterable[Key]:
    for text in claims_of_pod(pod):
        namespace, _, name = text.partition("/")
        yield Key(namespace, name)
