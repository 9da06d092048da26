"""NamespaceLifecycle: nothing is made in a namespace that is missing or going; the first namespaces stay.

Mirrors upstream's plugin of this name (documented under "Admission Controllers").
"""

from __future__ import annotations

from typing import ClassVar

from kube_core.admission.chain import AdmissionPlugin
from kube_core.api.types import ResourceType
from kube_core.meta.documents import Key, is_deleting
from kube_core.meta.gvk import GroupResource
from kube_core.meta.status import Forbidden, forbidden, not_found
from kube_core.registry.context import Attributes, Operation

__all__ = ["NamespaceLifecycle"]

_NAMESPACES = ResourceType("", "v1", "Namespace", "namespaces", False)
_PROTECTED = frozenset({"default", "kube-system", "kube-public"})
#: Made in a namespace that is going, they would keep nobody waiting.
_REVIEWS = frozenset({"localsubjectaccessreviews"})


class NamespaceLifecycle(AdmissionPlugin):
    name: ClassVar[str] = "NamespaceLifecycle"
    operations: ClassVar[frozenset[Operation]] = frozenset({"CREATE", "DELETE"})

    def handles(self, attributes: Attributes) -> bool:
        if attributes.operation == "DELETE":
            return attributes.resource.plural == "namespaces" and attributes.resource.group == ""
        # What is there may still change while its namespace goes: finalizers are taken off that way.
        creates = attributes.operation == "CREATE" and attributes.resource.namespaced
        return creates and attributes.resource.plural not in _REVIEWS

    async def mutate(self, attributes: Attributes) -> None:
        if attributes.operation == "DELETE":
            if attributes.key.name in _PROTECTED:
                why = "this namespace may not be deleted"
                raise forbidden(attributes.resource.group_resource, attributes.key.name, why)
            return
        name = attributes.key.namespace
        namespace = self.context.reader.get(_NAMESPACES, Key("", name))
        if namespace is None:
            raise not_found(GroupResource("", "namespaces"), name)
        if is_deleting(namespace):
            raise self._terminating(attributes, name)

    @staticmethod
    def _terminating(attributes: Attributes, namespace: str) -> Forbidden:
        why = f"unable to create new content in namespace {namespace} because it is being terminated"
        error = forbidden(attributes.resource.group_resource, attributes.key.name, why)
        details = error.details or {}
        details["causes"] = [
            {
                "reason": "NamespaceTerminating",
                "message": f"namespace {namespace} is being terminated",
                "field": "metadata.namespace",
            }
        ]
        return Forbidden(error.message, details=details)
