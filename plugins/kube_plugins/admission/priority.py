"""Priority: a pod's priority class becomes its number and its preemption policy.

Mirrors upstream's plugin of this name: without a class the global default holds, and without one of those 0. An update
that leaves them out keeps them.
"""

from __future__ import annotations

from typing import ClassVar

from kube_core.admission.chain import AdmissionContext, AdmissionPlugin
from kube_core.api.types import ResourceType
from kube_core.meta.documents import Document, Key, name_of
from kube_core.meta.status import forbidden
from kube_core.registry.context import Attributes, Operation

__all__ = ["Priority"]

_CLASSES = ResourceType("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", False)
_PREEMPT = "PreemptLowerPriority"


class Priority(AdmissionPlugin):
    name: ClassVar[str] = "Priority"
    operations: ClassVar[frozenset[Operation]] = frozenset({"CREATE", "UPDATE"})
    resources: ClassVar[frozenset[str]] = frozenset({"pods"})

    def __init__(self, context: AdmissionContext) -> None:
        super().__init__(context)
        #: The global default, while it is known.
        self._known: tuple[Document | None] | None = None
        context.reader.follow(_CLASSES, self._forget)

    async def mutate(self, attributes: Attributes) -> None:
        pod = attributes.object
        if pod is None or attributes.subresource:
            return
        spec = pod["spec"]
        if attributes.operation == "UPDATE":
            before = (attributes.old or {}).get("spec") or {}
            for field in ("priority", "preemptionPolicy"):
                if spec.get(field) is None and before.get(field) is not None:
                    spec[field] = before[field]
            return
        wanted = spec.get("priorityClassName")
        found = self._default() if not wanted else self.context.reader.get(_CLASSES, Key("", wanted))
        if wanted and found is None:
            why = f"no PriorityClass with name {wanted} was found"
            raise forbidden(attributes.resource.group_resource, attributes.key.name, why)
        value = int(found.get("value", 0)) if found is not None else 0
        policy = (found.get("preemptionPolicy") or _PREEMPT) if found is not None else _PREEMPT
        if found is not None:
            spec["priorityClassName"] = name_of(found)
        for field, number in (("priority", value), ("preemptionPolicy", policy)):
            given = spec.get(field)
            if given is not None and given != number:
                what = "integer value of priority" if field == "priority" else "string value of PreemptionPolicy"
                why = (
                    f"the {what} ({given}) must not be provided in pod spec; priority admission controller computed "
                    f"{number} from the given PriorityClass name"
                )
                raise forbidden(attributes.resource.group_resource, attributes.key.name, why)
            spec[field] = number

    def _default(self) -> Document | None:
        """The global default class; the lowest, should there be several."""
        if self._known is None:
            defaults = [each for each in self.context.reader.list(_CLASSES) if each.get("globalDefault")]
            self._known = (min(defaults, key=lambda each: int(each.get("value", 0)), default=None),)
        return self._known[0]

    def _forget(self) -> None:
        self._known = None
