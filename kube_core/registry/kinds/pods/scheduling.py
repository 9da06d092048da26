"""What a pod asks of the scheduler: affinity, tolerations, spreading, gates.

Documented under "Assigning Pods to Nodes", "Taints and Tolerations", "Pod Topology Spread Constraints".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kube_core.meta import fields, names
from kube_core.meta.fields import Path
from kube_core.registry.kinds.checks import Errors, label_selector, named, one_of

__all__ = [
    "affinity",
    "apply_label_keys",
    "gates",
    "node_selector",
    "preferred_node_terms",
    "readiness_gates",
    "taint_effect",
    "tolerations",
    "topology_spread",
]

Part = Mapping[str, Any]

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_NO_SELECTOR = "must not be specified when labelSelector is not set"
_IN_SELECTOR = "exists in both matchLabelKeys and labelSelector"


def apply_label_keys(spec: dict[str, Any], labels: Mapping[str, str]) -> None:
    """Put what a new pod's own labels have under `matchLabelKeys` and `mismatchLabelKeys` into the selectors, in place.

    Whoever schedules then looks at selectors only. Where there is no selector, nothing matches, and nothing is added.
    """
    affinity_part = spec.get("affinity") or {}
    for name in ("podAffinity", "podAntiAffinity"):
        pods = affinity_part.get(name) or {}
        for weighted in pods.get(_PREFERRED) or ():
            _extend_selector(weighted.get("podAffinityTerm") or {}, labels)
        for term in pods.get(_REQUIRED) or ():
            _extend_selector(term, labels)
    for constraint in spec.get("topologySpreadConstraints") or ():
        _extend_selector(constraint, labels)


def affinity(path: Path, part: Part | None) -> Errors:
    if not part:
        return
    if node := part.get("nodeAffinity"):
        here = path.child("nodeAffinity")
        if node.get(_REQUIRED) is not None:
            yield from node_selector(here.child(_REQUIRED), node[_REQUIRED])
        yield from preferred_node_terms(here.child(_PREFERRED), node.get(_PREFERRED) or ())
    for name in ("podAffinity", "podAntiAffinity"):
        if pods := part.get(name):
            here = path.child(name)
            for position, term in enumerate(pods.get(_REQUIRED) or ()):
                yield from _pod_term(here.child(_REQUIRED).index(position), term)
            for position, weighted in enumerate(pods.get(_PREFERRED) or ()):
                spot = here.child(_PREFERRED).index(position)
                yield from _weight(spot.child("weight"), weighted.get("weight") or 0)
                yield from _pod_term(spot.child("podAffinityTerm"), weighted.get("podAffinityTerm") or {})


def node_selector(path: Path, selector: Part) -> Errors:
    terms = selector.get("nodeSelectorTerms") or ()
    if not terms:
        yield fields.required(path.child("nodeSelectorTerms"), "must have at least one node selector term")
    for position, term in enumerate(terms):
        yield from _node_term(path.child("nodeSelectorTerms").index(position), term)


def preferred_node_terms(path: Path, listed: Sequence[Part]) -> Errors:
    """A preference may name a value that no label has: it only never counts."""
    for position, weighted in enumerate(listed):
        here = path.index(position)
        yield from _weight(here.child("weight"), weighted.get("weight") or 0)
        yield from _node_term(here.child("preference"), weighted.get("preference") or {}, values_checked=False)


def tolerations(path: Path, listed: Sequence[Part]) -> Errors:
    for position, toleration in enumerate(listed):
        here = path.index(position)
        key, operator = toleration.get("key") or "", toleration.get("operator") or ""
        value, effect = toleration.get("value") or "", toleration.get("effect") or ""
        if key:
            yield from named(here.child("key"), key, names.qualified_name)
        elif operator != "Exists":
            detail = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            yield fields.invalid(here.child("operator"), operator, detail)
        if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
            detail = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            yield fields.invalid(here.child("effect"), effect, detail)
        if operator in ("", "Equal"):
            if messages := names.label_value(value):
                yield fields.invalid(here.child("operator"), value, ";".join(messages))
        elif operator == "Exists":
            if value:
                detail = "value must be empty when `operator` is 'Exists'"
                yield fields.invalid(here.child("operator"), value, detail)
        else:
            yield fields.not_supported(here.child("operator"), operator, ["Equal", "Exists"])
        if effect:
            yield from taint_effect(here.child("effect"), effect)


def taint_effect(path: Path, effect: str) -> Errors:
    yield from one_of(path, effect, _EFFECTS, ordered=True)


def topology_spread(path: Path, listed: Sequence[Part]) -> Errors:
    pairs = [(each.get("topologyKey") or "", each.get("whenUnsatisfiable") or "") for each in listed]
    for position, constraint in enumerate(listed):
        here = path.index(position)
        skew, domains = constraint.get("maxSkew") or 0, constraint.get("minDomains")
        key, action = pairs[position]
        if skew <= 0:
            yield fields.invalid(here.child("maxSkew"), skew, "must be greater than zero")
        if not key:
            yield fields.required(here.child("topologyKey"), "can not be empty")
        yield from one_of(here.child("whenUnsatisfiable"), action, ("DoNotSchedule", "ScheduleAnyway"))
        if pairs[position] in pairs[position + 1 :]:
            yield fields.duplicate(here.child("{topologyKey, whenUnsatisfiable}"), f"{{{key}, {action}}}")
        if domains is not None:
            if domains <= 0:
                yield fields.invalid(here.child("minDomains"), domains, "must be greater than zero")
            if action != "DoNotSchedule":
                detail = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"
                yield fields.invalid(here.child("minDomains"), domains, detail)
        for name in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            if constraint.get(name) is not None:
                yield from one_of(here.child(name), constraint[name], ("Honor", "Ignore"))
        yield from _own_keys(here, constraint)
        yield from label_selector(here.child("labelSelector"), constraint.get("labelSelector"))


def readiness_gates(path: Path, listed: Sequence[Part]) -> Errors:
    for position, gate in enumerate(listed):
        here = path.index(position).child("conditionType")
        yield from named(here, gate.get("conditionType") or "", names.qualified_name)


def gates(path: Path, listed: Sequence[Part]) -> Errors:
    seen: set[str] = set()
    for position, gate in enumerate(listed):
        here, name = path.index(position), gate.get("name") or ""
        yield from named(here, name, names.qualified_name)
        if name in seen:
            yield fields.duplicate(here, name)
        seen.add(name)


def _extend_selector(part: Part, labels: Mapping[str, str]) -> None:
    selector = part.get("labelSelector")
    if selector is None:
        return
    for name, operator in (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")):
        for key in part.get(name) or ():
            if key in labels:
                expressions = selector.setdefault("matchExpressions", [])
                expressions.append({"key": key, "operator": operator, "values": [labels[key]]})


def _weight(path: Path, weight: int) -> Errors:
    if not 1 <= weight <= 100:
        yield fields.invalid(path, weight, "must be in the range 1-100")


def _node_term(path: Path, term: Part, *, values_checked: bool = True) -> Errors:
    for position, expression in enumerate(term.get("matchExpressions") or ()):
        here = path.child("matchExpressions").index(position)
        yield from _node_expression(here, expression, values_checked=values_checked)
    for position, expression in enumerate(term.get("matchFields") or ()):
        yield from _node_field(path.child("matchFields").index(position), expression)


def _node_expression(path: Path, expression: Part, *, values_checked: bool) -> Errors:
    operator, values = expression.get("operator") or "", expression.get("values") or ()
    where = path.child("values")
    match operator:
        case "In" | "NotIn":
            if not values:
                yield fields.required(where, "must be specified when `operator` is 'In' or 'NotIn'")
        case "Exists" | "DoesNotExist":
            if values:
                yield fields.forbidden(where, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
        case "Gt" | "Lt":
            if len(values) != 1:
                yield fields.required(where, "must be specified single value when `operator` is 'Lt' or 'Gt'")
        case _:
            yield fields.invalid(path.child("operator"), operator, "not a valid selector operator")
    yield from named(path.child("key"), expression.get("key") or "", names.qualified_name)
    for position, value in enumerate(values if values_checked else ()):
        yield from named(where.index(position), value, names.label_value)


def _node_field(path: Path, expression: Part) -> Errors:
    operator, values, key = (
        expression.get("operator") or "",
        expression.get("values") or (),
        expression.get("key") or "",
    )
    if operator in ("In", "NotIn"):
        if len(values) != 1:
            detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
            yield fields.required(path.child("values"), detail)
    else:
        yield fields.invalid(path.child("operator"), operator, "not a valid selector operator")
    if key != "metadata.name":
        yield fields.invalid(path.child("key"), key, "not a valid field selector key")
    else:
        for position, value in enumerate(values):
            yield from named(path.child("values").index(position), value, names.dns1123_subdomain)


def _pod_term(path: Path, term: Part) -> Errors:
    yield from label_selector(path.child("labelSelector"), term.get("labelSelector"))
    yield from label_selector(path.child("namespaceSelector"), term.get("namespaceSelector"))
    for namespace in term.get("namespaces") or ():
        # Upstream names the singular here.
        yield from named(path.child("namespace"), namespace, names.dns1123_label)
    yield from _own_keys(path, term)
    key = term.get("topologyKey") or ""
    if not key:
        yield fields.required(path.child("topologyKey"), "can not be empty")
    yield from named(path.child("topologyKey"), key, names.qualified_name)


def _own_keys(path: Path, term: Part) -> Errors:
    """`matchLabelKeys` and `mismatchLabelKeys`, after creation has put them into the selector as expressions."""
    matched: Sequence[str] = term.get("matchLabelKeys") or ()
    mismatched: Sequence[str] = term.get("mismatchLabelKeys") or ()
    selector = term.get("labelSelector")
    for name, keys in (("matchLabelKeys", matched), ("mismatchLabelKeys", mismatched)):
        if keys and selector is None:
            yield fields.forbidden(path.child(name), _NO_SELECTOR)
        elif keys:
            for position, key in enumerate(keys):
                yield from named(path.child(name).index(position), key, names.qualified_name)
    if selector is not None:
        present = set(selector.get("matchLabels") or ())
        for expression in selector.get("matchExpressions") or ():
            key = expression.get("key") or ""
            if key in matched and key in present:
                # Upstream leaves out the name of the list.
                yield fields.invalid(path.index(matched.index(key)), key, _IN_SELECTOR)
            present.add(key)
    for position, key in enumerate(matched):
        if key in mismatched:
            detail = "exists in both matchLabelKeys and mismatchLabelKeys"
            yield fields.invalid(path.child("matchLabelKeys").index(position), key, detail)
