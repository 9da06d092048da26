"""RuntimeClass: a pod that names a runtime class gets its overhead, node selector and tolerations.

Mirrors upstream's plugin of this name. An overhead is the class's to say: a pod that brings another one is refused.
"""

from __future__ import annotations

from typing import Any, ClassVar

from kube_core.admission.chain import AdmissionPlugin
from kube_core.api.types import ResourceType
from kube_core.meta import quantities
from kube_core.meta.documents import Document, Key, MutableDocument, thaw
from kube_core.meta.status import forbidden
from kube_core.registry.context import Attributes, Operation

__all__ = ["RuntimeClass"]

_CLASSES = ResourceType("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses", False)


class RuntimeClass(AdmissionPlugin):
    name: ClassVar[str] = "RuntimeClass"
    operations: ClassVar[frozenset[Operation]] = frozenset({"CREATE"})
    resources: ClassVar[frozenset[str]] = frozenset({"pods"})

    async def mutate(self, attributes: Attributes) -> None:
        pod = attributes.object
        if pod is None or attributes.subresource:
            return
        spec = pod["spec"]
        found = self._class(attributes, spec)
        overhead = ((found or {}).get("overhead") or {}).get("podFixed")
        if overhead:
            if spec.get("overhead") and not _equal(spec["overhead"], overhead):
                raise self._refuse(
                    attributes, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"
                )
            spec["overhead"] = thaw(overhead)
        self._schedule(attributes, spec, (found or {}).get("scheduling") or {})

    async def validate(self, attributes: Attributes) -> None:
        pod = attributes.object
        if pod is None or attributes.subresource or pod["spec"].get("overhead") is None:
            return
        found = self._class(attributes, pod["spec"])
        if not ((found or {}).get("overhead") or {}).get("podFixed"):
            raise self._refuse(
                attributes, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
            )

    def _class(self, attributes: Attributes, spec: Document) -> Document | None:
        name = spec.get("runtimeClassName")
        if not name:
            return None
        found = self.context.reader.get(_CLASSES, Key("", name))
        if found is None:
            raise self._refuse(attributes, f'pod rejected: RuntimeClass "{name}" not found')
        return found

    def _schedule(self, attributes: Attributes, spec: MutableDocument, scheduling: Document) -> None:
        selector: dict[str, Any] = dict(spec.get("nodeSelector") or {})
        for label, value in (scheduling.get("nodeSelector") or {}).items():
            if selector.get(label, value) != value:
                why = (
                    f"conflict: runtimeClass.scheduling.nodeSelector[{label}] = {value}; "
                    f"pod.spec.nodeSelector[{label}] = {selector[label]}"
                )
                raise self._refuse(attributes, why)
            selector[label] = value
        if selector:
            spec["nodeSelector"] = selector
        tolerations = list(spec.get("tolerations") or ())
        tolerations += [thaw(each) for each in scheduling.get("tolerations") or () if each not in tolerations]
        if tolerations:
            spec["tolerations"] = tolerations

    @staticmethod
    def _refuse(attributes: Attributes, why: str) -> Exception:
        return forbidden(attributes.resource.group_resource, attributes.key.name, why)


def _equal(one: Document, other: Document) -> bool:
    return {name: quantities.parse(value) for name, value in one.items()} == {
        name: quantities.parse(value) for name, value in other.items()
    }
