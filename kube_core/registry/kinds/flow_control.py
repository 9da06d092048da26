"""FlowSchemas and PriorityLevelConfigurations. Documented under "API Priority and Fairness"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kube_core.meta import fields, names
from kube_core.meta.documents import Document, MutableDocument
from kube_core.meta.fields import Path
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.builtin import BuiltinStrategy
from kube_core.registry.kinds.checks import Errors

__all__ = ["FlowSchemaStrategy", "PriorityLevelStrategy"]

Part = Mapping[str, Any]

SPEC = Path("spec")
_QUEUES = 10 * 1000 * 1000


class FlowSchemaStrategy(BuiltinStrategy):
    keeps_generation = True

    def default(self, document: MutableDocument) -> None:
        spec = document.setdefault("spec", {})
        if not spec.get("matchingPrecedence"):
            spec["matchingPrecedence"] = 1000

    def validate(self, document: Document) -> Errors:
        spec = document["spec"]
        precedence = spec.get("matchingPrecedence") or 0
        if not 1 <= precedence <= 10000:
            detail = "must be between 1 and 10000, inclusive"
            yield fields.invalid(SPEC.child("matchingPrecedence"), precedence, detail)
        elif precedence == 1 and document["metadata"].get("name") != "exempt":
            detail = "only the schema named 'exempt' may have matchingPrecedence 1"
            yield fields.invalid(SPEC.child("matchingPrecedence"), precedence, detail)
        method = spec.get("distinguisherMethod")
        if method is not None:
            where = SPEC.child("distinguisherMethod").child("type")
            yield from checks.one_of(where, method.get("type") or "", ("ByNamespace", "ByUser"))
        name = (spec.get("priorityLevelConfiguration") or {}).get("name") or ""
        where = SPEC.child("priorityLevelConfiguration").child("name")
        if not name:
            yield fields.required(where, "must reference a priority level")
        else:
            yield from checks.named(where, name, names.dns1123_subdomain)
        for position, rule in enumerate(spec.get("rules") or ()):
            yield from _rule(SPEC.child("rules").index(position), rule)


class PriorityLevelStrategy(BuiltinStrategy):
    keeps_generation = True

    def default(self, document: MutableDocument) -> None:
        spec = document.setdefault("spec", {})
        exempt, limited = spec.get("exempt"), spec.get("limited")
        if exempt is not None:
            exempt.setdefault("nominalConcurrencyShares", 0)
            exempt.setdefault("lendablePercent", 0)
        if limited is not None:
            limited.setdefault("nominalConcurrencyShares", 30)
            limited.setdefault("lendablePercent", 0)
            queuing = limited.get("limitResponse", {}).get("queuing")
            if queuing is not None:
                for name, value in (("queues", 64), ("handSize", 8), ("queueLengthLimit", 50)):
                    if not queuing.get(name):
                        queuing[name] = value

    def validate(self, document: Document) -> Errors:
        spec = document["spec"]
        kind, limited, exempt = spec.get("type") or "", spec.get("limited"), spec.get("exempt")
        yield from checks.one_of(SPEC.child("type"), kind, ("Exempt", "Limited"))
        if kind == "Exempt" and limited is not None:
            yield fields.forbidden(SPEC.child("limited"), "must be nil if the type is not Limited")
        if kind == "Limited":
            if exempt is not None:
                yield fields.forbidden(SPEC.child("exempt"), "must be nil if the type is Limited")
            if limited is None:
                yield fields.required(SPEC.child("limited"), "must not be empty when type is Limited")
            else:
                yield from _limited(SPEC.child("limited"), limited)


def _limited(path: Path, limited: Part) -> Errors:
    shares, lendable = limited.get("nominalConcurrencyShares") or 0, limited.get("lendablePercent") or 0
    if shares < 0:
        yield fields.invalid(path.child("nominalConcurrencyShares"), shares, "must be a non-negative integer")
    if not 0 <= lendable <= 100:
        yield fields.invalid(path.child("lendablePercent"), lendable, "must be between 0 and 100, inclusive")
    borrowing = limited.get("borrowingLimitPercent")
    if borrowing is not None and borrowing < 0:
        detail = "if specified, must be a non-negative integer"
        yield fields.invalid(path.child("borrowingLimitPercent"), borrowing, detail)
    response = limited.get("limitResponse") or {}
    here, queuing = path.child("limitResponse"), response.get("queuing")
    match response.get("type"):
        case "Reject":
            if queuing is not None:
                yield fields.forbidden(
                    here.child("queuing"), "must be nil if limited.limitResponse.type is not Limited"
                )
        case "Queue":
            if queuing is None:
                yield fields.required(
                    here.child("queuing"), "must not be empty if limited.limitResponse.type is Limited"
                )
            else:
                yield from _queuing(here.child("queuing"), queuing)
        case other:
            yield fields.not_supported(here.child("type"), other or "", ["Queue", "Reject"])


def _queuing(path: Path, queuing: Part) -> Errors:
    queues, hand = queuing.get("queues") or 0, queuing.get("handSize") or 0
    if queuing.get("queueLengthLimit", 0) <= 0:
        yield fields.invalid(path.child("queueLengthLimit"), queuing.get("queueLengthLimit") or 0, "must be positive")
    if queues <= 0:
        yield fields.invalid(path.child("queues"), queues, "must be positive")
    elif queues > _QUEUES:
        yield fields.invalid(path.child("queues"), queues, f"must not be greater than {_QUEUES}")
    if hand <= 0:
        yield fields.invalid(path.child("handSize"), hand, "must be positive")
    elif hand > queues:
        yield fields.invalid(path.child("handSize"), hand, f"should not be greater than queues ({queues})")


def _rule(path: Path, rule: Part) -> Errors:
    if not rule.get("subjects"):
        yield fields.required(path.child("subjects"), "subjects must contain at least one value")
    for position, subject in enumerate(rule.get("subjects") or ()):
        yield from _subject(path.child("subjects").index(position), subject)
    resources, paths = rule.get("resourceRules") or (), rule.get("nonResourceRules") or ()
    if not resources and not paths:
        yield fields.required(path, "at least one of resourceRules and nonResourceRules has to be non-empty")
    for position, each in enumerate(resources):
        here = path.child("resourceRules").index(position)
        yield from _verbs(here, each)
        for name in ("apiGroups", "resources"):
            if not each.get(name):
                yield fields.required(here.child(name))
        if not each.get("namespaces") and not each.get("clusterScope"):
            detail = "resource rules that are not cluster scoped must supply at least one namespace"
            yield fields.required(here.child("namespaces"), detail)
    for position, each in enumerate(paths):
        here = path.child("nonResourceRules").index(position)
        yield from _verbs(here, each)
        if not each.get("nonResourceURLs"):
            yield fields.required(here.child("nonResourceURLs"), "nonResourceURLs must contain at least one value")


def _verbs(path: Path, rule: Part) -> Errors:
    verbs = rule.get("verbs") or ()
    if not verbs:
        yield fields.required(path.child("verbs"), "verbs must contain at least one value")
    elif "*" in verbs and len(verbs) > 1:
        yield fields.invalid(path.child("verbs"), list(verbs), "if '*' is present, must not specify other verbs")


def _subject(path: Path, subject: Part) -> Errors:
    kind = subject.get("kind") or ""
    name = {"ServiceAccount": "serviceAccount", "User": "user", "Group": "group"}.get(kind)
    if name is None:
        yield fields.not_supported(path.child("kind"), kind, ["Group", "ServiceAccount", "User"])
    elif subject.get(name) is None:
        yield fields.required(path.child(name), f"{name} is required when subject kind is '{kind}'")
    elif not subject[name].get("name"):
        yield fields.required(path.child(name).child("name"))
