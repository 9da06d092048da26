"""FlowSchemas and PriorityLevelConfigurations. Documented under "API Priority and Fairness"."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kube_core.meta import fields, names
from kube_core.meta.documents import Document, MutableDocument
from kube_core.meta.fields import FieldError, Path
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.builtin import OWN_METADATA, BuiltinStrategy
from kube_core.registry.kinds.checks import Errors

__all__ = ["FlowSchemaStrategy", "PriorityLevelStrategy"]

Part = Mapping[str, Any]

SPEC = Path("spec")
_QUEUES = 10 * 1000 * 1000
_PRECEDENCE = 10000
_HASH_BITS = 60
_EXEMPT = "exempt"
_METHODS = ("ByNamespace", "ByUser")
_SUBJECTS = {"ServiceAccount": "serviceAccount", "User": "user", "Group": "group"}
_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch")


class FlowSchemaStrategy(BuiltinStrategy):
    keeps_generation = True
    fixed_by_status = OWN_METADATA

    def default(self, document: MutableDocument) -> None:
        spec = document.setdefault("spec", {})
        if not spec.get("matchingPrecedence"):
            spec["matchingPrecedence"] = 1000

    def validate(self, document: Document) -> Errors:
        spec = document["spec"]
        precedence = spec.get("matchingPrecedence") or 0
        if precedence <= 0:
            yield fields.invalid(SPEC.child("matchingPrecedence"), precedence, "must be a positive value")
        if precedence > _PRECEDENCE:
            detail = f"must not be greater than {_PRECEDENCE}"
            yield fields.invalid(SPEC.child("matchingPrecedence"), precedence, detail)
        if precedence == 1 and document["metadata"].get("name") != "exempt":
            detail = "only the schema named 'exempt' may have matchingPrecedence 1"
            yield fields.invalid(SPEC.child("matchingPrecedence"), precedence, detail)
        method = spec.get("distinguisherMethod")
        if method is not None:
            where = SPEC.child("distinguisherMethod").child("type")
            if method.get("type") not in _METHODS:
                yield fields.not_supported(where, {"type": method.get("type") or ""}, _METHODS)
        name = (spec.get("priorityLevelConfiguration") or {}).get("name") or ""
        where = SPEC.child("priorityLevelConfiguration").child("name")
        if not name:
            yield fields.required(where, "must reference a priority level")
        else:
            yield from checks.named(where, name, names.dns1123_subdomain)
        for position, rule in enumerate(spec.get("rules") or ()):
            yield from _rule(SPEC.child("rules").index(position), rule)

    def validate_status_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        return _conditions(document)


class PriorityLevelStrategy(BuiltinStrategy):
    keeps_generation = True
    fixed_by_status = OWN_METADATA

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
        if (document["metadata"].get("name") == _EXEMPT) != (kind == "Exempt"):
            detail = "type must be 'Exempt' if and only if name is 'exempt'"
            yield fields.invalid(SPEC.child("type"), kind, detail)
        if kind == "Exempt" and exempt is not None:
            yield from _shares(SPEC.child("exempt"), exempt)
            yield from _lendable(SPEC.child("exempt"), exempt)
        if kind == "Limited" and limited is not None:
            yield from _limited(SPEC.child("limited"), limited)
        elif kind not in ("", "Exempt", "Limited"):
            yield from checks.one_of(SPEC.child("type"), kind, ("Exempt", "Limited"))
        members = {"Exempt": "exempt", "Limited": "limited"}
        yield from fields.generated(_union(SPEC, spec, "type", members, optional=("exempt",)))
        if limited is not None:
            where, response = SPEC.child("limited").child("limitResponse"), limited.get("limitResponse") or {}
            yield from fields.generated(_union(where, response, "type", {"Queue": "queuing", "Reject": ""}))

    def validate_status_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        return _conditions(document)


def _conditions(document: Document) -> Errors:
    seen: set[str] = set()
    for position, condition in enumerate((document.get("status") or {}).get("conditions") or ()):
        here, kind = Path("status").child("conditions").index(position).child("type"), condition.get("type") or ""
        if kind in seen:
            yield fields.duplicate(here, kind)
        seen.add(kind)
        if not kind:
            yield fields.required(here)


def _shares(path: Path, part: Part) -> Errors:
    shares = part.get("nominalConcurrencyShares") or 0
    if shares < 0:
        yield fields.invalid(path.child("nominalConcurrencyShares"), shares, "must be a non-negative integer")


def _lendable(path: Path, part: Part) -> Errors:
    lendable = part.get("lendablePercent") or 0
    if not 0 <= lendable <= 100:
        yield fields.invalid(path.child("lendablePercent"), lendable, "must be between 0 and 100, inclusive")


def _limited(path: Path, limited: Part) -> Errors:
    yield from _shares(path, limited)
    response = limited.get("limitResponse") or {}
    here, queuing, kind = path.child("limitResponse"), response.get("queuing"), response.get("type") or ""
    if kind == "Queue" and queuing is not None:
        yield from _queuing(here.child("queuing"), queuing)
    elif kind not in ("", "Queue", "Reject"):
        yield from checks.one_of(here.child("type"), kind, ("Queue", "Reject"))
    yield from _lendable(path, limited)
    borrowing = limited.get("borrowingLimitPercent")
    if borrowing is not None and borrowing < 0:
        detail = "if specified, must be a non-negative integer"
        yield fields.invalid(path.child("borrowingLimitPercent"), borrowing, detail)


def _union(
    path: Path, part: Part, discriminator: str, members: Mapping[str, str], *, optional: Sequence[str] = ()
) -> Errors:
    """A field that says which of some others is there: upstream's generated checks have few words for it."""
    kind = part.get(discriminator) or ""
    for value, name in members.items():
        if name and value != kind and part.get(name) is not None:
            yield fields.forbidden(path.child(name), "")
        elif name and value == kind and part.get(name) is None and name not in optional:
            yield fields.required(path.child(name))
    if not kind:
        yield fields.required(path.child(discriminator))


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
    elif queues > 0 and math.ceil(math.log2(queues) * hand) > _HASH_BITS:
        # What a hand needs of a flow's hash, by upstream's estimate.
        detail = (
            f"required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {_HASH_BITS}"
        )
        yield fields.invalid(path.child("handSize"), hand, detail)


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
        for name, one, many in (
            ("apiGroups", "api group", "api groups"),
            ("resources", "resource", "resources"),
        ):
            values: Sequence[str] = each.get(name) or ()
            if not values:
                yield fields.required(here.child(name), f"resource rules must supply at least one {one}")
            elif "*" in values and len(values) > 1:
                detail = f"if '*' is present, must not specify other {many}"
                yield fields.invalid(here.child(name), list(values), detail)
        yield from _namespaces(here.child("namespaces"), each)
    for position, each in enumerate(paths):
        here = path.child("nonResourceRules").index(position)
        yield from _verbs(here, each)
        if not each.get("nonResourceURLs"):
            yield fields.required(here.child("nonResourceURLs"), "nonResourceURLs must contain at least one value")
            continue
        urls: Sequence[str] = each["nonResourceURLs"]
        if "*" not in urls:
            for index, url in enumerate(urls):
                if problem := _url_problem(url):
                    yield fields.invalid(here.child("nonResourceURLs").index(index), url, problem)
        elif len(urls) > 1:
            detail = "if '*' is present, must not specify other non-resource URLs"
            yield fields.invalid(here.child("nonResourceURLs"), list(urls), detail)


