"""RBAC: what roles, bound to a user or a group, allow. Documented under "Using RBAC Authorization".

`Rbac` reads roles and bindings from the watch cache, so a change counts as soon as it is stored. Bindings are indexed
by subject, and the index of a namespace is made anew only when one of its bindings changed; a decision then looks only
at the bindings of the user and of its groups. Decisions that do not depend on an object's name are remembered until a
role or binding changes, which makes the next one for the same question a look-up. Permissions only add up: nothing is
ever denied by a rule.

`missing` answers another question: what somebody who holds some rules lacks to pass others on
(`kube_core.apiserver.escalation`).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import attrs

from kube_core.abc.transport import User
from kube_core.auth.attributes import NO_OPINION, AccessAttributes, AccessAuthorizer, Decision, Rule, Rules, Verdict
from kube_core.bus.changes import Change, Stored, encode
from kube_core.meta.documents import Document, Key
from kube_core.meta.gvk import GroupResource
from kube_core.storage.cache import ResourceCache, WatchCache

__all__ = ["GROUP", "Rbac", "allows", "missing"]

GROUP: Final = "rbac.authorization.k8s.io"
_SERVICE_ACCOUNT: Final = "system:serviceaccount:"
#: How many decisions are remembered before all are forgotten.
_REMEMBERED: Final = 16_384


@attrs.frozen
class _Bound:
    """One subject of one binding."""

    position: int
    binding: Document
    subject: str


Index = Mapping[tuple[str, str], Sequence[_Bound]]


class Rbac(AccessAuthorizer):
    """Roles and bindings of one server."""

    def __init__(
        self,
        roles: ResourceCache,
        cluster_roles: ResourceCache,
        bindings: ResourceCache,
        cluster_bindings: ResourceCache,
    ) -> None:
        self._roles = roles
        self._cluster_roles = cluster_roles
        self._bindings = bindings
        self._cluster_bindings = cluster_bindings
        self._indexes: dict[str, tuple[Sequence[Stored], Index]] = {}
        self._decisions: dict[tuple[object, ...], Decision] = {}
        for each in (roles, cluster_roles, bindings, cluster_bindings):
            each.followers.append(self._changed)

    @classmethod
    def of_cache(cls, cache: WatchCache) -> Rbac:
        """The roles and bindings that are stored."""
        plurals = ("roles", "clusterroles", "rolebindings", "clusterrolebindings")
        return cls(*(cache.resource(GroupResource(GROUP, plural)) for plural in plurals))

    @classmethod
    @functools.cache
    def by_default(cls) -> Rbac:
        """The policy that every cluster begins with, whether or not it is stored yet; one for all of a process.

        Nothing in it ever changes, so what it decided for one cluster that started it has at hand for the next.
        """
        from kube_core.auth.default_policy import policy  # a big table, which a server needs only while it starts

        default = policy()
        return cls(
            _held("roles", "Role", default.roles),
            _held("clusterroles", "ClusterRole", default.cluster_roles),
            _held("rolebindings", "RoleBinding", default.bindings),
            _held("clusterrolebindings", "ClusterRoleBinding", default.cluster_bindings),
        )

    async def authorize(self, attributes: AccessAttributes) -> Decision:
        return self.decide(attributes)

    def decide(self, asked: AccessAttributes) -> Decision:
        """Allowed, in upstream's words, or no opinion."""
        user = asked.user
        question = (
            user.name,
            user.groups,
            asked.verb,
            asked.resource,
            asked.group,
            asked.subresource,
            asked.namespace,
            asked.path,
        )
        known = self._decisions.get(question)
        if known is not None:
            return known
        decision, by_name = self._decide(asked)
        if not by_name:
            if len(self._decisions) >= _REMEMBERED:
                self._decisions.clear()
            self._decisions[question] = decision
        return decision

    def _decide(self, asked: AccessAttributes) -> tuple[Decision, bool]:
        """The decision, and whether another name could have had another one."""
        by_name = False
        for bound in self._bound(asked.user, asked.namespace):
            for rule in self.rules(bound.binding):
                if not _covers(rule, asked):
                    continue
                by_name = by_name or bool(rule.get("resourceNames"))
                if _covers_name(rule, asked):
                    return Decision(Verdict.ALLOW, _reason(bound)), by_name
        return NO_OPINION, by_name

    def _changed(self, change: Change) -> None:
        self._decisions.clear()

    def rules_of(self, user: User, namespace: str) -> Rules:
        """Every rule that a user has in a namespace ("": only cluster-wide ones)."""
        return Rules([rule for bound in self._bound(user, namespace) for rule in self.rules(bound.binding)])

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
    return _covers(rule, attributes) and _covers_name(rule, attributes)


def _covers(rule: Rule, attributes: AccessAttributes) -> bool:
    """Whether a rule is of what is asked for, whatever the object's name."""
    if not _has(rule, "verbs", attributes.verb):
        return False
    if not attributes.resource:
        return any(_covers_path(pattern, attributes.path) for pattern in rule.get("nonResourceURLs") or ())
    return _has(rule, "apiGroups", attributes.group) and _covers_resource(
        rule.get("resources") or (), attributes.resource, attributes.subresource
    )


def _covers_name(rule: Rule, attributes: AccessAttributes) -> bool:
    names = rule.get("resourceNames")
    return not names or not attributes.resource or attributes.name in names


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


def _held(plural: str, kind: str, documents: Iterable[Document]) -> ResourceCache:
    """Documents that are nowhere but here."""
    cache = ResourceCache(GroupResource(GROUP, plural), 0)
    for document in documents:
        metadata = document["metadata"]
        whole = {"kind": kind, "apiVersion": f"{GROUP}/v1", **document}
        cache.load(Stored(Key(metadata.get("namespace", ""), metadata["name"]), 0, encode(whole), whole))
    return cache


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
