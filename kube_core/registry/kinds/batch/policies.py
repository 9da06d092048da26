"""When a Job fails and when it succeeds early: `podFailurePolicy` and `successPolicy`.

Documented under "Pod failure policy" and "Success policy".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kube_core.meta import fields, names
from kube_core.meta.fields import FieldError, Path
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.batch.indexes import IndexesError, parse_indexes
from kube_core.registry.kinds.checks import Errors

__all__ = ["failure_policy", "success_policy"]

_RULES = 20
_CODES = 255
_PATTERNS = 20
_INDEXES_LENGTH = 64 * 1024
_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_VALID_ACTIONS = 'valid values: ["Count" "FailIndex" "FailJob" "Ignore"]'


def failure_policy(path: Path, spec: Mapping[str, Any]) -> Errors:
    rules: Sequence[Mapping[str, Any]] = spec["podFailurePolicy"].get("rules") or ()
    if len(rules) > _RULES:
        yield fields.too_many(path.child("rules"), len(rules), _RULES)
    template = (spec.get("template") or {}).get("spec") or {}
    containers = {
        container.get("name") for name in ("containers", "initContainers") for container in template.get(name) or ()
    }
    for position, rule in enumerate(rules):
        here = path.child("rules").index(position)
        action = rule.get("action") or ""
        if not action:
            yield fields.required(here.child("action"), _VALID_ACTIONS)
        elif action == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
            detail = "requires the backoffLimitPerIndex to be set"
            yield fields.invalid(here.child("action"), action, detail)
        else:
            yield from checks.one_of(here.child("action"), action, _ACTIONS)
        codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions") or ()
        if codes is not None:
            yield from _exit_codes(here.child("onExitCodes"), codes, containers)
        if conditions:
            yield from _conditions(here.child("onPodConditions"), conditions)
        if codes is not None and conditions:
            detail = "specifying both OnExitCodes and OnPodConditions is not supported"
            yield FieldError(str(here), "FieldValueInvalid", f"Invalid value: {detail}")
        elif codes is None and not conditions:
            detail = "specifying one of OnExitCodes and OnPodConditions is required"
            yield FieldError(str(here), "FieldValueInvalid", f"Invalid value: {detail}")


def success_policy(path: Path, spec: Mapping[str, Any]) -> Errors:
    policy = spec["successPolicy"]
    rules: Sequence[Mapping[str, Any]] = policy.get("rules") or ()
    if spec.get("completionMode") != "Indexed":
        yield fields.invalid(path, dict(policy), "requires indexed completion mode")
        return
    if not rules:
        yield fields.required(
            path.child("rules"), "at least one rules must be specified when the successPolicy is specified"
        )
    if len(rules) > _RULES:
        yield fields.too_many(path.child("rules"), len(rules), _RULES)
    completions = spec.get("completions") or 0
    for position, rule in enumerate(rules):
        here = path.child("rules").index(position)
        indexes, count = rule.get("succeededIndexes"), rule.get("succeededCount")
        if indexes is None and count is None:
            yield fields.required(here, "at least one of succeededCount or succeededIndexes must be specified")
        limits = [(completions, "specified completions")]
        if indexes is not None:
            listed = 0
            if len(indexes) > _INDEXES_LENGTH:
                yield fields.too_long(here.child("succeededIndexes"), _INDEXES_LENGTH)
            try:
                listed = sum(len(each) for each in parse_indexes(indexes, completions))
            except IndexesError as error:
                detail = f"error parsing succeededIndexes: {error}"
                yield fields.invalid(here.child("succeededIndexes"), indexes, detail)
            limits.append((listed, "indexes in the specified succeededIndexes field"))
        if count is not None:
            yield from checks.non_negative(here.child("succeededCount"), count)
            for limit, of_what in limits:
                if count > limit:
                    detail = f"must be less than or equal to {limit} (the number of {of_what})"
                    yield fields.invalid(here.child("succeededCount"), count, detail)


def _exit_codes(path: Path, codes: Mapping[str, Any], containers: set[Any]) -> Errors:
    name = codes.get("containerName")
    if name is not None and name not in containers:
        detail = "must be one of the container or initContainer names in the pod template"
        yield fields.invalid(path.child("containerName"), name, detail)
    operator = codes.get("operator") or ""
    if not operator:
        yield fields.required(path.child("operator"), 'valid values: ["In" "NotIn"]')
    else:
        yield from checks.one_of(path.child("operator"), operator, ("In", "NotIn"))
    values: Sequence[int] = codes.get("values") or ()
    where = path.child("values")
    if not values:
        yield fields.invalid(where, list(values), "at least one value is required")
    elif len(values) > _CODES:
        yield fields.too_many(where, len(values), _CODES)
    ordered = True
    for position, value in enumerate(values):
        if operator == "In" and value == 0:
            yield fields.invalid(where.index(position), value, "must not be 0 for the In operator")
        if value in values[:position]:
            yield fields.duplicate(where.index(position), value)
        ordered &= position == 0 or values[position - 1] <= value
    if not ordered:
        yield fields.invalid(where, list(values), "must be ordered")


def _conditions(path: Path, patterns: Sequence[Mapping[str, Any]]) -> Errors:
    if len(patterns) > _PATTERNS:
        yield fields.too_many(path, len(patterns), _PATTERNS)
    for position, pattern in enumerate(patterns):
        here = path.index(position)
        yield from checks.named(here.child("type"), pattern.get("type") or "", names.qualified_name)
        status = pattern.get("status") or ""
        if not status:
            yield fields.required(here.child("status"), 'valid values: ["False" "True" "Unknown"]')
        else:
            yield from checks.one_of(here.child("status"), status, ("False", "True", "Unknown"))
