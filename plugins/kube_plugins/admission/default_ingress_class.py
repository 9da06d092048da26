"""DefaultIngressClass: an Ingress that names no class gets the default one.

Mirrors upstream's plugin of this name: of several defaults the newest wins, then the first by name.
"""

from __future__ import annotations

from typing import ClassVar

from kube_core.admission.chain import AdmissionPlugin
from kube_core.api.types import ResourceType
from kube_core.meta.documents import annotations_of, metadata_of, name_of
from kube_core.registry.context import Attributes, Operation

__all__ = ["DefaultIngressClass"]

_CLASSES = ResourceType("networking.k8s.io", "v1", "IngressClass", "ingressclasses", False)
_IS_DEFAULT = "ingressclass.kubernetes.io/is-default-class"
_LEGACY_CLASS = "kubernetes.io/ingress.class"


class DefaultIngressClass(AdmissionPlugin):
    name: ClassVar[str] = "DefaultIngressClass"
    operations: ClassVar[frozenset[Operation]] = frozenset({"CREATE"})
    resources: ClassVar[frozenset[str]] = frozenset({"ingresses"})

    async def mutate(self, attributes: Attributes) -> None:
        ingress = attributes.object
        if ingress is None or attributes.subresource:
            return
        spec = ingress.setdefault("spec", {})
        if spec.get("ingressClassName") is not None or _LEGACY_CLASS in annotations_of(ingress):
            return
        defaults = [
            each for each in self.context.reader.list(_CLASSES) if annotations_of(each).get(_IS_DEFAULT) == "true"
        ]
        if defaults:
            defaults.sort(key=name_of)
            newest = max(defaults, key=lambda each: str(metadata_of(each).get("creationTimestamp", "")))
            spec["ingressClassName"] = name_of(newest)
