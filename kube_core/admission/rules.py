"""Which requests a rule of a webhook or an admission policy is about (documented as `RuleWithOperations`).

A rule names operations, groups, versions, resources with their subresources, and a scope; "*" stands for all. With the
match policy `Equivalent` a rule is also about requests for another version or group of the same objects: then
`matching_resource` says as which resource the request is to be shown.

Selectors are here too, because webhooks and policies read them alike: of namespaces by the labels of the request's
namespace, of objects by those of the object as it is or as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from kube_core.admission.chain import Reader
from kube_core.api.resources import NAMESPACES
from kube_core.api.types import ResourceType
from kube_core.meta.documents import Document, Key
from kube_core.meta.selectors import LabelSelector
from kube_core.meta.status import not_found
from kube_core.registry.context import Attributes

__all__ = ["is_exempt", "matching_resource", "namespace_matches", "object_matches"]

Rule = Mapping[str, Any]

#: Never reviewed, so that a bad configuration can always be taken back.
_EXEMPT: Final = frozenset(
    (
        "validatingwebhookconfigurations",
        "mutatingwebhookconfigurations",
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
        "mutatingadmissionpolicies",
        "mutatingadmissionpolicybindings",
    )
)


def is_exempt(resource: ResourceType) -> bool:
    """Whether requests for a resource pass no webhook and no policy."""
    return resource.group == "admissionregistration.k8s.io" and resource.plural in _EXEMPT


def matching_resource(rules: Sequence[Rule], attributes: Attributes, *, equivalent: bool) -> ResourceType | None:
    """The resource as which a request matches one of the rules; None where it matches none."""
    if _any_matches(rules, attributes, attributes.resource):
        return attributes.resource
    if equivalent and attributes.shapes is not None:
        for other in attributes.shapes.equivalents():
            if _any_matches(rules, attributes, other):
                return other
    return None


def namespace_matches(selector: LabelSelector, attributes: Attributes, reader: Reader) -> bool:
    """Whether the namespace of a request has the labels. What has no namespace always matches. Raises `NotFound`."""
    if selector.is_everything:
        return True
    is_namespace = _is_namespace(attributes)
    if not attributes.namespace or not (is_namespace or attributes.resource.namespaced):
        return not is_namespace or selector.matches(_labels(attributes.object) or {})
    if is_namespace and not attributes.subresource and attributes.operation in ("CREATE", "UPDATE"):
        return selector.matches(_labels(attributes.object) or {})
    namespace = reader.get(NAMESPACES, Key("", attributes.namespace))
    if namespace is None:
        raise not_found(NAMESPACES.group_resource, attributes.namespace)
    return selector.matches(_labels(namespace) or {})


def object_matches(selector: LabelSelector, attributes: Attributes) -> bool:
    """Whether the object as it is to be, or as it was, has the labels. What can have no labels has none."""
    if selector.is_everything:
        return True
    documents = (attributes.object, attributes.old)
    return any((labels := _labels(each)) is not None and selector.matches(labels) for each in documents)


def _any_matches(rules: Sequence[Rule], attributes: Attributes, resource: ResourceType) -> bool:
    return any(_matches(rule, attributes, resource) for rule in rules)


def _matches(rule: Rule, attributes: Attributes, resource: ResourceType) -> bool:
    return (
        _has(rule.get("operations"), attributes.operation)
        and _has(rule.get("apiGroups"), resource.group)
        and _has(rule.get("apiVersions"), resource.version)
        and _has_resource(rule.get("resources") or (), resource.plural, attributes.subresource)
        and _in_scope(rule.get("scope") or "*", attributes)
    )


def _has(values: Iterable[str] | None, value: str) -> bool:
    return any(each in ("*", value) for each in values or ())


def _has_resource(patterns: Iterable[str], plural: str, subresource: str) -> bool:
    """A pattern is `pods`, `pods/status`, `pods/*`, `*/status`, `*` (no subresource) or `*/*`."""
    for pattern in patterns:
        resource, _, below = pattern.partition("/")
        if resource in ("*", plural) and below in ("*", subresource):
            return True
    return False


def _in_scope(scope: str, attributes: Attributes) -> bool:
    if scope == "*":
        return True
    cluster = not attributes.namespace or _is_namespace(attributes)
    return cluster == (scope == "Cluster")


def _is_namespace(attributes: Attributes) -> bool:
    return attributes.resource.group == "" and attributes.resource.plural == NAMESPACES.plural


def _labels(document: Document | None) -> Mapping[str, str] | None:
    metadata = document.get("metadata") if document is not None else None
    return (metadata.get("labels") or {}) if isinstance(metadata, Mapping) else None
