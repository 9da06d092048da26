"""RBAC: what roles, bound to a user or a group, allow. Documented under "Using RBAC Authorization".

`Rbac` reads roles and bindings from the watch cache, so a change counts as soon as it is stored. Bindings are indexed
by subject, and the index of a namespace is made anew only when one of its bindings changed; a decision then looks only
at the bindings of the user and of its groups. Permissions only add up: nothing is ever denied by a rule.

`missing` answers another question: what somebody who holds some rules lacks to pass others on
(`kube_core.apiserver.escalation`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from kube_core.abc.transport import User
from kube_core.bus.changes import Stored
from kube_core.meta.documents import Document, Key
from kube_core.meta.gvk import GroupResource
from kube_core.storage.cache import WatchCache

__all__ = ["GROUP", "AccessAttributes", "Rbac", "Rule", "allows", "missing"]

GROUP = "rbac.authorization.k8s.io"
Rule = Mapping[str, Any]
_SERVICE_ACCOUNT = "system:serviceaccount:"


@attrs.frozen
class AccessAttributes:
    """What somebody wants to do: on a resource, or (with `resource` "") on a path."""

    user: User
    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


@attrs.frozen
class _Bound:
    """One subject of one binding."""

    position: int
    binding: Document
    subject: str


Index = Mapping[tuple[str, str], Sequence[_Bound]]


class Rbac:
    """Roles and bindings of one server."""

    def __init__(self, cache: WatchCache) -> None:
        self._roles = cache.resource(GroupResource(GROUP, "roles"))
        self._cluster_roles = cache.resource(GroupResource(GROUP, "clusterroles"))
        self._bindings = cache.resource(GroupResource(GROUP, "rolebindings"))
        self._cluster_bindings = cache.resource(GroupResource(GROUP, "clusterrolebindings"))
        self._indexes: dict[str, tuple[Sequence[Stored], Index]] = {}

    def authorize(self, attributes: AccessAttributes) -> str | None:
        """Why it is allowed, in upstream's words; None where no rule allows it."""
        for bound in self._bound(attributes.user, attributes.namespace):
            if any(allows(rule, attributes) for rule in self.rules(bound.binding)):
                return _reason(bound)
        return None

    def rules_of(self, user: User, namespace: str) -> list[Rule]:
        """Every rule that a user has in a namespace ("": only cluster-wide ones)."""
        return [rule for bound in self._bound(user, namespace) for rule in self.rules(bound.binding)]

    def rules(self, binding: Document) -> Sequence[Rule]:
        """The rules of the role that a binding refers to; none where there is no such role."""
        return self.find_rules(binding["roleRef"], binding["metadata"].get("namespace", "")) or ()

    def find_rules(self, reference: Document, namespace: str) -> Sequence[Rule] | None:
        """The rules of a role by its reference; None where there is no such role."""
        if reference.get("kind") == "Role":
            role = self._roles.get(Key(namespace, reference["name"]))
        else:
            role = self._cluster_roles.get(Key("", reference["name"]))
        return None if role is None else role.document.get("rules") or ()

    def _bound(self, user: User, namespace: str) -> Iterator[_Bound]:
        """The bindings of a user, those of the cluster first, each in the order of their names."""
        for where in ("", namespace) if namespace else ("",):
            index = self._index(where)
            found = [*index.get(("User", user.name), ())]
            for group in user.groups:
                found += index.get(("Group", group), ())
            yield from sorted(found, key=lambda bound: bound.position)

    def _index(self, namespace: str) -> Index:
        listed = self._bindings.list(namespace) if namespace else self._cluster_bindings.list()
        known = self._indexes.get(namespace)
        # The cache gives the same list until something in it changes.
        if known is not None and known[0] is listed:
            return known[1]
        index = _indexed(listed)
        if listed:
            self._indexes[namespace] = (listed, index)
        else:
            self._indexes.pop(namespace, None)
        return index


