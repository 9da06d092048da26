"""TaintNodesByCondition: a new node is not ready until somebody says that it is.

Mirrors upstream's plugin of this name: the taint `node.kubernetes.io/not-ready:NoSchedule` is put on at creation,
and the node lifecycle takes it off.
"""

from __future__ import annotations

from typing import ClassVar

from kube_core.admission.chain import AdmissionPlugin
from kube_core.registry.context import Attributes, Operation

__all__ = ["TaintNodesByCondition"]

_TAINT = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}


class TaintNodesByCondition(AdmissionPlugin):
    name: ClassVar[str] = "TaintNodesByCondition"
    operations: ClassVar[frozenset[Operation]] = frozenset({"CREATE"})
    resources: ClassVar[frozenset[str]] = frozenset({"nodes"})

    async def mutate(self, attributes: Attributes) -> None:
        if attributes.object is None or attributes.subresource:
            return
        spec = attributes.object.setdefault("spec", {})
        taints = list(spec.get("taints") or ())
        if not any(each.get("key") == _TAINT["key"] and each.get("effect") == _TAINT["effect"] for each in taints):
            spec["taints"] = [*taints, dict(_TAINT)]
