"""What one object uses of a quota, by the names that quotas count in, and which objects a name is about.

Every object counts as `count/<plural>[.<group>]`, some kinds of the core group also by their plain names; pods by what
they request and may use at most, claims by their size, Services by their node ports and load balancers, claims of
devices by their devices. A name is about objects of one resource: `counted_resource` says which. Pure; documented under
"Resource Quotas".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from kube_core.api.types import ResourceType
from kube_core.meta import quantities
from kube_core.meta.documents import Document, annotations_of, metadata_of
from kube_core.meta.gvk import GroupResource
from kube_core.meta.quantities import Quantity
from kube_core.meta.times import parse_time

__all__ = ["IGNORED", "Usage", "counted_names", "counted_resource", "seconds_counted", "usage_of"]

Usage = Mapping[str, Quantity]

#: Resources that no quota counts: they are not stored, or never were counted.
IGNORED = frozenset(
    {
        GroupResource("", "bindings"),
        GroupResource("", "componentstatuses"),
        GroupResource("", "events"),
        GroupResource("events.k8s.io", "events"),
        GroupResource("authentication.k8s.io", "tokenreviews"),
        GroupResource("authentication.k8s.io", "selfsubjectreviews"),
        GroupResource("authorization.k8s.io", "subjectaccessreviews"),
        GroupResource("authorization.k8s.io", "selfsubjectaccessreviews"),
        GroupResource("authorization.k8s.io", "localsubjectaccessreviews"),
        GroupResource("authorization.k8s.io", "selfsubjectrulesreviews"),
    }
)

_ONE = quantities.parse(1)
_ZERO = quantities.parse(0)
_PODS = GroupResource("", "pods")
_CLAIMS = GroupResource("", "persistentvolumeclaims")
_SERVICES = GroupResource("", "services")
_DEVICE_CLAIMS = GroupResource("resource.k8s.io", "resourceclaims")
_PLAIN = frozenset(
    ("configmaps", "persistentvolumeclaims", "pods", "replicationcontrollers", "resourcequotas", "secrets", "services")
)
_COMPUTE = ("cpu", "memory", "ephemeral-storage")
_OF_PODS = frozenset(f"{prefix}{name}" for prefix in ("", "requests.", "limits.") for name in _COMPUTE)
_HUGE_PAGES = "hugepages-"
_BY_CLASS = ".storageclass.storage.k8s.io/"
_BY_DEVICE_CLASS = ".deviceclass.resource.k8s.io/devices"
#: As many devices as one claim can be given: what a claim of all of them counts as.
_ALL_DEVICES = 32
_CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"


def counted_resource(name: str) -> GroupResource | None:
    """The resource whose objects a quota counts under a name; None where it counts nothing that is known."""
    if name.startswith("count/"):
        plural, _, group = name.removeprefix("count/").partition(".")
        return GroupResource(group, plural)
    if name in _PLAIN:
        return GroupResource("", name)
    if name in _OF_PODS or name.startswith((_HUGE_PAGES, f"requests.{_HUGE_PAGES}")):
        return _PODS
    if name == "requests.storage" or name.endswith((f"{_BY_CLASS}requests.storage", f"{_BY_CLASS}{_CLAIMS.resource}")):
        return _CLAIMS
    if name in ("services.loadbalancers", "services.nodeports"):
        return _SERVICES
    if name.endswith(_BY_DEVICE_CLASS):
        return _DEVICE_CLAIMS
    return _PODS if name.startswith("requests.") and _is_extended(name) else None


def counted_names(resource: ResourceType, names: Iterable[str]) -> list[str]:
    """Those of a quota's names that are about this resource, in order."""
    wanted = resource.group_resource
    return sorted(name for name in names if counted_resource(name) == wanted)


def usage_of(resource: ResourceType, document: Document, now: float | None = None) -> Usage:
    """Everything that an object uses. `now`: a pod that should be gone by then no longer takes anything."""
    plural = resource.plural
    counted = f"{plural}.{resource.group}" if resource.group else plural
    found: dict[str, Quantity] = {f"count/{counted}": _ONE}
    if not resource.group and plural in _PLAIN:
        found[plural] = _ONE
    if resource.group_resource == _PODS and not _takes_room(document, now):
        # It is counted as an object, and as nothing else.
        del found[plural]
        return found
    particular = _PARTICULAR.get(resource.group_resource)
    if particular is not None:
        particular(document, found)
    return found


def seconds_counted(pod: Document, now: float) -> float | None:
    """How long a pod that is being deleted is counted yet, though it be stuck; None where that does not end."""
    metadata = metadata_of(pod)
    moment, grace = metadata.get("deletionTimestamp"), metadata.get("deletionGracePeriodSeconds")
    if moment is None or grace is None:
        return None
    return parse_time(str(moment)) + float(grace) - now


