"""The documents of dynamic provisioning: the request, and the volume that comes of it. Pure."""

from __future__ import annotations

from kube_core.abc.volume import VolumeCapabilities, VolumeRequest, VolumeSource
from kube_core.meta.documents import (
    Document,
    MutableDocument,
    name_of,
    namespace_of,
    resource_version_of,
    thaw,
    uid_of,
)
from kube_core.meta.quantities import Quantity
from kube_plugins.controllers.persistentvolume.objects import (
    PROVISIONED_BY,
    PROVISIONER_FINALIZER,
    VOLUME_PROTECTION,
    access_modes_of,
    attributes_class_of,
    requested_by,
    volume_mode_of,
)

__all__ = ["claim_reference", "handle_of", "provisioned_volume", "refusal", "volume_request"]

_HANDLE = "kube-core.dev/volume-handle"


def refusal(claim: Document, capabilities: VolumeCapabilities) -> str:
    """Why a driver cannot make a volume for this claim; "" where it can try."""
    if volume_mode_of(claim) != "Filesystem":
        return f"volume mode {volume_mode_of(claim)} is not supported"
    if attributes_class_of(claim) and not capabilities.modification:
        return "volume attributes are not supported"
    unsupported = [mode for mode in access_modes_of(claim) if mode not in capabilities.access_modes]
    return f"access mode {unsupported[0]} is not supported" if unsupported else ""


def volume_request(claim: Document, storage_class: Document, attributes: Document | None = None) -> VolumeRequest:
    """What the driver is asked for: the name is upstream's, from the claim's uid, so asking twice makes one volume.

    `attributes`: the claim's VolumeAttributesClass, where it has one.
    """
    return VolumeRequest(
        name=f"pvc-{uid_of(claim)}",
        capacity=requested_by(claim).value,
        access_modes=tuple(access_modes_of(claim)),
        parameters=dict(storage_class.get("parameters") or {}),
        claim_namespace=namespace_of(claim),
        claim_name=name_of(claim),
        attributes=dict((attributes or {}).get("parameters") or {}),
    )


def claim_reference(claim: Document) -> MutableDocument:
    """`spec.claimRef` of a volume for this claim."""
    return {
        "kind": "PersistentVolumeClaim",
        "namespace": namespace_of(claim),
        "name": name_of(claim),
        "uid": uid_of(claim),
        "apiVersion": "v1",
        "resourceVersion": resource_version_of(claim),
    }


def provisioned_volume(claim: Document, storage_class: Document, source: VolumeSource, *, name: str) -> MutableDocument:
    """The PersistentVolume for what a driver has made."""
    provisioner = str(storage_class["provisioner"])
    requested = requested_by(claim)
    capacity = requested if source.capacity == requested.value else Quantity(source.capacity * 10**9, "binary")
    annotations = {PROVISIONED_BY: provisioner}
    if "csi" not in source.spec:
        annotations[_HANDLE] = source.handle
    spec: MutableDocument = {
        "capacity": {"storage": str(capacity)},
        **thaw(source.spec),
        "accessModes": list(access_modes_of(claim)),
        "claimRef": claim_reference(claim),
        "persistentVolumeReclaimPolicy": storage_class.get("reclaimPolicy") or "Delete",
        "storageClassName": name_of(storage_class),
        "volumeMode": volume_mode_of(claim),
    }
    if attributes := attributes_class_of(claim):
        spec["volumeAttributesClassName"] = attributes
    if storage_class.get("mountOptions"):
        spec["mountOptions"] = list(storage_class["mountOptions"])
    if source.node_affinity is not None:
        spec["nodeAffinity"] = thaw(source.node_affinity)
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": name,
            "annotations": annotations,
            "finalizers": [PROVISIONER_FINALIZER, VOLUME_PROTECTION],
        },
        "spec": spec,
    }


def handle_of(volume: Document) -> str:
    """The driver's handle of a volume that it made; "" where it has none."""
    csi = volume["spec"].get("csi") or {}
    return str(csi.get("volumeHandle") or (volume["metadata"].get("annotations") or {}).get(_HANDLE) or "")
