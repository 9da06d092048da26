"""StorageObjectInUseProtection: claims and volumes get the finalizer that keeps them while they are in use.

Mirrors upstream's plugin of this name; the protection controllers take the finalizers away again.
"""

from __future__ import annotations

from typing import ClassVar

from kube_core.admission.chain import AdmissionPlugin
from kube_core.registry.context import Attributes, Operation

__all__ = ["StorageObjectInUseProtection"]

_FINALIZERS = {
    "persistentvolumeclaims": "kubernetes.io/pvc-protection",
    "persistentvolumes": "kubernetes.io/pv-protection",
    "volumeattributesclasses": "kubernetes.io/vac-protection",
}


class StorageObjectInUseProtection(AdmissionPlugin):
    name: ClassVar[str] = "StorageObjectInUseProtection"
    operations: ClassVar[frozenset[Operation]] = frozenset({"CREATE"})
    resources: ClassVar[frozenset[str]] = frozenset(_FINALIZERS)

    async def mutate(self, attributes: Attributes) -> None:
        if attributes.object is None or attributes.subresource:
            return
        metadata = attributes.object["metadata"]
        finalizer = _FINALIZERS[attributes.resource.plural]
        if finalizer not in (metadata.get("finalizers") or ()):
            metadata["finalizers"] = [*(metadata.get("finalizers") or ()), finalizer]
