"""PodDisruptionBudgets and PriorityClasses: how many pods must stay, and which come first.

Documented under "Specifying a Disruption Budget for your Application" and "Pod Priority and Preemption".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kube_core.meta import fields, names
from kube_core.meta.documents import Document, MutableDocument
from kube_core.meta.fields import FieldError, Path
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.builtin import BuiltinStrategy
from kube_core.registry.kinds.checks import Errors
from kube_core.registry.kinds.conditions import conditions
from kube_core.registry.kinds.workloads.templates import at_most_all

__all__ = ["DisruptionBudgetStrategy", "PriorityClassStrategy"]

SPEC = Path("spec")
STATUS = Path("status")
#: User-defined priorities end here; what is above is for the system.
HIGHEST_USER_PRIORITY = 1_000_000_000
SYSTEM_PREFIX = "system-"
_SYSTEM_CLASSES = {"system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000}


class DisruptionBudgetStrategy(BuiltinStrategy):
    keeps_generation = True
    allows_unconditional_update = False
    qualifies_finalizers = False

    def name_rule(self, name: str) -> names.Messages:
        return names.path_segment(name)

    def validate(self, document: Document) -> Errors:
        spec: dict[str, Any] = document.get("spec") or {}
        least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
        if least is not None and most is not None:
            yield fields.invalid(SPEC, dict(spec), "minAvailable and maxUnavailable cannot be both set")
        for name, value in (("minAvailable", least), ("maxUnavailable", most)):
            if value is not None:
                yield from checks.int_or_percent(SPEC.child(name), value)
                yield from at_most_all(SPEC.child(name), value)
        yield from checks.label_selector(SPEC.child("selector"), spec.get("selector"))
        policy = spec.get("unhealthyPodEvictionPolicy")
        if policy is not None:
            supported = ("AlwaysAllow", "IfHealthyBudget")
            yield from checks.one_of(SPEC.child("unhealthyPodEvictionPolicy"), policy, supported)

    def validate_status_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        status = document.get("status") or {}
        yield from conditions(STATUS.child("conditions"), status.get("conditions"))
        for name in ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"):
            yield from checks.non_negative(STATUS.child(name), status.get(name))


class PriorityClassStrategy(BuiltinStrategy):
    keeps_generation = True

    def default(self, document: MutableDocument) -> None:
        document.setdefault("preemptionPolicy", "PreemptLowerPriority")

    def bump_generation(self, document: MutableDocument, old: Document) -> None:
        """It stays: what counts never changes."""
        document["metadata"]["generation"] = old["metadata"].get("generation", 1)

    def validate(self, document: Document) -> Errors:
        name, value = document["metadata"].get("name") or "", document.get("value") or 0
        if name.startswith(SYSTEM_PREFIX):
            if _SYSTEM_CLASSES.get(name) != value:
                detail = "priority class names with 'system-' prefix are reserved for system use only. error: "
                known = name in _SYSTEM_CLASSES
                what = (
                    f"value of {name} PriorityClass must be {_SYSTEM_CLASSES.get(name)}"
                    if known
                    else (f"{name} is not a known system priority class")
                )
                yield fields.forbidden(Path("metadata").child("name"), detail + what)
        elif value > HIGHEST_USER_PRIORITY:
            detail = f"maximum allowed value of a user defined priority is {HIGHEST_USER_PRIORITY}"
            yield fields.forbidden(Path("value"), detail)
        policy = document.get("preemptionPolicy")
        if policy == "":
            yield fields.required(Path("preemptionPolicy"))
        elif policy is not None:
            supported = ("PreemptLowerPriority", "Never")
            yield from checks.one_of(Path("preemptionPolicy"), policy, supported, ordered=True)

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        new, before = document.get("value") or 0, old.get("value") or 0
        if new != before:
            yield fields.forbidden(Path("value"), "may not be changed in an update.")
        policy = document.get("preemptionPolicy")
        yield from checks.immutable(Path("preemptionPolicy"), policy, old.get("preemptionPolicy"))
