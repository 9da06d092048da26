"""Requests and limits: which resources there are, and what may be asked of them.

The rules are documented under "Resource Management for Pods and Containers" and "Extended Resources".
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from kube_core.meta import fields, names, quantities
from kube_core.meta.fields import FieldError, Path
from kube_core.meta.quantities import Quantity
from kube_core.registry.kinds.checks import NOT_NEGATIVE, Errors, named

__all__ = [
    "claim_names",
    "container_resource_name",
    "is_extended",
    "is_hugepages",
    "overcommits",
    "overhead",
    "pod_resources",
    "quantity_value",
    "requirements",
    "resize_policy",
    "resource_name",
]

NameRule = Callable[[Path, str], Errors]

HUGEPAGES = "hugepages-"
_CONTAINER = frozenset({"cpu", "memory", "ephemeral-storage"})
_COUNTED = frozenset(
    {
        "configmaps",
        "persistentvolumeclaims",
        "pods",
        "replicationcontrollers",
        "resourcequotas",
        "secrets",
        "services",
        "services.loadbalancers",
        "services.nodeports",
    }
)
_STANDARD = (
    _CONTAINER
    | _COUNTED
    | {f"{kind}.{name}" for kind in ("requests", "limits") for name in _CONTAINER}
    | {"storage", "requests.storage"}
)


def is_hugepages(name: str) -> bool:
    return name.startswith(HUGEPAGES)


def is_native(name: str) -> bool:
    return "/" not in name or "kubernetes.io/" in name


def is_extended(name: str) -> bool:
    """`example.org/gpu`: counted in whole numbers, never overcommitted."""
    return not is_native(name) and not name.startswith("requests.") and not names.qualified_name(f"requests.{name}")


def overcommits(name: str) -> bool:
    """Whether more of it may be allowed than asked for."""
    return is_native(name) and not is_hugepages(name)


def resource_name(path: Path, name: str) -> Errors:
    """A resource that may be counted anywhere (quotas, nodes)."""
    messages = names.qualified_name(name)
    for message in messages:
        yield fields.invalid(path, name, message)
    if not messages and "/" not in name and name not in _STANDARD and not is_hugepages(name):
        yield fields.invalid(path, name, "must be a standard resource type or fully qualified")


def container_resource_name(path: Path, name: str) -> Errors:
    yield from resource_name(path, name)
    if "/" not in name:
        if name not in _CONTAINER and not is_hugepages(name):
            yield fields.invalid(path, name, "must be a standard resource for containers")
    elif not is_native(name) and not is_extended(name):
        yield fields.invalid(path, name, "doesn't follow extended resource name standard")


def quantity_value(path: Path, name: str, text: str) -> Errors:
    amount = quantities.parse(text)
    if amount.nano < 0:
        yield fields.invalid(path, text, NOT_NEGATIVE)
    if (name in _COUNTED or is_extended(name)) and not amount.is_whole:
        yield fields.invalid(path, text, "must be an integer")


def requirements(path: Path, resources: Mapping[str, Any], claims: Collection[str]) -> Errors:
    """The resources of a container. `claims`: the names of the pod's resource claims."""
    yield from _requirements(path, resources, claims, container_resource_name)


def _requirements(path: Path, resources: Mapping[str, Any], claims: Collection[str], name_rule: NameRule) -> Errors:
    limits: Mapping[str, str] = resources.get("limits") or {}
    requests: Mapping[str, str] = resources.get("requests") or {}
    if not limits and not requests and not resources.get("claims"):
        return
    for name in sorted(limits):
        here = path.child("limits").key(name)
        yield from name_rule(here, name)
        yield from quantity_value(here, name, limits[name])
        yield from _whole_pages(here, name, limits[name])
    for name in sorted(requests):
        here = path.child("requests").key(name)
        yield from name_rule(here, name)
        yield from quantity_value(here, name, requests[name])
        yield from _within_limit(path, name, requests[name], limits.get(name))
        yield from _whole_pages(here, name, requests[name])
    named_resources = limits.keys() | requests.keys()
    if any(map(is_hugepages, named_resources)) and not named_resources & {"cpu", "memory"}:
        yield fields.forbidden(path, "HugePages require cpu or memory")
    yield from claim_names(path.child("claims"), resources.get("claims") or (), claims)


def pod_resources(path: Path, spec: Mapping[str, Any], claims: Collection[str]) -> Errors:
    """Pod-level resources: of fewer kinds, and no less than what the containers ask for."""
    resources = spec.get("resources")
    if not resources:
        return
    if resources.get("claims"):
        yield fields.forbidden(path.child("claims"), "claims cannot be set for Resources at pod-level")
    yield from _requirements(path, resources, claims, _pod_resource_name)
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    for name, asked in sorted(_asked_together(spec).items()):
        text = requests.get(name, "0")
        if quantities.parse(text) < asked:
            detail = f"must be greater than or equal to aggregate container requests of {asked}"
            yield fields.invalid(path.child("requests").key(name), text, detail)
    for position, container in enumerate(spec.get("containers") or ()):
        for name, text in sorted(((container.get("resources") or {}).get("limits") or {}).items()):
            if name in limits and quantities.parse(text) > quantities.parse(limits[name]):
                # Upstream's place for it: under the pod's resources, the limit last.
                here = path.child("containers").index(position).key(name).child("limits")
                yield fields.invalid(here, text, f"must be less than or equal to pod limits of {limits[name]}")


