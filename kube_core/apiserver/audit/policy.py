"""Upstream's audit policy: the first rule that matches a request says its level.

    None             nothing is noted
    Metadata         who, what, when and the code of the answer
    Request          and the body of the request
    RequestResponse  and the body of the answer

A rule with `resources` or `namespaces` is of requests on resources only, one with `nonResourceURLs` of all others.
A request that no rule matches is not noted.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs

from kube_core.api.config_files import Section, read
from kube_core.auth.attributes import AccessAttributes

__all__ = ["LEVELS", "STAGES", "Policy", "Verdict", "read_policy"]

LEVELS: Final = ("None", "Metadata", "Request", "RequestResponse")
STAGES: Final = ("RequestReceived", "ResponseStarted", "ResponseComplete", "Panic")


@attrs.frozen
class Verdict:
    """What is to be noted of a request."""

    level: str
    omitted_stages: frozenset[str] = frozenset()
    omit_managed_fields: bool = False


@attrs.frozen
class _Resources:
    """An item of a rule's `resources`: a group, and plurals, `plural/subresource`, `*/subresource`, `plural/*`, `*`."""

    group: str
    resources: tuple[str, ...]
    names: tuple[str, ...]

    def covers(self, asked: AccessAttributes) -> bool:
        if asked.group != self.group or (self.names and asked.name not in self.names):
            return False
        if not self.resources:
            return True
        wanted = {"*", f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource}
        if asked.subresource:
            wanted |= {f"*/{asked.subresource}", f"{asked.resource}/*"}
        return not wanted.isdisjoint(self.resources)


@attrs.frozen
class _Rule:
    verdict: Verdict
    users: frozenset[str]
    groups: frozenset[str]
    verbs: frozenset[str]
    resources: tuple[_Resources, ...]
    namespaces: frozenset[str]
    paths: tuple[str, ...]

    def matches(self, asked: AccessAttributes) -> bool:
        if self.users and asked.user.name not in self.users:
            return False
        if self.groups and self.groups.isdisjoint(asked.user.groups):
            return False
        if self.verbs and asked.verb not in self.verbs:
            return False
        if self.resources or self.namespaces:
            return bool(asked.resource) and self._covers_object(asked)
        if self.paths:
            return not asked.resource and any(_covers_path(pattern, asked.path) for pattern in self.paths)
        return True

    def _covers_object(self, asked: AccessAttributes) -> bool:
        if self.namespaces and asked.namespace not in self.namespaces:
            return False
        return not self.resources or any(each.covers(asked) for each in self.resources)


@attrs.frozen
class Policy:
    """The rules of a policy, in order."""

    rules: tuple[_Rule, ...]

    def verdict(self, asked: AccessAttributes) -> Verdict:
        return next((rule.verdict for rule in self.rules if rule.matches(asked)), _NOTHING)


def read_policy(path: Path) -> Policy:
    """Raises `ConfigFileError`."""
    file = read(path, "Policy", ("audit.k8s.io/v1",))
    file.known("kind", "apiVersion", "metadata", "rules", "omitStages", "omitManagedFields")
    omitted = _stages(file)
    managed = file.flag("omitManagedFields")
    rules = tuple(_rule(each, omitted, managed) for each in file.sections("rules"))
    if not rules:
        raise file.error("rules", "required")
    return Policy(rules)


_NOTHING: Final = Verdict("None")


def _rule(section: Section, omitted: Sequence[str], omit_managed_fields: bool) -> _Rule:
    section.known(
        "level", "users", "userGroups", "verbs", "resources", "namespaces", "nonResourceURLs", "omitStages",
        "omitManagedFields",
    )  # fmt: skip
    resources = tuple(_resources(each) for each in section.sections("resources"))
    namespaces, paths = section.texts("namespaces"), section.texts("nonResourceURLs")
    if paths and (resources or namespaces):
        raise section.error("nonResourceURLs", "rules cannot apply to both regular resources and non-resource URLs")
    for position, pattern in enumerate(paths):
        if pattern != "*" and (not pattern.startswith("/") or "*" in pattern[:-1]):
            raise section.error(f"nonResourceURLs[{position}]", f'"{pattern}" must begin with "/", and end in any "*"')
    verdict = Verdict(
        section.one_of("level", LEVELS),
        frozenset((*omitted, *_stages(section))),
        section.flag("omitManagedFields", default=omit_managed_fields),
    )
    return _Rule(
        verdict,
        frozenset(section.texts("users")),
        frozenset(section.texts("userGroups")),
        frozenset(section.texts("verbs")),
        resources,
        frozenset(namespaces),
        paths,
    )


def _resources(section: Section) -> _Resources:
    section.known("group", "resources", "resourceNames")
    group, plurals, names = section.text("group", ""), section.texts("resources"), section.texts("resourceNames")
    if "/" in group:
        raise section.error("group", f'"{group}" is a group and version; only the group is wanted')
    if names and not plurals:
        raise section.error("resourceNames", "using resourceNames requires at least one resource")
    return _Resources(group, plurals, names)


def _stages(section: Section) -> tuple[str, ...]:
    stages = section.texts("omitStages")
    for position, stage in enumerate(stages):
        if stage not in STAGES:
            raise section.error(f"omitStages[{position}]", f'"{stage}" is not supported; one of {", ".join(STAGES)}')
    return stages


def _covers_path(pattern: str, path: str) -> bool:
    return pattern == path or (pattern.endswith("*") and path.startswith(pattern[:-1]))
