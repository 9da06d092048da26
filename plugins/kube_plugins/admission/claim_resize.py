"""PersistentVolumeClaimResize: a claim grows only where its storage class allows it.

Mirrors upstream's plugin of this name.
"""

from __future__ import annotations

from typing import Any, ClassVar

from kube_core.admission.chain import AdmissionPlugin
from kube_core.api.types import ResourceType
from kube_core.meta import quantities
from kube_core.meta.documents import Document, Key
from kube_core.meta.quantities import Quantity
from kube_core.meta.status import forbidden
from kube_core.registry.context import Attributes, Operation

__all__ = ["PersistentVolumeClaimResize"]

_CLASSES = ResourceType("storage.k8s.io", "v1", "StorageClass", "storageclasses", False)
_BETA_CLASS = "volume.beta.kubernetes.io/storage-class"


class PersistentVolumeClaimResize(AdmissionPlugin):
    name: ClassVar[str] = "PersistentVolumeClaimResize"
    operations: ClassVar[frozenset[Operation]] = frozenset({"UPDATE"})
    resources: ClassVar[frozenset[str]] = frozenset({"persistentvolumeclaims"})

    async def validate(self, attributes: Attributes) -> None:
        claim, old = attributes.object, attributes.old
        if claim is None or old is None or attributes.subresource or not _size(old) < _size(claim):
            return
        why = ""
        if (old.get("status") or {}).get("phase") != "Bound":
            why = "Only bound persistent volume claims can be expanded"
        elif not self._may_grow(claim, old):
            why = (
                "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must "
                "support resize"
            )
        if why:
            raise forbidden(attributes.resource.group_resource, attributes.key.name, why)

    def _may_grow(self, claim: Document, old: Document) -> bool:
        name = _class_of(claim)
        if not name or name != _class_of(old):
            return False
        found = self.context.reader.get(_CLASSES, Key("", name))
        return found is not None and bool(found.get("allowVolumeExpansion"))


def _size(claim: Document) -> Quantity:
    requests = ((claim["spec"].get("resources") or {}).get("requests")) or {}
    return quantities.parse(requests.get("storage", 0))


def _class_of(claim: Document) -> Any:
    annotations = claim["metadata"].get("annotations") or {}
    return annotations.get(_BETA_CLASS) or claim["spec"].get("storageClassName")
