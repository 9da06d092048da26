"""storage.k8s.io, and resource.k8s.io: what is provided to pods."""

from __future__ import annotations

from typing import Any

from kube_core.meta.documents import Document, annotations_of, is_deleting, name_of
from kube_core.registry.tables.cells import NONE, UNSET, age_of, spec_of, status_of
from kube_core.registry.tables.columns import AGE, NAME, Printer, TableColumn, column

__all__ = ["PRINTERS"]

_DEFAULT_CLASS = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")


def _storage_class(document: Document, now: float) -> list[Any]:
    annotations = annotations_of(document)
    default = any(annotations.get(name) == "true" for name in _DEFAULT_CLASS)
    return [
        f"{name_of(document)} (default)" if default else name_of(document),
        document.get("provisioner", ""),
        document.get("reclaimPolicy") or "Delete",
        document.get("volumeBindingMode") or "Immediate",
        bool(document.get("allowVolumeExpansion")),
        age_of(document, now),
    ]


def _volume_attributes_class(document: Document, now: float) -> list[Any]:
    return [name_of(document), document.get("driverName", ""), age_of(document, now)]


def _volume_attachment(document: Document, now: float) -> list[Any]:
    spec = spec_of(document)
    return [
        name_of(document),
        spec.get("attacher", ""),
        (spec.get("source") or {}).get("persistentVolumeName") or "",
        spec.get("nodeName", ""),
        bool(status_of(document).get("attached")),
        age_of(document, now),
    ]


def _csi_node(document: Document, now: float) -> list[Any]:
    return [name_of(document), len(spec_of(document).get("drivers") or ()), age_of(document, now)]


def _csi_driver(document: Document, now: float) -> list[Any]:
    spec = spec_of(document)
    requests = spec.get("tokenRequests")
    return [
        name_of(document),
        spec.get("attachRequired") is not False,
        bool(spec.get("podInfoOnMount")),
        bool(spec.get("storageCapacity")),
        UNSET if requests is None else ",".join(request.get("audience", "") for request in requests),
        bool(spec.get("requiresRepublish")),
        ",".join(spec.get("volumeLifecycleModes") or ()) or NONE,
        age_of(document, now),
    ]


def _name_and_age(document: Document, now: float) -> list[Any]:
    return [name_of(document), age_of(document, now)]


def _resource_claim(document: Document, now: float) -> list[Any]:
    status = status_of(document)
    states = ["deleted"] if is_deleting(document) else []
    if status.get("allocation") is None:
        states += [] if states else ["pending"]
    else:
        states.append("allocated")
        if status.get("reservedFor"):
            states.append("reserved")
    return [name_of(document), ",".join(states), age_of(document, now)]


def _resource_slice(document: Document, now: float) -> list[Any]:
    spec = spec_of(document)
    return [
        name_of(document),
        spec.get("nodeName") or NONE,
        spec.get("driver", ""),
        (spec.get("pool") or {}).get("name", ""),
        age_of(document, now),
    ]


PRINTERS = {
    ("storage.k8s.io", "StorageClass"): Printer(
        (NAME, column("Provisioner"), column("ReclaimPolicy"), column("VolumeBindingMode"),
         column("AllowVolumeExpansion"), AGE),
        _storage_class,
    ),
    ("storage.k8s.io", "VolumeAttributesClass"): Printer(
        (NAME, column("DriverName"), AGE), _volume_attributes_class
    ),
    ("storage.k8s.io", "VolumeAttachment"): Printer(
        (NAME, TableColumn("Attacher", format="name"), column("PV"), column("Node"), column("Attached", "boolean"),
         AGE),
        _volume_attachment,
    ),
    ("storage.k8s.io", "CSINode"): Printer((NAME, column("Drivers", "integer"), AGE), _csi_node),
    ("storage.k8s.io", "CSIDriver"): Printer(
        (NAME, column("AttachRequired", "boolean"), column("PodInfoOnMount", "boolean"),
         column("StorageCapacity", "boolean"), column("TokenRequests"), column("RequiresRepublish", "boolean"),
         column("Modes"), AGE),
        _csi_driver,
    ),
    ("resource.k8s.io", "DeviceClass"): Printer((NAME, AGE), _name_and_age),
    ("resource.k8s.io", "ResourceClaim"): Printer((NAME, column("State"), AGE), _resource_claim),
    ("resource.k8s.io", "ResourceClaimTemplate"): Printer((NAME, AGE), _name_and_age),
    ("resource.k8s.io", "ResourceSlice"): Printer(
        (NAME, column("Node"), column("Driver"), column("Pool"), AGE), _resource_slice
    ),
}  # fmt: skip
