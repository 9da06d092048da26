"""Which objects a quota is about: its scopes, and its scope selector. All of them must match."""

from __future__ import annotations

from kube_core.api.qos import qos_class
from kube_core.api.types import ResourceType
from kube_core.meta.documents import Document
from kube_core.meta.gvk import GroupResource

__all__ = ["in_scope"]

_PODS = GroupResource("", "pods")
_CLAIMS = GroupResource("", "persistentvolumeclaims")


def in_scope(quota: Document, resource: ResourceType, document: Document) -> bool:
    """Whether a quota counts an object."""
    spec = quota["spec"]
    terms = [(scope, "Exists", ()) for scope in spec.get("scopes") or ()]
    for term in (spec.get("scopeSelector") or {}).get("matchExpressions") or ():
        terms.append((term["scopeName"], term["operator"], tuple(term.get("values") or ())))
    return all(_matches(scope, operator, values, resource, document) for scope, operator, values in terms)


def _matches(scope: str, operator: str, values: tuple[str, ...], resource: ResourceType, document: Document) -> bool:
    if scope == "VolumeAttributesClass" and resource.group_resource == _CLAIMS:
        return any(_selected(name, operator, values) for name in _attribute_classes(document))
    if resource.group_resource != _PODS:
        return False
    spec = document["spec"]
    if scope == "PriorityClass":
        return _selected(spec.get("priorityClassName") or "", operator, values)
    present = {
        "BestEffort": lambda: qos_class(spec) == "BestEffort",
        "NotBestEffort": lambda: qos_class(spec) != "BestEffort",
        "Terminating": lambda: spec.get("activeDeadlineSeconds") is not None,
        "NotTerminating": lambda: spec.get("activeDeadlineSeconds") is None,
        "CrossNamespacePodAffinity": lambda: _reaches_elsewhere(spec),
    }.get(scope)
    return present is not None and present()


def _attribute_classes(claim: Document) -> list[str]:
    """What a claim has, and what it is to have; of one without any, no name."""
    status = claim.get("status") or {}
    named = (
        claim["spec"].get("volumeAttributesClassName"),
        status.get("currentVolumeAttributesClassName"),
        (status.get("modifyVolumeStatus") or {}).get("targetVolumeAttributesClassName"),
    )
    return [name for name in named if name] or [""]


def _selected(value: str, operator: str, values: tuple[str, ...]) -> bool:
    match operator:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return bool(value)
        case "DoesNotExist":
            return not value
    return False


def _reaches_elsewhere(spec: Document) -> bool:
    """Whether (anti-)affinity looks at pods of other namespaces."""
    affinity = spec.get("affinity") or {}
    for kind in ("podAffinity", "podAntiAffinity"):
        rules = affinity.get(kind) or {}
        terms = list(rules.get("requiredDuringSchedulingIgnoredDuringExecution") or ())
        terms += [
            each.get("podAffinityTerm") or {}
            for each in rules.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        ]
        if any(term.get("namespaces") or term.get("namespaceSelector") is not None for term in terms):
            return True
    return False
