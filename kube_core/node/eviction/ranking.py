"""Which pod is to go first, and what is said of it. Pure.

For memory and disk: those that use more than they asked for, then the less important, then who uses most beyond what
they asked for; for processes: the less important, then who has most. Pods that the node itself needs never go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from kube_core.api.podrequests import requests_of
from kube_core.meta.documents import Document, uid_of
from kube_core.meta.quantities import Quantity
from kube_core.node.eviction.thresholds import Measured, Threshold
from kube_core.node.pods.admission import is_critical

__all__ = ["PodUse", "eviction_message", "rank"]

_NANO = 1_000_000_000


@attrs.frozen
class PodUse:
    """What a pod uses: bytes of memory by container, bytes of disk, processes."""

    memory: Mapping[str, int] = attrs.field(factory=dict)
    disk: int = 0
    processes: int = 0
    volumes: Mapping[str, int] = attrs.field(factory=dict)
    """Bytes of its emptyDir volumes, by name."""

    def of(self, resource: str) -> int:
        if resource == "memory":
            return sum(self.memory.values())
        return self.processes if resource == "pids" else self.disk


def rank(pods: Sequence[Document], uses: Mapping[str, PodUse], resource: str) -> list[Document]:
    """The first one is to go first. A pod of which nothing is known goes before all others."""

    def order(pod: Document) -> tuple[bool, bool, int, int]:
        use = uses.get(uid_of(pod))
        used = use.of(resource) if use is not None else 0
        asked = requests_of(pod).get(resource, 0) if resource in ("memory", "ephemeral-storage") else 0
        exceeds = used > asked and resource != "pids"
        return use is not None, not exceeds, int(pod["spec"].get("priority") or 0), -(used - asked)

    return sorted((pod for pod in pods if not is_critical(pod)), key=order)


def eviction_message(pod: Document, use: PodUse | None, threshold: Threshold, measured: Mapping[str, Measured]) -> str:
    """What the pod's status and its event say."""
    resource, found = threshold.resource, measured[threshold.signal]
    least, left = (_text(number, resource) for number in (threshold.least(found), found.available))
    message = f"The node was low on resource: {resource}. Threshold quantity: {least}, available: {left}. "
    if resource != "memory" or use is None:
        return message
    containers = (*pod["spec"]["containers"], *(pod["spec"].get("initContainers") or ()))
    for name, used in use.memory.items():
        for container in containers:
            if container["name"] == name:
                asked = str(((container.get("resources") or {}).get("requests") or {}).get("memory") or "0")
                if used > requests_of({"spec": {"containers": [container]}}).get("memory", 0):
                    text = _text(used, resource)
                    message += (
                        f"Container {name} was using {text}, request is {asked}, has larger consumption of memory. "
                    )
    return message


def _text(number: int, resource: str) -> str:
    return str(Quantity(number * _NANO, "binary")) if resource in ("memory", "ephemeral-storage") else str(number)
