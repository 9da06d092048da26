"""The binder: the outline. What is to be done is decided in `plan_claim.py` and `plan_volume.py`; here it is done.

One queue holds both kinds of key: a claim's has a namespace, a volume's has none. Binding takes four writes, in this
order: the volume's `claimRef`, the volume's phase, the claim's `volumeName`, the claim's phase. Each is left out where
it is done already, so a binding that was broken off is finished by whoever looks next; and because the volume is
written first, two claims that want one volume are decided by the server (the second gets a conflict).

Mirrors upstream's persistent volume controller and, for the cluster's own volume driver, its external provisioner:
annotations, finalizers, events.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from kube_core.abc.volume import VolumeDriver, VolumeError
from kube_core.api import resources
from kube_core.api.types import ResourceType
from kube_core.control.action import Action, await_change
from kube_core.control.controller import Controller, ControllerContext, Watch
from kube_core.meta.documents import (
    Document,
    Key,
    MutableDocument,
    annotations_of,
    is_deleting,
    key_of,
    name_of,
    namespace_of,
    thaw,
    uid_of,
)
from kube_core.meta.status import NotFound
from kube_plugins.controllers.persistentvolume.binding import bound_claim, bound_claim_status, bound_volume
from kube_plugins.controllers.persistentvolume.objects import (
    BIND_COMPLETED,
    PROVISIONER_FINALIZER,
    STORAGE_PROVISIONER,
    STORAGE_PROVISIONER_BETA,
    attributes_class_of,
    claim_key_of,
    phase_of,
)
from kube_plugins.controllers.persistentvolume.plan_claim import (
    Bind,
    Lose,
    Occasion,
    Provision,
    SetClass,
    Wait,
    plan_claim,
)
from kube_plugins.controllers.persistentvolume.plan_volume import VolumePlan, plan_volume, unbound
from kube_plugins.controllers.persistentvolume.pods import BY_CLAIM, claims_of_pod
from kube_plugins.controllers.persistentvolume.provisioning import (
    handle_of,
    provisioned_volume,
    refusal,
    volume_request,
)

__all__ = ["PersistentVolumeBinder"]

_UNBOUND = "unbound"


def _unbound_claims(claim: Document) -> Iterable[str]:
    if BIND_COMPLETED not in annotations_of(claim):
        yield _UNBOUND


class PersistentVolumeBinder(Controller):
    """Binds claims to volumes, has volumes made for them, and reclaims volumes."""

    workers = 5

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        self._events = context.events
        self._driver = cast(VolumeDriver, context.drivers["volume"])
        informers = context.informers
        claims = informers.informer(resources.PERSISTENT_VOLUME_CLAIMS)
        claims.add_index(_UNBOUND, _unbound_claims)
        pods = informers.informer(resources.PODS)
        pods.add_index(BY_CLAIM, claims_of_pod)
        self._claims = claims.lister
        self._pods = pods.lister
        self._volumes = informers.lister(resources.PERSISTENT_VOLUMES)
        self._classes = informers.lister(resources.STORAGE_CLASSES)
        self._attributes = informers.lister(resources.VOLUME_ATTRIBUTES_CLASSES)

    def watches(self) -> Iterable[Watch]:
        return (
            Watch(resources.PERSISTENT_VOLUME_CLAIMS, self._keys_of_claim),
            Watch(resources.PERSISTENT_VOLUMES, self._keys_of_volume),
            Watch(resources.STORAGE_CLASSES, self._every_unbound_claim),
            Watch(resources.VOLUME_ATTRIBUTES_CLASSES, self._every_unbound_claim),
        )

    def reads(self) -> Iterable[ResourceType]:
        return (resources.PODS,)

    async def reconcile(self, key: Key) -> Action:
        if key.namespace:
            claim = self._claims.get(key)
            if claim is not None:
                await self._sync_claim(claim)
        else:
            volume = self._volumes.get(key)
            if volume is not None:
                await self._sync_volume(volume)
        return await_change()

    def _keys_of_claim(self, claim: Document) -> Iterable[Key]:
        yield key_of(claim)
        if name := (claim.get("spec") or {}).get("volumeName"):
            yield Key("", str(name))

    def _keys_of_volume(self, volume: Document) -> Iterable[Key]:
        yield key_of(volume)
        claim_key = claim_key_of(volume)
        if claim_key is not None:
            yield claim_key
        else:
            yield from self._every_unbound_claim(volume)

    def _every_unbound_claim(self, _document: Document) -> Iterable[Key]:
        return [key_of(claim) for claim in self._claims.by_index(_UNBOUND, _UNBOUND)]

    # Claims

    async def _sync_claim(self, claim: Document) -> None:
        volumes = {name_of(volume): volume for volume in self._volumes.list()}
        classes = {name_of(item): item for item in self._classes.list()}
        consumers = [name_of(pod) for pod in self._pods.by_index(BY_CLAIM, str(key_of(claim)))]
        plan = plan_claim(claim, volumes, classes, consumers=sorted(consumers))
        match plan:
            case Bind(volume):
                await self._bind(claim, volume)
            case Provision(storage_class):
                await self._provision(claim, storage_class)
            case SetClass(name):
                changed = thaw(claim)
                changed["spec"]["storageClassName"] = name
                await self.client.update(resources.PERSISTENT_VOLUME_CLAIMS, changed)
            case Wait(occasion):
                self._record(claim, occasion)
                await self._set_claim_phase(claim, "Pending")
            case Lose(occasion):
                if phase_of(claim) != "Lost":
                    self._record(claim, occasion)
                await self._set_claim_phase(claim, "Lost")

    def _record(self, claim: Document, occasion: Occasion | None) -> None:
        if occasion is not None:
            record = self._events.warning if occasion.is_warning else self._events.normal
            record(claim, occasion.reason, occasion.message)

    async def _set_claim_phase(self, claim: Document, phase: str) -> None:
        if phase_of(claim) == phase:
            return
        changed = thaw(claim)
        changed["status"] = {"phase": phase}
        await self.client.update_status(resources.PERSISTENT_VOLUME_CLAIMS, changed)

    async def _bind(self, claim: Document, volume: Document) -> None:
        changed_volume = bound_volume(volume, claim)
        if changed_volume is not None:
            volume = await self.client.update(resources.PERSISTENT_VOLUMES, changed_volume)
        await self._set_volume_phase(volume, "Bound")
        changed_claim = bound_claim(claim, volume)
        if changed_claim is not None:
            claim = await self.client.update(resources.PERSISTENT_VOLUME_CLAIMS, changed_claim)
        changed_status = bound_claim_status(claim, volume)
        if changed_status is not None:
            await self.client.update_status(resources.PERSISTENT_VOLUME_CLAIMS, changed_status)

    async def _provision(self, claim: Document, storage_class: Document) -> None:
        provisioner = str(storage_class.get("provisioner") or "")
        claim = await self._name_provisioner(claim, provisioner)
        await self._set_claim_phase(claim, "Pending")
        if provisioner != self._driver.provisioner:
            self._events.normal(
                claim,
                "ExternalProvisioning",
                f"Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by "
                "the system administrator. If volume creation is delayed, please verify that the provisioner is "
                "running and correctly registered.",
            )
            return
        why = refusal(claim, self._driver.capabilities)
        if why:
            self._failed_to_provision(claim, storage_class, why)
            return
        attributes: Document | None = None
        if wanted := attributes_class_of(claim):
            attributes = self._attributes.get(Key("", wanted))
            if attributes is None or attributes.get("driverName") != provisioner:
                missing = f'volumeattributesclass.storage.k8s.io "{wanted}" of driver "{provisioner}" not found'
                self._failed_to_provision(claim, storage_class, missing)
                return
        request = volume_request(claim, storage_class, attributes)
        self._events.normal(
            claim, "Provisioning", f'External provisioner is provisioning volume for claim "{key_of(claim)}"'
        )
        try:
            source = await self._driver.provision(request)
        except VolumeError as error:
            self._failed_to_provision(claim, storage_class, str(error))
            raise
        volume = await self.client.create(
            resources.PERSISTENT_VOLUMES, provisioned_volume(claim, storage_class, source, name=request.name)
        )
        self._events.normal(claim, "ProvisioningSucceeded", f"Successfully provisioned volume {request.name}")
        await self._bind(await self._fresh(claim), volume)

    def _failed_to_provision(self, claim: Document, storage_class: Document, why: str) -> None:
        self._events.warning(
            claim,
            "ProvisioningFailed",
            f'failed to provision volume with StorageClass "{name_of(storage_class)}": {why}',
        )

    async def _name_provisioner(self, claim: Document, provisioner: str) -> Document:
        """Say on the claim who is to make its volume: this is what external provisioners look for."""
        if annotations_of(claim).get(STORAGE_PROVISIONER) == provisioner:
            return claim
        changed = thaw(claim)
        annotations = changed["metadata"].setdefault("annotations", {})
        annotations[STORAGE_PROVISIONER] = annotations[STORAGE_PROVISIONER_BETA] = provisioner
        return await self.client.update(resources.PERSISTENT_VOLUME_CLAIMS, changed)

    async def _fresh(self, claim: Document) -> Document:
        """The claim as it is now: its status was written since the caller's copy was."""
        return await self.client.get(resources.PERSISTENT_VOLUME_CLAIMS, name_of(claim), namespace_of(claim))

    # Volumes

    async def _sync_volume(self, volume: Document) -> None:
        plan = plan_volume(volume, await self._claim_of(volume), provisioner=self._driver.provisioner)
        if plan.phase:
            volume = await self._set_volume_phase(volume, plan.phase)
        await self._take_step(volume, plan)

    async def _claim_of(self, volume: Document) -> Document | None:
        key = claim_key_of(volume)
        if key is None:
            return None
        claim = self._claims.get(key)
        uid = volume["spec"]["claimRef"].get("uid")
        if (claim is not None and uid_of(claim) == uid) or not uid or phase_of(volume) in ("Released", "Failed"):
            return claim
        # The cache may be behind: releasing a volume, and deleting its content, is not done on its word alone.
        try:
            return await self.client.get(resources.PERSISTENT_VOLUME_CLAIMS, key.name, key.namespace)
        except NotFound:
            return None

    async def _set_volume_phase(self, volume: Document, phase: str, message: str = "") -> Document:
        if phase_of(volume) == phase:
            return volume
        changed = thaw(volume)
        changed["status"] = {"phase": phase, "message": message} if message else {"phase": phase}
        return await self.client.update_status(resources.PERSISTENT_VOLUMES, changed)

    async def _take_step(self, volume: Document, plan: VolumePlan) -> None:
        match plan.step:
            case "delete":
                await self._delete(volume)
            case "release-finalizer":
                await self._release_finalizer(volume)
            case "unbind":
                await self._unbind(volume)
            case "refuse":
                self._events.warning(volume, "VolumeFailedRecycle", "the Recycle reclaim policy is not supported")

    async def _delete(self, volume: Document) -> None:
        try:
            await self._driver.delete(handle_of(volume))
        except VolumeError as error:
            self._events.warning(volume, "VolumeFailedDelete", str(error))
            await self._set_volume_phase(volume, "Failed", str(error))
            raise
        volume = await self._release_finalizer(volume)
        if not is_deleting(volume):
            try:
                await self.client.delete(resources.PERSISTENT_VOLUMES, name_of(volume), uid=uid_of(volume))
            except NotFound:
                pass

    async def _release_finalizer(self, volume: Document) -> Document:
        changed: MutableDocument = thaw(volume)
        finalizers = changed["metadata"].get("finalizers") or []
        if PROVISIONER_FINALIZER not in finalizers:
            return volume
        changed["metadata"]["finalizers"] = [item for item in finalizers if item != PROVISIONER_FINALIZER]
        return await self.client.update(resources.PERSISTENT_VOLUMES, changed)

    async def _unbind(self, volume: Document) -> None:
        changed: MutableDocument = thaw(volume)
        reference = unbound(changed["spec"].pop("claimRef"), annotations_of(volume))
        if reference is not None:
            changed["spec"]["claimRef"] = reference
        volume = await self.client.update(resources.PERSISTENT_VOLUMES, changed)
        await self._set_volume_phase(volume, "Available")
