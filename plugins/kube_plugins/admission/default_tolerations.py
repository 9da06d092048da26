"""DefaultTolerationSeconds: a pod stays five minutes on a node that is not ready or not reachable.

Mirrors upstream's plugin of this name; a pod that tolerates these taints already keeps what it says.
"""

from __future__ import annotations

from typing import ClassVar

from kube_core.admission.chain import AdmissionPlugin
from kube_core.meta.documents import Document
from kube_core.registry.context import Attributes

__all__ = ["DefaultTolerationSeconds"]

_TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_SECONDS = 300


class DefaultTolerationSeconds(AdmissionPlugin):
    name: ClassVar[str] = "DefaultTolerationSeconds"
    resources: ClassVar[frozenset[str]] = frozenset({"pods"})

    async def mutate(self, attributes: Attributes) -> None:
        pod = attributes.object
        if pod is None or attributes.subresource:
            return
        tolerations = list(pod["spec"].get("tolerations") or ())
        for taint in _TAINTS:
            if not any(_tolerates(each, taint) for each in tolerations):
                tolerations.append(
                    {"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": _SECONDS}
                )
        pod["spec"]["tolerations"] = tolerations


def _tolerates(toleration: Document, taint: str) -> bool:
    return toleration.get("key", "") in ("", taint) and toleration.get("effect", "") in ("", "NoExecute")
