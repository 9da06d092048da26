"""Which flow a request belongs to: what FlowSchemas match, compiled.

The schema with the lowest `matchingPrecedence` that matches wins, by name among equals; what none matches is in
`catch-all`. What a schema says of a request depends on who asks, the verb and the resource (or the path), so the
answer is kept for each such combination: a request that is like an earlier one costs one look-up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs

from kube_core.abc.transport import User
from kube_core.apiserver.fairness.levels import Level
from kube_core.apiserver.requests import RequestInfo
from kube_core.meta.documents import Document

__all__ = ["Flow", "Schema", "classify"]

_ACCOUNT = "system:serviceaccount:"


@attrs.frozen(eq=False)
class Schema:
    """One FlowSchema. `rules` are tried until one matches."""

    name: str
    uid: str = ""
    precedence: int = 1000
    level: str = ""
    #: ByUser, ByNamespace, or "" for one flow of everybody.
    distinguisher: str = ""
    rules: Sequence[Mapping[str, Any]] = ()

    @classmethod
    def of(cls, document: Document) -> Schema:
        metadata, spec = document["metadata"], document.get("spec") or {}
        return cls(
            metadata["name"],
            metadata.get("uid", ""),
            spec.get("matchingPrecedence") or 1000,
            (spec.get("priorityLevelConfiguration") or {}).get("name") or "",
            (spec.get("distinguisherMethod") or {}).get("type") or "",
            spec.get("rules") or (),
        )

    @property
    def order(self) -> tuple[int, str]:
        return self.precedence, self.name

    def matches(self, user: User, info: RequestInfo) -> bool:
        return any(_matches(rule, user, info) for rule in self.rules)


@attrs.frozen(eq=False, slots=True)
class Flow:
    """Requests that are treated alike, and the level on which they are."""

    level: Level
    #: Of the schema and the level, as they are counted.
    names: tuple[str, str]
    #: What tells this flow from others, for shuffle sharding.
    name: str
    #: What upstream says of it in the response.
    headers: Mapping[str, str]


def classify(
    schemas: Iterable[Schema], level_of: Callable[[str], Level | None], user: User, info: RequestInfo
) -> Flow | None:
    """The flow of a request; None where no schema with a level matches. `schemas` are in order."""
    for schema in schemas:
        if not schema.matches(user, info):
            continue
        level = level_of(schema.level)
        if level is None:
            # A schema that names a level which is not there says nothing, until it is.
            continue
        by = {"ByUser": user.name, "ByNamespace": _namespace(info)}.get(schema.distinguisher, "")
        headers = {
            "X-Kubernetes-PF-FlowSchema-UID": schema.uid,
            "X-Kubernetes-PF-PriorityLevel-UID": level.limits.uid,
        }
        return Flow(level, (schema.name, level.name), f"{schema.name}\n{by}", headers)
    return None


def _namespace(info: RequestInfo) -> str:
    return info.name if info.resource == "namespaces" else info.namespace


def _matches(rule: Mapping[str, Any], user: User, info: RequestInfo) -> bool:
    if not any(_is_subject(subject, user) for subject in rule.get("subjects") or ()):
        return False
    if info.is_resource:
        return any(_is_resource(each, info) for each in rule.get("resourceRules") or ())
    return any(_is_path(each, info) for each in rule.get("nonResourceRules") or ())


def _is_subject(subject: Mapping[str, Any], user: User) -> bool:
    match subject.get("kind"):
        case "User":
            return (subject.get("user") or {}).get("name") in ("*", user.name)
        case "Group":
            name = (subject.get("group") or {}).get("name")
            return name == "*" or name in user.groups
        case "ServiceAccount":
            account = subject.get("serviceAccount") or {}
            prefix = f"{_ACCOUNT}{account.get('namespace')}:"
            return user.name.startswith(prefix) and account.get("name") in ("*", user.name[len(prefix) :])
    return False


def _is_resource(rule: Mapping[str, Any], info: RequestInfo) -> bool:
    namespace = _namespace(info)
    in_scope = _has(rule.get("namespaces"), namespace) if namespace else bool(rule.get("clusterScope"))
    resource = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
    return (
        in_scope
        and _has(rule.get("verbs"), info.verb)
        and _has(rule.get("apiGroups"), info.group)
        and _has(rule.get("resources"), resource)
    )


def _is_path(rule: Mapping[str, Any], info: RequestInfo) -> bool:
    return _has(rule.get("verbs"), info.verb) and any(
        url in ("*", info.path) or (url.endswith("*") and info.path.startswith(url.rstrip("*")))
        for url in rule.get("nonResourceURLs") or ()
    )


def _has(wanted: Sequence[str] | None, value: str) -> bool:
    return wanted is not None and ("*" in wanted or value in wanted)
