"""ResourceQuotas and LimitRanges: how much a namespace may have, and each thing in it.

Documented under "Resource Quotas" and "Limit Ranges". They are enforced by admission.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kube_core.meta import fields, names, quantities
from kube_core.meta.documents import Document, MutableDocument
from kube_core.meta.fields import FieldError, Path
from kube_core.meta.quantities import Quantity
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.builtin import BuiltinStrategy
from kube_core.registry.kinds.checks import Errors
from kube_core.registry.kinds.pods.defaults import round_resources
from kube_core.registry.kinds.pods.resources import (
    container_resource_name,
    is_hugepages,
    overcommits,
    quantity_value,
    resource_name,
)

__all__ = ["LimitRangeStrategy", "ResourceQuotaStrategy"]

Part = Mapping[str, Any]

SPEC = Path("spec")
SCOPES = (
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
    "VolumeAttributesClass",
)
_COMPUTE = frozenset(
    f"{prefix}{name}" for prefix in ("", "requests.", "limits.") for name in ("cpu", "memory", "ephemeral-storage")
)
_QUOTA_RESOURCES = _COMPUTE | {
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "requests.storage",
    "resourcequotas",
    "secrets",
    "services",
    "services.loadbalancers",
    "services.nodeports",
}
_EXISTING_SCOPES = ("BestEffort", "NotBestEffort", "Terminating", "NotTerminating", "CrossNamespacePodAffinity")
_ONLY_EXISTS = (
    "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, "
    "ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"
)
#: What must not be greater than what: the field to blame, whose value is shown, and both with their names in messages.
_ORDER = (
    ("min", "min", "min", "min", "max", "max"),
    ("defaultRequest", "defaultRequest", "min", "min", "defaultRequest", "default request"),
    ("defaultRequest", "defaultRequest", "defaultRequest", "default request", "max", "max"),
    ("defaultRequest", "defaultRequest", "defaultRequest", "default request", "default", "default limit"),
    ("default", "min", "min", "min", "default", "default"),
    ("default", "max", "default", "default", "max", "max"),
)
_LIMIT_TYPES = ("Container", "PersistentVolumeClaim", "Pod")
_LIMITS = ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")


class ResourceQuotaStrategy(BuiltinStrategy):
    def default(self, document: MutableDocument) -> None:
        for part in (document.get("spec") or {}, document.get("status") or {}):
            for name in ("hard", "used"):
                if name in part:
                    round_resources(part[name])

    def validate(self, document: Document) -> Errors:
        spec = document.get("spec") or {}
        yield from _amounts(SPEC.child("hard"), spec.get("hard") or {})
        scopes: Sequence[str] = spec.get("scopes") or ()
        for scope in scopes:
            if scope not in SCOPES:
                yield fields.invalid(SPEC.child("scopes"), list(scopes), "unsupported scope")
        for one, other in (("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")):
            if one in scopes and other in scopes:
                yield fields.invalid(SPEC.child("scopes"), list(scopes), "conflicting scopes")
        yield from _scoped_resources(scopes, spec.get("hard") or {})
        if spec.get("scopeSelector") is not None:
            yield from _scope_selector(spec)

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        yield from self.validate(document)
        new, before = document.get("spec") or {}, old.get("spec") or {}
        if set(new.get("scopes") or ()) != set(before.get("scopes") or ()):
            yield fields.invalid(SPEC.child("scopes"), list(new.get("scopes") or ()), checks.IMMUTABLE)

    def validate_status_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        status = document.get("status") or {}
        for name in ("hard", "used"):
            yield from _amounts(Path("status").child(name), status.get(name) or {})


class LimitRangeStrategy(BuiltinStrategy):
    allows_create_on_update = True

    def default(self, document: MutableDocument) -> None:
        for limit in (document.get("spec") or {}).get("limits") or ():
            for name in _LIMITS:
                if name in limit:
                    round_resources(limit[name])
            if limit.get("type") == "Container":
                _default_container_limits(limit)

    def prepare_for_create(self, document: MutableDocument) -> None:
        super().prepare_for_create(document)
        if not document["metadata"].get("name") and not document["metadata"].get("generateName"):
            document["metadata"]["generateName"] = "limits-"

    def validate(self, document: Document) -> Errors:
        seen: set[str] = set()
        for position, limit in enumerate((document.get("spec") or {}).get("limits") or ()):
            here = SPEC.child("limits").index(position)
            kind = limit.get("type") or ""
            errors = list(checks.named(here.child("type"), kind, names.qualified_name))
            yield from errors
            if not errors and "/" not in kind and kind not in _LIMIT_TYPES:
                detail = "must be a standard limit type or fully qualified"
                yield fields.invalid(here.child("type"), kind, detail)
            if kind in seen:
                yield fields.duplicate(here.child("type"), kind)
            seen.add(kind)
            yield from _limit(here, limit, kind)


def _default_container_limits(limit: dict[str, Any]) -> None:
    """The default is the most there may be; the default request is the default, or else the least."""
    maxima, minima = limit.get("max") or {}, limit.get("min") or {}
    default = {**maxima, **(limit.get("default") or {})}
    request = {**minima, **default, **(limit.get("defaultRequest") or {})}
    if default:
        limit["default"] = default
    if request:
        limit["defaultRequest"] = request


def _limit(path: Path, limit: Part, kind: str) -> Errors:
    if kind == "Pod":
        for name in ("default", "defaultRequest"):
            if limit.get(name):
                yield fields.forbidden(path.child(name), "may not be specified when `type` is 'Pod'")
    if kind == "PersistentVolumeClaim":
        have = (limit.get("min") or {}).get("storage"), (limit.get("max") or {}).get("storage")
        if have == (None, None):
            detail = "either minimum or maximum storage value is required, but neither was provided"
            yield fields.required(path.child("limits"), detail)
    judged = [name for name in _LIMITS if not (kind == "Pod" and name.startswith("default"))]
    parsed = {
        name: {resource: quantities.parse(amount) for resource, amount in (limit.get(name) or {}).items()}
        for name in judged
    }
    rule = container_resource_name if kind in ("Container", "Pod") else resource_name
    for name in judged:
        for resource in parsed[name]:
            yield from rule(path.child(name).key(resource), resource)
    for resource in sorted({resource for name in judged for resource in parsed[name]}):
        yield from _consistent(path, resource, {name: parsed[name].get(resource) for name in judged})


def _consistent(path: Path, resource: str, amounts: Mapping[str, Quantity | None]) -> Errors:
    """Least, default request, default limit and most come in this order; each is said where upstream says it."""
    for name, shown, lower, lower_name, higher, higher_name in _ORDER:
        small, large = amounts.get(lower), amounts.get(higher)
        if small is not None and large is not None and small > large:
            detail = f"{lower_name} value {small} is greater than {higher_name} value {large}"
            yield fields.invalid(path.child(name).key(resource), str(amounts[shown]), detail)
    least, most, ratio = (amounts.get(name) for name in ("min", "max", "maxLimitRequestRatio"))
    here = path.child("maxLimitRequestRatio").key(resource)
    if ratio is not None and ratio < Quantity(10**9):
        yield fields.invalid(here, str(ratio), f"ratio {ratio} is less than 1")
    if ratio is not None and least is not None and most is not None and least.nano:
        highest = most.nano / least.nano
        if ratio.nano / 10**9 > highest:
            yield fields.invalid(here, str(ratio), f"ratio {ratio} is greater than max/min = {highest:f}")
    default, request = amounts.get("default"), amounts.get("defaultRequest")
    if not overcommits(resource) and default is not None and request is not None and default != request:
        detail = f"default value {default} must equal to defaultRequest value {request} in {resource}"
        yield fields.invalid(path.child("defaultRequest").key(resource), str(request), detail)


def _amounts(path: Path, amounts: Mapping[str, str]) -> Errors:
    for name, amount in amounts.items():
        here = path.key(name)
        if name.startswith("count/"):
            yield from checks.named(here, name.removeprefix("count/"), names.qualified_name)
        else:
            yield from _quota_name(here, name)
        yield from quantity_value(here, name, amount)


def _quota_name(path: Path, name: str) -> Errors:
    plain = name.removeprefix("requests.").removeprefix("limits.")
    if "/" in name or ".storageclass." in name:
        yield from checks.named(path, name, names.qualified_name)
        return
    yield from resource_name(path, plain if is_hugepages(plain) else name)
    if name not in _QUOTA_RESOURCES and not is_hugepages(plain):
        yield fields.invalid(path, name, "must be a standard resource for quota")


def _scoped_resources(scopes: Sequence[str], hard: Mapping[str, str]) -> Errors:
    """A scope is about pods: a quota with one counts pods and what they compute with, and nothing else."""
    for scope in scopes:
        for _ in _beyond_scope(scope, hard):
            yield fields.invalid(SPEC.child("scopes"), list(scopes), "unsupported scope applied to resource")


def _scope_selector(spec: Part) -> Errors:
    path = SPEC.child("scopeSelector").child("matchExpressions")
    expressions: Sequence[Part] = spec["scopeSelector"].get("matchExpressions") or ()
    named = [expression.get("scopeName") or "" for expression in expressions]
    for name, expression in zip(named, expressions, strict=True):
        yield from _scope(path, expression)
        for _ in _beyond_scope(name, spec.get("hard") or {}):
            yield fields.invalid(path, dict(spec["scopeSelector"]), "unsupported scope applied to resource")
    for one, other in (("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")):
        if one in named and other in named:
            yield fields.invalid(SPEC.child("scopes"), spec.get("scopes"), "conflicting scopes")


def _beyond_scope(scope: str, hard: Mapping[str, str]) -> Iterable[str]:
    """The resources of a quota that a scope has nothing to do with."""
    if scope == "VolumeAttributesClass":
        allowed = {"persistentvolumeclaims", "requests.storage"}
    elif scope == "BestEffort":
        allowed = {"pods"}
    elif scope in SCOPES:
        allowed = {"pods", *_COMPUTE}
    else:
        return ()
    return [name for name in sorted(hard) if name in _QUOTA_RESOURCES and name not in allowed]


def _scope(path: Path, expression: Part) -> Errors:
    name, operator = expression.get("scopeName") or "", expression.get("operator") or ""
    values: Sequence[str] = expression.get("values") or ()
    if name not in SCOPES:
        yield fields.invalid(path.child("scopeName"), name, "unsupported scope")
    if name in _EXISTING_SCOPES and operator != "Exists":
        yield fields.invalid(path.child("operator"), operator, _ONLY_EXISTS)
    if operator in ("In", "NotIn"):
        if not values:
            yield fields.required(
                path.child("values"), "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
            )
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            detail = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
            yield fields.invalid(path.child("values"), list(values), detail)
    else:
        yield fields.invalid(path.child("operator"), operator, "not a valid selector operator")