def overhead(path: Path, amounts: Mapping[str, str] | None) -> Errors:
    """What a runtime class takes for itself."""
    yield from requirements(path, {"limits": amounts} if amounts else {}, ())


def claim_names(path: Path, listed: Collection[Mapping[str, Any]], claims: Collection[str]) -> Errors:
    seen: set[tuple[str, str]] = set()
    for position, claim in enumerate(listed):
        here = path.index(position)
        name, request = claim.get("name") or "", claim.get("request") or ""
        if not name:
            yield fields.required(here)
            continue
        if (name, "") in seen:
            # All requests of the claim are there already.
            yield fields.duplicate(here, name)
        else:
            if request:
                yield from named(here.child("request"), request, names.dns1123_label)
            if (name, request) in seen:
                yield fields.duplicate(here, f"{name}/{request}")
            elif not request and any(each == name for each, _ in seen):
                yield fields.duplicate(here, name)
            seen.add((name, request))
        if name not in claims:
            which = f": {', '.join(sorted(claims))}" if claims else " which is empty"
            body = f'Not found: "{name}": must be one of the names in pod.spec.resourceClaims{which}'
            yield FieldError(str(here), "FieldValueNotFound", body)


def resize_policy(path: Path, policies: Collection[Mapping[str, Any]], pod_restarts: str) -> Errors:
    """Upstream names the list, not the item, but for what is there twice. `pod_restarts`: the pod's restart policy."""
    seen = set()
    for position, policy in enumerate(policies):
        here = path.index(position)
        name, restart = policy.get("resourceName") or "", policy.get("restartPolicy") or ""
        if name in seen:
            yield fields.duplicate(here, name)
        seen.add(name)
        if name not in ("cpu", "memory"):
            yield fields.not_supported(path, name, ["cpu", "memory"]) if name else fields.required(path)
        if restart not in ("NotRequired", "RestartContainer"):
            supported = ["NotRequired", "RestartContainer"]
            yield fields.not_supported(path, restart, supported) if restart else fields.required(path)
        if pod_restarts == "Never" and restart != "NotRequired":
            yield fields.invalid(path, restart, "must be 'NotRequired' when pod `restartPolicy` is 'Never'")


def _within_limit(path: Path, name: str, request: str, limit: str | None) -> Errors:
    if limit is None:
        if not overcommits(name):
            yield fields.required(path.child("limits"), "Limit must be set for non overcommitable resources")
        return
    asked, allowed = quantities.parse(request), quantities.parse(limit)
    if asked != allowed and not overcommits(name):
        yield fields.invalid(path.child("requests"), request, f"must be equal to {name} limit of {limit}")
    elif asked > allowed:
        yield fields.invalid(path.child("requests"), request, f"must be less than or equal to {name} limit of {limit}")


def _whole_pages(path: Path, name: str, text: str) -> Errors:
    if not is_hugepages(name):
        return
    try:
        page = quantities.parse(name.removeprefix(HUGEPAGES)).nano
    except quantities.QuantityError:
        page = 0
    if page <= 0 or quantities.parse(text).nano % page:
        yield fields.invalid(path, text, f"{text} is not positive integer multiple of {name}")


def _pod_resource_name(path: Path, name: str) -> Errors:
    errors = list(resource_name(path, name))
    yield from errors
    if not errors and not _has_pod_level(name):
        yield fields.not_supported(path, name, ["cpu", HUGEPAGES, "memory"])


def _has_pod_level(name: str) -> bool:
    return name in ("cpu", "memory") or is_hugepages(name)


def _asked_together(spec: Mapping[str, Any]) -> dict[str, Quantity]:
    """What all containers together ask for, of the resources that a pod can ask for: init containers run first, one
    after the other, beside the sidecars before them."""
    running: dict[str, Quantity] = {}
    peak: dict[str, Quantity] = {}
    for container in spec.get("initContainers") or ():
        stays = container.get("restartPolicy") == "Always"
        for name, amount in _pod_level_requests(container).items():
            together = running.get(name, Quantity(0)) + amount
            peak[name] = max(peak.get(name, together), together)
            if stays:
                running[name] = together
    for container in spec.get("containers") or ():
        for name, amount in _pod_level_requests(container).items():
            running[name] = running.get(name, Quantity(0)) + amount
    return {
        name: max(each for each in (running.get(name), peak.get(name)) if each is not None)
        for name in running.keys() | peak.keys()
    }


def _pod_level_requests(container: Mapping[str, Any]) -> dict[str, Quantity]:
    requests: Mapping[str, str] = (container.get("resources") or {}).get("requests") or {}
    return {name: quantities.parse(text) for name, text in requests.items() if _has_pod_level(name)}
