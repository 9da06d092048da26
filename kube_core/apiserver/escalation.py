"""Nobody gives more than they have: the check on writes of roles and bindings.

Documented under "Privilege escalation prevention and bootstrapping". A role may have only rules that its writer has,
unless the writer has the verb `escalate` on it; a binding may refer only to a role whose rules its writer has, unless
the writer has the verb `bind` on it. The server's own part of admission: it is not among the plugins that may be left
out, and comes after those that change the object.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import orjson

from kube_core.abc.transport import User
from kube_core.admission.chain import AdmissionContext, AdmissionPlugin
from kube_core.auth.attributes import AccessAttributes, Rule
from kube_core.auth.authentication import MASTERS
from kube_core.auth.authorization import Authorizer
from kube_core.auth.rbac import GROUP, missing
from kube_core.meta.documents import Document
from kube_core.meta.status import forbidden, not_found
from kube_core.registry.context import Attributes

__all__ = ["EscalationCheck"]

_ROLES = ("roles", "clusterroles")
_BINDINGS = ("rolebindings", "clusterrolebindings")
_FIELDS = (("apiGroups", "APIGroups"), ("resources", "Resources"), ("nonResourceURLs", "NonResourceURLs"))


class EscalationCheck(AdmissionPlugin):
    """The check, as the last of the plugins that see an object before it is complete."""

    name: ClassVar[str] = "RBACEscalation"
    resources: ClassVar[frozenset[str]] = frozenset((*_ROLES, *_BINDINGS))

    def __init__(self, context: AdmissionContext, authorizer: Authorizer) -> None:
        super().__init__(context)
        self._authorizer = authorizer

    async def mutate(self, attributes: Attributes) -> None:
        document, resource = attributes.object, attributes.resource
        if document is None or resource.group != GROUP or _same(document, attributes.old):
            return
        if MASTERS in attributes.user.groups:
            return
        namespace = attributes.key.namespace
        if resource.plural in _ROLES:
            if await self._may(attributes.user, "escalate", resource.plural, namespace, attributes.key.name):
                return
            rules: Sequence[Rule] = document.get("rules") or ()
        else:
            reference = document.get("roleRef") or {}
            plural = "roles" if reference.get("kind") == "Role" else "clusterroles"
            if not reference.get("name") or await self._may(
                attributes.user, "bind", plural, namespace, reference["name"]
            ):
                return
            found = self._authorizer.rbac.find_rules(reference, namespace)
            if found is None:
                raise not_found(resource.group_resource, attributes.key.name)
            rules = found
        lacking = missing(self._authorizer.rules_of(attributes.user, namespace).rules, rules)
        if lacking:
            raise forbidden(resource.group_resource, attributes.key.name, _why(attributes.user, lacking))

    async def _may(self, user: User, verb: str, plural: str, namespace: str, name: str) -> bool:
        asked = AccessAttributes(user, verb, GROUP, "v1", plural, "", namespace, name)
        return (await self._authorizer.authorize(asked)).allowed


def _same(document: Document, old: Document | None) -> bool:
    """Whether an update gives nobody anything (labels, finalizers, owners)."""
    return old is not None and all(
        document.get(field) == old.get(field) for field in ("rules", "aggregationRule", "roleRef", "subjects")
    )


def _why(user: User, lacking: Sequence[Rule]) -> str:
    groups = f" (groups={_quoted(user.groups)})" if user.groups else ""
    lines = "\n".join(sorted(map(_shown, lacking)))
    return f'user "{user.name}"{groups} is attempting to grant RBAC permissions not currently held:\n{lines}'


def _shown(rule: Rule) -> str:
    """A rule as upstream's message writes it."""
    parts = [f"{shown}:{_quoted(rule[field])}" for field, shown in _FIELDS if field in rule]
    if "resourceNames" in rule:
        parts.append(f"ResourceNames:{_quoted(rule['resourceNames'])}")
    return "{" + ", ".join([*parts, f"Verbs:{_quoted(rule['verbs'])}"]) + "}"


def _quoted(values: Sequence[str]) -> str:
    return "[" + " ".join(orjson.dumps(value).decode() for value in values) + "]"