def _takes_room(pod: Document, now: float | None) -> bool:
    if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return False
    left = seconds_counted(pod, now) if now is not None else None
    return left is None or left >= 0


def _pod(pod: Document, found: dict[str, Quantity]) -> None:
    for name, amount in _together(pod, "requests").items():
        if name in _COMPUTE or name.startswith(_HUGE_PAGES):
            found[name] = found[f"requests.{name}"] = amount
        elif _is_extended(name):
            found[f"requests.{name}"] = amount
    for name, amount in _together(pod, "limits").items():
        if name in _COMPUTE:
            found[f"limits.{name}"] = amount


def _is_extended(name: str) -> bool:
    """Whether a resource is not Kubernetes' own."""
    return "/" in name and "kubernetes.io/" not in name


def _together(pod: Document, kind: str) -> dict[str, Quantity]:
    """What a pod asks for: its containers together, or the init container that wants more, and the overhead."""
    spec, held = pod["spec"], _held(pod, kind)
    found: dict[str, Quantity] = {}
    for container in spec.get("containers") or ():
        for name, amount in _asked(container, kind, held):
            found[name] = found.get(name, _ZERO) + amount
    highest: dict[str, Quantity] = {}
    beside: dict[str, Quantity] = {}
    for container in spec.get("initContainers") or ():
        stays = container.get("restartPolicy") == "Always"
        for name, amount in _asked(container, kind, held):
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
        if kind == "requests" or name in found:
            found[name] = found.get(name, _ZERO) + quantities.parse(text)
    return found


def _held(pod: Document, kind: str) -> Mapping[str, Mapping[str, Quantity]]:
    """What containers have according to their status, which after a resize may be more than they ask for."""
    status = pod.get("status") or {}
    held: dict[str, dict[str, Quantity]] = {}
    for each in (*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())):
        if found := dict(_amounts(each, kind)):
            held[str(each.get("name"))] = found
    return held


def _asked(
    container: Document, kind: str, held: Mapping[str, Mapping[str, Quantity]]
) -> Iterable[tuple[str, Quantity]]:
    if container.get("name") not in held:
        return _amounts(container, kind)
    asked = dict(_amounts(container, kind))
    for name, amount in held[container["name"]].items():
        asked[name] = max(asked.get(name, _ZERO), amount)
    return asked.items()


def _amounts(holder: Document, kind: str) -> Iterator[tuple[str, Quantity]]:
    for name, text in ((holder.get("resources") or {}).get(kind) or {}).items():
        yield name, quantities.parse(text)


def _claim(claim: Document, found: dict[str, Quantity]) -> None:
    spec = claim["spec"]
    storage = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    storage_class = annotations_of(claim).get(_CLASS_ANNOTATION) or spec.get("storageClassName")
    if storage is not None:
        # While a claim grows, or could not, it has what it was allotted.
        allotted = ((claim.get("status") or {}).get("allocatedResources") or {}).get("storage")
        found["requests.storage"] = max(_whole(storage), _whole(allotted or 0))
    if storage_class:
        found[f"{storage_class}{_BY_CLASS}persistentvolumeclaims"] = _ONE
        if storage is not None:
            found[f"{storage_class}{_BY_CLASS}requests.storage"] = found["requests.storage"]


def _whole(text: Any) -> Quantity:
    amount = quantities.parse(text)
    return amount if amount.is_whole else Quantity(amount.value * 10**9, amount.notation)


def _service(service: Document, found: dict[str, Quantity]) -> None:
    spec = service["spec"]
    kind, ports = spec.get("type"), len(spec.get("ports") or ())
    if kind == "LoadBalancer":
        found["services.loadbalancers"] = _ONE
        if spec.get("allocateLoadBalancerNodePorts") is False:
            ports = sum(1 for port in spec.get("ports") or () if port.get("nodePort"))
    if kind in ("NodePort", "LoadBalancer"):
        found["services.nodeports"] = quantities.parse(ports)


def _device_claim(claim: Document, found: dict[str, Quantity]) -> None:
    for request in (claim["spec"].get("devices") or {}).get("requests") or ():
        # Of alternatives, each class counts by the one that wants most of it.
        most: dict[str, Quantity] = {}
        for wish in request.get("firstAvailable") or ((request["exactly"],) if request.get("exactly") else ()):
            name = f"{wish.get('deviceClassName', '')}{_BY_DEVICE_CLASS}"
            everything = wish.get("allocationMode") == "All"
            count = quantities.parse(_ALL_DEVICES if everything else wish.get("count") or 0)
            most[name] = max(most.get(name, _ZERO), count)
        for name, count in most.items():
            found[name] = found.get(name, _ZERO) + count


_PARTICULAR: Mapping[GroupResource, Callable[[Document, dict[str, Quantity]], None]] = {
    _PODS: _pod,
    _CLAIMS: _claim,
    _SERVICES: _service,
    _DEVICE_CLAIMS: _device_claim,
}
