"""Which requests a webhook or a policy is about: rules, selectors, match conditions. Shared by all admission kinds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kube_core.meta import fields, names
from kube_core.meta.fields import Path
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.checks import Errors

if TYPE_CHECKING:
    from kube_core.registry.kinds.admission.expressions import Scope

__all__ = ["FAILURE_POLICIES", "MATCH_POLICIES", "default_rules", "match_conditions", "rules"]

Part = Mapping[str, Any]

FAILURE_POLICIES = ("Fail", "Ignore")
MATCH_POLICIES = ("Equivalent", "Exact")
OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
SCOPES = ("*", "Cluster", "Namespaced")
_CONDITIONS = 64


def default_rules(listed: Sequence[dict[str, Any]]) -> None:
    for rule in listed:
        rule.setdefault("scope", "*")


def rules(path: Path, listed: Sequence[Part]) -> Errors:
    for position, rule in enumerate(listed):
        here = path.index(position)
        operations: Sequence[str] = rule.get("operations") or ()
        yield from _or_all(here.child("operations"), operations, "operations")
        for index, operation in enumerate(operations):
            yield from checks.one_of(here.child("operations").index(index), operation, OPERATIONS)
        yield from _or_all(here.child("apiGroups"), rule.get("apiGroups") or (), "API groups")
        versions: Sequence[str] = rule.get("apiVersions") or ()
        yield from _or_all(here.child("apiVersions"), versions, "API versions")
        for index, version in enumerate(versions):
            if not version:
                yield fields.required(here.child("apiVersions").index(index))
        yield from _resources(here.child("resources"), rule.get("resources") or ())
        if rule.get("scope") is not None:
            yield from checks.one_of(here.child("scope"), rule["scope"], SCOPES)


def match_conditions(path: Path, listed: Sequence[Part], scope: Scope | None = None) -> Errors:
    """What is wrong with match conditions. `scope`: what their expressions may name; None: what webhooks' may."""
    if not listed:
        return
    from kube_core.registry.kinds.admission import expressions  # native, and few configurations have conditions

    scope = scope or expressions.CONDITIONS
    if len(listed) > _CONDITIONS:
        yield fields.too_many(path, len(listed), _CONDITIONS)
    seen: set[str] = set()
    for position, condition in enumerate(listed):
        here, name = path.index(position), condition.get("name") or ""
        if not (condition.get("expression") or "").strip():
            yield fields.required(here.child("expression"))
        else:
            yield from expressions.problems(here.child("expression"), condition["expression"], expressions.BOOL, scope)
        if not name:
            yield fields.required(here.child("name"))
        else:
            yield from checks.named(here.child("name"), name, names.qualified_name)
        if name and name in seen:
            yield fields.duplicate(here.child("name"), name)
        seen.add(name)


def _or_all(path: Path, values: Sequence[str], what: str) -> Errors:
    if not values:
        yield fields.required(path)
    elif "*" in values and len(values) > 1:
        yield fields.invalid(path, list(values), f"if '*' is present, must not specify other {what}")


def _resources(path: Path, values: Sequence[str]) -> Errors:
    """`pods`, `pods/status`, `*`, `pods/*`, `*/scale`, `*/*`."""
    if not values:
        yield fields.required(path)
        return
    if "*/*" in values and len(values) > 1:
        yield fields.invalid(path, list(values), "if '*/*' is present, must not specify other resources")
    parents = {value.removesuffix("/*") for value in values if value.endswith("/*") and value != "*/*"}
    subresources = {value.removeprefix("*/") for value in values if value.startswith("*/") and value != "*/*"}
    for position, value in enumerate(values):
        here = path.index(position)
        if not value:
            yield fields.required(here)
            continue
        resource, slash, sub = value.partition("/")
        if slash and sub != "*" and resource in parents:
            yield fields.invalid(here, value, f"if '{resource}/*' is present, must not specify {value}")
        if slash and resource != "*" and sub in subresources:
            yield fields.invalid(here, value, f"if '*/{sub}' is present, must not specify {value}")
        if not slash and value != "*" and "*" in values:
            detail = "if '*' is present, must not specify other resources without subresources"
            yield fields.invalid(path, list(values), detail)
            break
