"""Which policies a write is to be held to: policies, their bindings, and the parameters of each.

Read from the server's cache when something has changed, at the next write, so a policy counts from the moment in which
its creation is answered. A write is held to a policy once for each binding, and once for each object
that the binding's `paramRef` selects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs

from kube_core.admission.chain import Reader
from kube_core.admission.rules import is_exempt, matching_resource, namespace_matches, object_matches
from kube_core.api.types import ResourceType
from kube_core.meta.documents import Document, Key
from kube_core.meta.gvk import GroupVersion, GroupVersionKind
from kube_core.meta.selectors import LabelSelector, from_document
from kube_core.registry.context import Attributes

if TYPE_CHECKING:
    from kube_core.registry.kinds.admission.expressions import Scope

__all__ = ["Bindings", "BoundPolicy", "Misconfigured", "Policy", "is_reviewed"]

#: Questions, not objects: what is asked of the server is not held to policies.
_QUESTIONS: Final = frozenset(
    (
        ("authentication.k8s.io", "selfsubjectreviews"),
        ("authentication.k8s.io", "tokenreviews"),
        ("authorization.k8s.io", "localsubjectaccessreviews"),
        ("authorization.k8s.io", "selfsubjectaccessreviews"),
        ("authorization.k8s.io", "selfsubjectrulesreviews"),
        ("authorization.k8s.io", "subjectaccessreviews"),
    )
)


class Misconfigured(Exception):
    """A policy or binding that cannot be followed; the message is upstream's."""


@attrs.frozen(eq=False)
class Match:
    """`matchConstraints` of a policy, or `matchResources` of a binding."""

    rules: Sequence[Mapping[str, Any]]
    excluded: Sequence[Mapping[str, Any]]
    namespaces: LabelSelector
    objects: LabelSelector
    equivalent: bool

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Match:
        return cls(
            document.get("resourceRules") or (),
            document.get("excludeResourceRules") or (),
            from_document(document.get("namespaceSelector") or {}),
            from_document(document.get("objectSelector") or {}),
            document.get("matchPolicy") != "Exact",
        )

    def resource(self, attributes: Attributes, reader: Reader) -> ResourceType | None:
        """The resource as which a write matches; without rules, its own. Raises StatusErrors."""
        if self.excluded and _by_rules(self.excluded, attributes, equivalent=self.equivalent) is not None:
            return None
        matched: ResourceType | None = attributes.resource
        if self.rules:
            matched = _by_rules(self.rules, attributes, equivalent=self.equivalent)
        if matched is None or not object_matches(self.objects, attributes):
            return None
        return matched if namespace_matches(self.namespaces, attributes, reader) else None


@attrs.frozen(eq=False)
class Policy:
    """A policy. `scope` is what its expressions may name, its variables included; conditions may not name those."""

    name: str
    spec: Mapping[str, Any]
    match: Match
    scope: Scope
    conditions_scope: Scope
    bindings: Sequence[Binding]

    @property
    def fails_open(self) -> bool:
        return self.spec.get("failurePolicy") == "Ignore"

    @property
    def param_kind(self) -> Mapping[str, str] | None:
        return self.spec.get("paramKind")


@attrs.frozen(eq=False)
class Binding:
    name: str
    spec: Mapping[str, Any]
    match: Match


@attrs.frozen(eq=False)
class BoundPolicy:
    """A policy that a write is to be held to. `params`: one object a time, None for none."""

    policy: Policy
    binding: Binding
    #: As which the write matched.
    resource: ResourceType
    params: Sequence[Document | None]
    #: Why there are no params, in upstream's words; the policy's failure policy decides.
    problem: str = ""