def allows(rule: Rule, attributes: AccessAttributes) -> bool:
    """Whether one rule allows a request."""
    if not _has(rule, "verbs", attributes.verb):
        return False
    if not attributes.resource:
        return any(_covers_path(pattern, attributes.path) for pattern in rule.get("nonResourceURLs") or ())
    if not _has(rule, "apiGroups", attributes.group):
        return False
    names = rule.get("resourceNames")
    return _covers_resource(rule.get("resources") or (), attributes.resource, attributes.subresource) and (
        not names or attributes.name in names
    )


def missing(held: Iterable[Rule], wanted: Iterable[Rule]) -> list[Rule]:
    """What the held rules lack of the wanted ones: a rule for each resource or path, with the verbs that lack."""
    held = list(held)
    lacking: dict[tuple[str, str, str, str], list[str]] = {}
    for rule in wanted:
        for verb in rule.get("verbs") or ():
            for part in _parts(rule):
                verbs = lacking.setdefault(part, [])
                if verb not in verbs and not any(_covers_part(each, verb, part) for each in held):
                    verbs.append(verb)
    return [_rule(part, verbs) for part, verbs in lacking.items() if verbs]


def _parts(rule: Rule) -> Iterator[tuple[str, str, str, str]]:
    """The smallest pieces of a rule: group, resource, name and path."""
    for path in rule.get("nonResourceURLs") or ():
        yield ("", "", "", path)
    for group in rule.get("apiGroups") or ():
        for resource in rule.get("resources") or ():
            for name in rule.get("resourceNames") or ("",):
                yield (group, resource, name, "")


def _covers_part(rule: Rule, verb: str, part: tuple[str, str, str, str]) -> bool:
    group, resource, name, path = part
    if not _has(rule, "verbs", verb):
        return False
    if path:
        return any(_covers_path(pattern, path) for pattern in rule.get("nonResourceURLs") or ())
    names = rule.get("resourceNames")
    plural, _, subresource = resource.partition("/")
    return (
        _has(rule, "apiGroups", group)
        and _covers_resource(rule.get("resources") or (), plural, subresource)
        and (not names or (bool(name) and name in names))
    )


def _rule(part: tuple[str, str, str, str], verbs: list[str]) -> Rule:
    group, resource, name, path = part
    if path:
        return {"nonResourceURLs": [path], "verbs": verbs}
    return {"apiGroups": [group], "resources": [resource], "verbs": verbs} | ({"resourceNames": [name]} if name else {})


def _has(rule: Rule, field: str, value: str) -> bool:
    values = rule.get(field) or ()
    return value in values or "*" in values


def _covers_resource(resources: Sequence[str], plural: str, subresource: str) -> bool:
    if "*" in resources:
        return True
    if not subresource:
        return plural in resources
    return f"{plural}/{subresource}" in resources or f"*/{subresource}" in resources


def _covers_path(pattern: str, path: str) -> bool:
    return pattern == path or (pattern.endswith("*") and path.startswith(pattern[:-1]))


def _indexed(bindings: Sequence[Stored]) -> Index:
    index: dict[tuple[str, str], list[_Bound]] = {}
    for position, stored in enumerate(bindings):
        binding = stored.document
        for subject in binding.get("subjects") or ():
            kind, name = subject.get("kind"), subject.get("name", "")
            if kind == "ServiceAccount":
                namespace = subject.get("namespace") or stored.key.namespace
                key = ("User", f"{_SERVICE_ACCOUNT}{namespace}:{name}")
                shown = f'ServiceAccount "{name}/{namespace}"'
            else:
                key, shown = (str(kind), name), f'{kind} "{name}"'
            index.setdefault(key, []).append(_Bound(position, binding, shown))
    return index


def _reason(bound: _Bound) -> str:
    metadata, role = bound.binding["metadata"], bound.binding["roleRef"]
    name = f"{metadata['name']}/{metadata['namespace']}" if metadata.get("namespace") else metadata["name"]
    kind = bound.binding["kind"]
    return f'RBAC: allowed by {kind} "{name}" of {role["kind"]} "{role["name"]}" to {bound.subject}'
