"""Roles, ClusterRoles and their bindings. Documented under "Using RBAC Authorization".

Who may write them (no more than one has oneself) is decided by the authorization layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from kube_core.meta import fields, names
from kube_core.meta.documents import Document, MutableDocument
from kube_core.meta.fields import FieldError, Path
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.builtin import BuiltinStrategy
from kube_core.registry.kinds.checks import Errors

__all__ = ["ClusterRoleBindingStrategy", "ClusterRoleStrategy", "RoleBindingStrategy", "RoleStrategy"]

GROUP = "rbac.authorization.k8s.io"


class RoleStrategy(BuiltinStrategy):
    allows_create_on_update = True
    #: Whether a role may be about paths that are no resources.
    paths_allowed: ClassVar[bool] = False

    def name_rule(self, name: str) -> names.Messages:
        return names.path_segment(name)

    def prepare_for_create(self, document: MutableDocument) -> None:
        super().prepare_for_create(document)
        _store_none(document)

    def prepare_for_update(self, document: MutableDocument, old: Document) -> None:
        super().prepare_for_update(document, old)
        _store_none(document)

    def validate(self, document: Document) -> Errors:
        for position, rule in enumerate(document.get("rules") or ()):
            yield from _rule(Path("rules").index(position), rule, namespaced=not self.paths_allowed)


class ClusterRoleStrategy(RoleStrategy):
    paths_allowed = True

    def validate(self, document: Document) -> Errors:
        yield from super().validate(document)
        aggregation = document.get("aggregationRule")
        if aggregation is None:
            return
        path = Path("aggregationRule").child("clusterRoleSelectors")
        if not aggregation.get("clusterRoleSelectors"):
            yield fields.required(path, "at least one clusterRoleSelector required if aggregationRule is non-nil")
        for position, selector in enumerate(aggregation.get("clusterRoleSelectors") or ()):
            errors = list(checks.label_selector(path.index(position), selector))
            yield from errors
            if errors:
                yield fields.invalid(path.index(position), dict(selector), "invalid label selector.")


class RoleBindingStrategy(BuiltinStrategy):
    allows_create_on_update = True
    #: Kinds of roles that may be bound.
    roles: ClassVar[tuple[str, ...]] = ("Role", "ClusterRole")

    def name_rule(self, name: str) -> names.Messages:
        return names.path_segment(name)

    def default(self, document: MutableDocument) -> None:
        reference = document.setdefault("roleRef", {})
        if not reference.get("apiGroup"):
            reference["apiGroup"] = GROUP
        for subject in document.get("subjects", ()):
            if not subject.get("apiGroup") and subject.get("kind") in ("User", "Group"):
                subject["apiGroup"] = GROUP

    def validate(self, document: Document) -> Errors:
        reference = document.get("roleRef") or {}
        path = Path("roleRef")
        if reference.get("apiGroup") != GROUP:
            yield fields.not_supported(path.child("apiGroup"), reference.get("apiGroup") or "", [GROUP])
        yield from checks.one_of(path.child("kind"), reference.get("kind") or "", self.roles, ordered=True)
        if not reference.get("name"):
            yield fields.required(path.child("name"))
        else:
            yield from checks.named(path.child("name"), reference["name"], names.path_segment)
        for position, subject in enumerate(document.get("subjects") or ()):
            here = Path("subjects").index(position)
            yield from _subject(here, subject, in_namespace=self.descriptor.type.namespaced)

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        yield from self.validate(document)
        if document.get("roleRef") != old.get("roleRef"):
            yield fields.invalid(Path("roleRef"), document.get("roleRef"), checks.IMMUTABLE)


class ClusterRoleBindingStrategy(RoleBindingStrategy):
    roles = ("ClusterRole",)


def _store_none(document: MutableDocument) -> None:
    if not document.get("rules"):
        document["rules"] = None


def _rule(path: Path, rule: Mapping[str, Any], *, namespaced: bool) -> Errors:
    yield from _about(path, rule, namespaced=namespaced)
    if not rule.get("verbs"):
        yield fields.required(path.child("verbs"))


def _about(path: Path, rule: Mapping[str, Any], *, namespaced: bool) -> Errors:
    if rule.get("nonResourceURLs"):
        where = path.child("nonResourceURLs")
        if namespaced:
            detail = "namespaced rules cannot apply to non-resource URLs"
            yield fields.invalid(where, list(rule["nonResourceURLs"]), detail)
        if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
            detail = "rules cannot apply to both regular resources and non-resource URLs"
            yield fields.invalid(where, list(rule["nonResourceURLs"]), detail)
        return
    if not rule.get("apiGroups"):
        yield fields.required(path.child("apiGroups"), "resource rules must supply at least one api group")
    if not rule.get("resources"):
        yield fields.required(path.child("resources"), "resource rules must supply at least one resource")


def _subject(path: Path, subject: Mapping[str, Any], *, in_namespace: bool) -> Errors:
    name, kind, group = subject.get("name") or "", subject.get("kind") or "", subject.get("apiGroup") or ""
    if kind == "ServiceAccount":
        if name:
            yield from checks.named(path.child("name"), name, names.dns1123_subdomain)
        if group:
            yield fields.not_supported(path.child("apiGroup"), group, [""])
        if not in_namespace and not subject.get("namespace"):
            yield fields.required(path.child("namespace"))
    elif kind in ("User", "Group"):
        if group != GROUP:
            yield fields.not_supported(path.child("apiGroup"), group, [GROUP])
    else:
        yield fields.not_supported(path.child("kind"), kind, ["ServiceAccount", "User", "Group"])
    if not name:
        yield fields.required(path.child("name"))