class Bindings:
    """All policies of one kind, with their bindings."""

    def __init__(self, reader: Reader, policies: ResourceType, bindings: ResourceType) -> None:
        self._reader = reader
        self._resources = policies, bindings
        self._policies: Sequence[Policy] = ()
        self._stale = True
        for each in self._resources:
            reader.follow(each, self._changed)

    def of(self, attributes: Attributes) -> list[BoundPolicy]:
        """In order of their names. Raises StatusErrors."""
        found = []
        for policy in self._current():
            resource = policy.match.resource(attributes, self._reader) if policy.bindings else None
            if resource is None:
                continue
            for binding in policy.bindings:
                if binding.match.resource(attributes, self._reader) is None:
                    continue
                try:
                    params = self._params(policy, binding, attributes)
                    found.append(BoundPolicy(policy, binding, resource, params))
                except Misconfigured as error:
                    found.append(BoundPolicy(policy, binding, resource, (), str(error)))
        return found

    def _current(self) -> Sequence[Policy]:
        if self._stale:
            policies, bindings = (list(self._reader.list(each)) for each in self._resources)
            self._policies = [_policy(each, bindings) for each in sorted(policies, key=_name)]
            self._stale = False
        return self._policies

    def _changed(self) -> None:
        self._stale = True

    def _params(self, policy: Policy, binding: Binding, attributes: Attributes) -> Sequence[Document | None]:
        """Raises `Misconfigured`."""
        kind, reference = policy.param_kind, binding.spec.get("paramRef")
        if kind is None:
            return (None,)
        version = GroupVersion.parse(kind.get("apiVersion") or "")
        gvk = GroupVersionKind(version.group, version.version, kind.get("kind") or "")
        resource = self._reader.resource(gvk)
        if resource is None:
            named = f"{version}, Kind={gvk.kind}"
            raise Misconfigured(
                f"failed to configure policy: failed to find resource referenced by paramKind: '{named}'"
            )
        if reference is None:
            return (None,)
        namespace = _namespace(resource, reference.get("namespace") or "", attributes)
        found: list[Document | None] = []
        if reference.get("name"):
            one = self._reader.get(resource, Key(namespace, reference["name"]))
            found = [one] if one is not None else []
        elif reference.get("selector") is not None:
            selector = from_document(reference["selector"])
            listed = self._reader.list(resource, namespace)
            found = [each for each in listed if selector.matches(each["metadata"].get("labels") or {})]
        if not found and reference.get("parameterNotFoundAction") == "Deny":
            why = "no params found for policy binding with `Deny` parameterNotFoundAction"
            raise Misconfigured(f"failed to configure binding: {why}")
        return found


def is_reviewed(attributes: Attributes) -> bool:
    """Whether writes of this kind are held to policies at all."""
    resource = attributes.resource
    return not is_exempt(resource) and (resource.group, resource.plural) not in _QUESTIONS


def _namespace(resource: ResourceType, named: str, attributes: Attributes) -> str:
    """Where the parameters are. Raises `Misconfigured`."""
    if not resource.namespaced:
        if named:
            why = "paramRef.namespace must not be provided for a cluster-scoped `paramKind`"
            raise Misconfigured(f"failed to configure binding: {why}")
        return ""
    if named:
        return named
    if not attributes.namespace or not attributes.resource.namespaced:
        why = "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
        raise Misconfigured(f"failed to configure binding: {why}")
    return attributes.namespace


def _policy(document: Document, bindings: Sequence[Document]) -> Policy:
    from kube_core.registry.kinds.admission.expressions import Scope, declare  # native, and only policies need it

    spec, name = document["spec"], _name(document)
    plain = Scope(params=spec.get("paramKind") is not None)
    bound = [each for each in bindings if (each.get("spec") or {}).get("policyName") == name]
    return Policy(
        name,
        spec,
        Match.of(spec.get("matchConstraints") or {}),
        declare(spec.get("variables") or (), plain),
        plain,
        [
            Binding(_name(each), each["spec"], Match.of(each["spec"].get("matchResources") or {}))
            for each in sorted(bound, key=_name)
        ],
    )


def _name(document: Document) -> str:
    return str(document["metadata"]["name"])


def _by_rules(rules: Sequence[Mapping[str, Any]], attributes: Attributes, *, equivalent: bool) -> ResourceType | None:
    """Rules of policies may name objects, which those of webhooks cannot."""
    named = [each for each in rules if not each.get("resourceNames") or attributes.key.name in each["resourceNames"]]
    return matching_resource(named, attributes, equivalent=equivalent)
