"""DefaultStorageClass: a claim that names no class gets the default one.

Mirrors upstream's plugin of this name: of several defaults the newest wins, then the first by name.
"""

from __future__ import annotations

from typing import ClassVar

from kube_core.admission.chain import AdmissionPlugin
from kube_core.api.types import ResourceType
from kube_core.meta.documents import annotations_of, metadata_of, name_of
from kube_core.registry.context import Attributes, Operation

__all__ = ["DefaultStorageClass"]

_CLASSES = ResourceType("storage.k8s.io", "v1", "StorageClass", "storageclasses", False)
_IS_DEFAULT = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
_BETA_CLASS = "volume.beta.kubernetes.io/storage-class"


class DefaultStorageClass(AdmissionPlugin):
    name: ClassVar[str] = "DefaultStorageClass"
    operations: ClassVar[frozenset[Operation]] = frozenset({"CREATE"})
    resources: ClassVar[frozenset[str]] = frozenset({"persistentvolumeclaims"})

    async def mutate(self, attributes: Attributes) -> None:
        claim = attributes.object
        if claim is None or attributes.subresource:
            return
        spec = claim.setdefault("spec", {})
        if spec.get("storageClassName") is not None or _BETA_CLASS in annotations_of(claim):
            return
        defaults = [
            each
            for each in self.context.reader.list(_CLASSES)
            if any(annotations_of(each).get(name) == "true" for name in _IS_DEFAULT)
        ]
        if defaults:
            defaults.sort(key=name_of)
            newest = max(defaults, key=lambda each: str(metadata_of(each).get("creationTimestamp", "")))
            spec["storageClassName"] = name_of(newest)
