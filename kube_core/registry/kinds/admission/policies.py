"""Validating- and MutatingAdmissionPolicies and their bindings. Documented under "Validating Admission Policy"."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from kube_core.meta import fields, names
from kube_core.meta.documents import Document, MutableDocument
from kube_core.meta.fields import Path, generated
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.admission import expressions, rules
from kube_core.registry.kinds.admission.expressions import Scope
from kube_core.registry.kinds.builtin import BuiltinStrategy
from kube_core.registry.kinds.checks import Errors

__all__ = [
    "MutatingBindingStrategy",
    "MutatingPolicyStrategy",
    "ValidatingBindingStrategy",
    "ValidatingPolicyStrategy",
]

Part = Mapping[str, Any]

SPEC = Path("spec")
_REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge")
_MOST_ANNOTATIONS = 20
#: Bytes.
_LONGEST_EXPRESSION = 5 * 1024
#: What mutates sees nothing of deletions.
_MUTABLE = ("*", "CONNECT", "CREATE", "UPDATE")
_VARIABLE = re.compile("[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_SOMETHING = "validations or auditAnnotations must contain at least one item"


class _PolicyStrategy(BuiltinStrategy):
    keeps_generation = True
    allows_unconditional_update = False
    qualifies_finalizers = False

    def default(self, document: MutableDocument) -> None:
        spec = document.setdefault("spec", {})
        spec.setdefault("failurePolicy", "Fail")
        _default_match(spec.get("matchConstraints"))

    def validate(self, document: Document) -> Errors:
        return self._judged(document, None)

    def validate_update(self, document: Document, old: Document) -> Errors:
        return self._judged(document, old.get("spec") or {})

    def _judged(self, document: Document, old: Part | None) -> Errors:
        """Match conditions that are as they were are let be, unless they may name parameters now or no more."""
        spec = document.get("spec") or {}
        policy = spec.get("failurePolicy")
        if policy is not None:
            yield from checks.one_of(SPEC.child("failurePolicy"), policy, rules.FAILURE_POLICIES)
        kind = spec.get("paramKind")
        if kind is not None:
            yield from _param_kind(SPEC.child("paramKind"), kind)
        match, where = spec.get("matchConstraints"), SPEC.child("matchConstraints")
        if match is None:
            yield fields.required(where)
        else:
            yield from _match(where, match)
            if not match.get("resourceRules"):
                yield fields.required(where.child("resourceRules"))
        scope = Scope(params=kind is not None)
        conditions = spec.get("matchConditions") or ()
        known = old is not None and conditions == (old.get("matchConditions") or ())
        if not (known and old is not None and kind == old.get("paramKind")):
            yield from rules.match_conditions(SPEC.child("matchConditions"), conditions, scope)
        variables: Sequence[Part] = spec.get("variables") or ()
        yield from _variables(variables, scope)
        name = document["metadata"].get("name") or ""
        yield from self._actions(name, spec, expressions.declare(variables, scope))

    def _actions(self, name: str, spec: Part, scope: Scope) -> Errors:
        """What the policy, of this name, does."""
        raise NotImplementedError


class ValidatingPolicyStrategy(_PolicyStrategy):
    def _actions(self, name: str, spec: Part, scope: Scope) -> Errors:
        validations: Sequence[Part] = spec.get("validations") or ()
        audits: Sequence[Part] = spec.get("auditAnnotations") or ()
        if not validations and not audits:
            yield fields.required(SPEC.child("validations"), _SOMETHING)
            yield fields.required(SPEC.child("auditAnnotations"), _SOMETHING)
        for position, validation in enumerate(validations):
            here = SPEC.child("validations").index(position)
            if not (validation.get("expression") or "").strip():
                yield fields.required(here.child("expression"), "expression is not specified")
            else:
                yield from expressions.problems(
                    here.child("expression"), validation["expression"], expressions.BOOL, scope
                )
            telling = validation.get("messageExpression") or ""
            if telling.strip():
                yield from expressions.problems(here.child("messageExpression"), telling, expressions.MESSAGE, scope)
            elif telling:
                yield fields.invalid(here.child("messageExpression"), telling, "must be non-empty if specified")
            message = validation.get("message")
            if message and "\n" in message:
                yield fields.invalid(here.child("message"), message, "message must not contain line breaks")
            if validation.get("reason") is not None:
                yield from checks.one_of(here.child("reason"), validation["reason"], _REASONS)
        if len(audits) > _MOST_ANNOTATIONS:
            detail = f"must not have more than {_MOST_ANNOTATIONS} auditAnnotations"
            yield fields.invalid(SPEC.child("auditAnnotations"), list(audits), detail)
        seen: set[str] = set()
        for position, audit in enumerate(audits):
            here, key = SPEC.child("auditAnnotations").index(position), audit.get("key") or ""
            yield from checks.named(here.child("key"), f"{name}/{key}", names.qualified_name)
            if key in seen:
                yield fields.duplicate(here.child("key"), key)
            seen.add(key)
            text = (audit.get("valueExpression") or "").strip()
            if not text:
                yield fields.required(here.child("valueExpression"), "valueExpression is not specified")
            elif len(text.encode()) > _LONGEST_EXPRESSION:
                detail = f"must not exceed {_LONGEST_EXPRESSION} bytes in length"
                yield fields.required(here.child("valueExpression"), detail)
            else:
                yield from expressions.problems(
                    here.child("valueExpression"), audit["valueExpression"], expressions.TEXT_OR_NULL, scope
                )


class MutatingPolicyStrategy(_PolicyStrategy):
    def _actions(self, name: str, spec: Part, scope: Scope) -> Errors:
        yield from _mutable_rules(SPEC.child("matchConstraints"), spec.get("matchConstraints") or {})
        mutations: Sequence[Part] = spec.get("mutations") or ()
        if not mutations:
            yield fields.required(SPEC.child("mutations"), "mutations must contain at least one item")
        for position, mutation in enumerate(mutations):
            yield from _mutation(SPEC.child("mutations").index(position), mutation, scope)
        policy = spec.get("reinvocationPolicy") or ""
        if not policy:
            yield fields.required(SPEC.child("reinvocationPolicy"))
        else:
            yield from checks.one_of(SPEC.child("reinvocationPolicy"), policy, ("IfNeeded", "Never"))


class MutatingBindingStrategy(BuiltinStrategy):
    keeps_generation = True
    allows_unconditional_update = False
    qualifies_finalizers = False

    def default(self, document: MutableDocument) -> None:
        _default_match((document.get("spec") or {}).get("matchResources"))

    def validate(self, document: Document) -> Errors:
        spec = document.get("spec") or {}
        name, where = spec.get("policyName") or "", SPEC.child("policyName")
        if not name:
            yield from generated([fields.required(where)])
        else:
            yield from checks.named(where, name, names.dns1123_subdomain)
        if spec.get("paramRef") is not None:
            yield from _param_ref(SPEC.child("paramRef"), spec["paramRef"])
        yield from self._matched(SPEC.child("matchResources"), spec.get("matchResources"))

    def _matched(self, path: Path, match: Part | None) -> Errors:
        if match is not None:
            yield from _match(path, match)
            yield from _mutable_rules(path, match)


class ValidatingBindingStrategy(MutatingBindingStrategy):
    def validate(self, document: Document) -> Errors:
        yield from super().validate(document)
        actions: Sequence[str] = (document.get("spec") or {}).get("validationActions") or ()
        where = SPEC.child("validationActions")
        if not actions:
            yield from generated([fields.required(where)])
        for position, action in enumerate(actions):
            yield from checks.one_of(where.index(position), action, ("Audit", "Deny", "Warn"))
            if action in actions[:position]:
                yield fields.duplicate(where.index(position), action)
        if "Deny" in actions and "Warn" in actions:
            detail = "must not contain both Deny and Warn (repeating the same validation failure information in the "
            detail += "API response and headers serves no purpose)"
            yield fields.invalid(where, list(actions), detail)

    def _matched(self, path: Path, match: Part | None) -> Errors:
        if match is not None:
            yield from _match(path, match)


def _mutable_rules(path: Path, match: Part) -> Errors:
    for rule in match.get("resourceRules") or ():
        for operation in rule.get("operations") or ():
            yield from checks.one_of(path.child("resourceRules").child("operations"), operation, _MUTABLE)


def _default_match(match: dict[str, Any] | None) -> None:
    if match is None:
        return
    match.setdefault("matchPolicy", "Equivalent")
    match.setdefault("namespaceSelector", {})
    match.setdefault("objectSelector", {})
    for name in ("resourceRules", "excludeResourceRules"):
        rules.default_rules(match.get(name, ()))


def _match(path: Path, match: Part) -> Errors:
    if match.get("matchPolicy") is not None:
        yield from checks.one_of(path.child("matchPolicy"), match["matchPolicy"], rules.MATCH_POLICIES)
    for name in ("namespaceSelector", "objectSelector"):
        if match.get(name) is None:
            yield fields.required(path.child(name))
        else:
            yield from checks.label_selector(path.child(name), match[name])
    for name in ("resourceRules", "excludeResourceRules"):
        yield from rules.rules(path.child(name), match.get(name) or ())


def _param_kind(path: Path, kind: Part) -> Errors:
    version, name = kind.get("apiVersion") or "", kind.get("kind") or ""
    if not version:
        yield fields.required(path.child("apiVersion"))
    elif version.count("/") > 1:
        yield fields.invalid(path.child("apiVersion"), version, f"unexpected GroupVersion string: {version}")
    else:
        group, slash, number = version.rpartition("/")
        if slash and group and (messages := names.dns1123_subdomain(group)):
            yield fields.invalid(path.child("apiVersion"), group, ",".join(messages))
        if not number:
            yield fields.invalid(path.child("apiVersion"), version, "version must be specified")
        elif messages := names.dns1035_label(number):
            yield fields.invalid(path.child("apiVersion"), number, ",".join(messages))
    if not name:
        yield fields.required(path.child("kind"))
    else:
        for message in names.dns1035_label(name.lower()):
            detail = f"may have mixed case, but should otherwise match: {message}"
            yield fields.invalid(path.child("kind"), name, detail)


def _param_ref(path: Path, reference: Part) -> Errors:
    name, selector = reference.get("name") or "", reference.get("selector")
    both = "name and selector are mutually exclusive"
    if name:
        yield from checks.named(path.child("name"), name, names.path_segment)
        if selector is not None:
            yield fields.forbidden(path.child("name"), both)
    if selector is not None:
        yield from checks.label_selector(path.child("selector"), selector)
        if name:
            yield fields.forbidden(path.child("selector"), both)
    if not name and selector is None:
        yield fields.required(path, "one of name or selector must be specified")
    action, where = reference.get("parameterNotFoundAction"), path.child("parameterNotFoundAction")
    if not action:
        yield fields.required(where)
    else:
        yield from checks.one_of(where, action, ("Allow", "Deny"))


def _variables(listed: Sequence[Part], scope: Scope) -> Errors:
    for position, variable in enumerate(listed):
        here, name = SPEC.child("variables").index(position), variable.get("name") or ""
        if not name.strip():
            yield fields.required(here.child("name"), "name is not specified")
        elif not _VARIABLE.fullmatch(name):
            yield fields.invalid(here.child("name"), name, "must be a valid CEL identifier")
        if not (variable.get("expression") or "").strip():
            yield fields.required(here.child("expression"), "expression is not specified")
        else:
            before = expressions.declare(listed[:position], scope)
            yield from expressions.problems(here.child("expression"), variable["expression"], (), before)


def _mutation(path: Path, mutation: Part, scope: Scope) -> Errors:
    kind = mutation.get("patchType") or ""
    form = {"ApplyConfiguration": "applyConfiguration", "JSONPatch": "jsonPatch"}.get(kind)
    if not kind:
        yield fields.required(path.child("patchType"))
        return
    if form is None:
        yield fields.not_supported(path.child("patchType"), kind, ["ApplyConfiguration", "JSONPatch"])
        return
    other = "jsonPatch" if form == "applyConfiguration" else "applyConfiguration"
    if mutation.get(form) is None:
        yield fields.required(path.child(form), f"must be specified when patchType is {kind}")
    elif not (mutation[form].get("expression") or "").strip():
        yield fields.required(path.child(form).child("expression"))
    else:
        where, text = path.child(form).child("expression"), mutation[form]["expression"]
        yield from expressions.mutation_problems(where, text, kind, scope)
    if mutation.get(other) is not None:
        yield fields.invalid(path.child(other), f"{{{other}}}", f"must not be specified when patchType is {kind}")
