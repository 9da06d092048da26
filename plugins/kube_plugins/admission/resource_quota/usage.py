"""What one object uses of a quota, by the names that quotas count in. Documented under "Resource Quotas".

Every object counts as `count/<plural>[.<group>]`, some kinds of the core group also by their plain names; pods by what
they request and may use at most, claims by their size, Services by their node ports and load balancers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from kube_core.api.types import ResourceType
from kube_core.meta import quantities
from kube_core.meta.documents import Document
from kube_core.meta.quantities import Quantity

__all__ = ["Usage", "usage_of"]

Usage = Mapping[str, Quantity]

_ONE = quantities.parse(1)
_ZERO = quantities.parse(0)
_PLAIN = frozenset(
    ("configmaps", "persistentvolumeclaims", "pods", "replicationcontrollers", "resourcequotas", "secrets", "services")
)
_BARE_REQUESTS = ("cpu", "memory", "ephemeral-storage")
_BY_CLASS = ".storageclass.storage.k8s.io/"


def usage_of(resource: ResourceType, document: Document) -> Usage:
    """Everything that an object uses."""
    plural = resource.plural
    counted = f"{plural}.{resource.group}" if resource.group else plural
    found: dict[str, Quantity] = {f"count/{counted}": _ONE}
    if resource.group:
        return found
    if plural in _PLAIN:
        found[plural] = _ONE
    particular = _PARTICULAR.get(plural)
    if particular is not None:
        particular(document, found)
    return found


def _pod(pod: Document, found: dict[str, Quantity]) -> None:
    if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        # Finished pods are counted as objects and nothing else.
        del found["pods"]
        return
    spec = pod["spec"]
    for name, amount in _together(spec, "requests").items():
        found[f"requests.{name}"] = amount
        if name in _BARE_REQUESTS or name.startswith("hugepages-"):
            found[name] = amount
    for name, amount in _together(spec, "limits").items():
        found[f"limits.{name}"] = amount


def _together(spec: Document, kind: str) -> dict[str, Quantity]:
    """What a pod asks for: its containers together, or the init container that wants more, and the overhead."""
    found: dict[str, Quantity] = {}
    for container in spec.get("containers") or ():
        for name, amount in _amounts(container, kind):
            found[name] = found.get(name, _ZERO) + amount
    highest: dict[str, Quantity] = {}
    beside: dict[str, Quantity] = {}
    for container in spec.get("initContainers") or ():
        stays = container.get("restartPolicy") == "Always"
        for name, amount in _amounts(container, kind):
            if stays:
                beside[name] = beside.get(name, _ZERO) + amount
            highest[name] = max(
                highest.get(name, _ZERO), beside.get(name, _ZERO) if stays else beside.get(name, _ZERO) + amount
            )
    for name, amount in beside.items():
        found[name] = found.get(name, _ZERO) + amount
    for name, amount in highest.items():
        found[name] = max(found.get(name, _ZERO), amount)
    for name, amount in _amounts(spec, kind):
        found[name] = amount
    for name, text in (spec.get("overhead") or {}).items():
        if name in found:
            found[name] += quantities.parse(text)
    return found


def _amounts(holder: Document, kind: str) -> Iterator[tuple[str, Quantity]]:
    for name, text in ((holder.get("resources") or {}).get(kind) or {}).items():
        yield name, quantities.parse(text)


def _claim(claim: Document, found: dict[str, Quantity]) -> None:
    spec = claim["spec"]
    storage = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    storage_class = spec.get("storageClassName")
    if storage is not None:
        found["requests.storage"] = quantities.parse(storage)
    if storage_class:
        found[f"{storage_class}{_BY_CLASS}persistentvolumeclaims"] = _ONE
        if storage is not None:
            found[f"{storage_class}{_BY_CLASS}requests.storage"] = quantities.parse(storage)


def _service(service: Document, found: dict[str, Quantity]) -> None:
    spec = service["spec"]
    kind, ports = spec.get("type"), len(spec.get("ports") or ())
    if kind == "LoadBalancer":
        found["services.loadbalancers"] = _ONE
        if spec.get("allocateLoadBalancerNodePorts") is False:
            ports = sum(1 for port in spec.get("ports") or () if port.get("nodePort"))
    if kind in ("NodePort", "LoadBalancer"):
        found["services.nodeports"] = quantities.parse(ports)


_PARTICULAR: Mapping[str, Callable[[Document, dict[str, Quantity]], None]] = {
    "pods": _pod,
    "persistentvolumeclaims": _claim,
    "services": _service,
}
