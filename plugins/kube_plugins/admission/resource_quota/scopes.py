"""Which objects a quota is about: its scopes, and its scope selector. All of them must match."""

from __future__ import annotations

from kube_core.meta.documents import Document
from kube_core.registry.kinds.pods.qos import qos_class

__all__ = ["in_scope"]


def in_scope(quota: Document, plural: str, document: Document) -> bool:
    """Whether a quota counts an object."""
    spec = quota["spec"]
    terms = [(scope, "Exists", ()) for scope in spec.get("scopes") or ()]
    for term in (spec.get("scopeSelector") or {}).get("matchExpressions") or ():
        terms.append((term["scopeName"], term["operator"], tuple(term.get("values") or ())))
    return all(_matches(scope, operator, values, plural, document) for scope, operator, values in terms)


def _matches(scope: str, operator: str, values: tuple[str, ...], plural: str, document: Document) -> bool:
    if scope == "VolumeAttributesClass" and plural == "persistentvolumeclaims":
        return _selected(document["spec"].get("volumeAttributesClassName") or "", operator, values)
    if plural != "pods":
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