def _verbs(path: Path, rule: Part) -> Errors:
    verbs = rule.get("verbs") or ()
    if not verbs:
        yield fields.required(path.child("verbs"), "verbs must contain at least one value")
    elif "*" in verbs:
        if len(verbs) > 1:
            yield fields.invalid(path.child("verbs"), list(verbs), "if '*' is present, must not specify other verbs")
    elif not set(verbs) <= set(_VERBS):
        yield fields.not_supported(path.child("verbs"), list(verbs), _VERBS)


def _namespaces(path: Path, rule: Part) -> Errors:
    namespaces: Sequence[str] = rule.get("namespaces") or ()
    if not namespaces and not rule.get("clusterScope"):
        detail = "resource rules that are not cluster scoped must supply at least one namespace"
        yield fields.required(path, detail)
    elif "*" in namespaces:
        if len(namespaces) > 1:
            yield fields.invalid(path, list(namespaces), "if '*' is present, must not specify other namespaces")
    else:
        for position, namespace in enumerate(namespaces):
            for message in names.dns1123_label(namespace):
                detail = f"each member of this list must be '*' or a DNS-1123 label; {message}"
                yield fields.invalid(path.index(position), namespace, detail)


def _url_problem(url: str) -> str:
    """What is wrong with a path that is no resource, or ""."""
    rules = (
        (not url, "must not be empty"),
        (not url.startswith("/"), "must start with slash"),
        (" " in url, "must not contain white-space"),
        ("//" in url, "must not contain double slash"),
        ("*" in url.removesuffix("/*"), "wildcard can only do suffix matching"),
    )
    return "" if url == "/" else next((message for wrong, message in rules if wrong), "")


def _subject(path: Path, subject: Part) -> Errors:
    kind = subject.get("kind") or ""
    name = _SUBJECTS.get(kind)
    if name is None:
        yield fields.not_supported(path.child("kind"), kind, ["Group", "ServiceAccount", "User"])
    elif subject.get(name) is None:
        yield fields.required(path.child(name), f"{name} is required when subject kind is '{kind}'")
    else:
        yield from _named_subject(path.child(name), kind, subject[name])
    for other_kind, other in _SUBJECTS.items():
        if name is not None and other != name and subject.get(other) is not None:
            detail = f"{other} is forbidden when subject kind is not '{other_kind}'"
            yield fields.forbidden(path.child(other), detail)


def _named_subject(path: Path, kind: str, part: Part) -> Errors:
    name, namespace = part.get("name") or "", part.get("namespace") or ""
    if not name:
        yield fields.required(path.child("name"))
    elif kind == "ServiceAccount" and name != "*":
        yield from checks.named(path.child("name"), name, names.dns1123_subdomain)
    if kind != "ServiceAccount":
        return
    if not namespace:
        yield fields.required(path.child("namespace"), "must specify namespace for service account")
    else:
        yield from checks.named(path.child("namespace"), namespace, names.dns1123_label)
