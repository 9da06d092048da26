"""Deployments. Documented under "Deployments"."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kube_core.meta import fields
from kube_core.meta.documents import Document, MutableDocument
from kube_core.meta.fields import FieldError, Path
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.builtin import BuiltinStrategy
from kube_core.registry.kinds.checks import Errors
from kube_core.registry.kinds.pods.defaults import default_template
from kube_core.registry.kinds.pods.warnings import template_warnings
from kube_core.registry.kinds.warnings import pod_names
from kube_core.registry.kinds.workloads import templates
from kube_core.registry.kinds.workloads.replicas import replica_counts, replicated_template

__all__ = ["DeploymentStrategy"]

SPEC = Path("spec")
_COUNTS = (
    "replicas",
    "updatedReplicas",
    "readyReplicas",
    "availableReplicas",
    "unavailableReplicas",
    "terminatingReplicas",
    "collisionCount",
)


class DeploymentStrategy(BuiltinStrategy):
    keeps_generation = True
    fixed_by_status = ("labels",)

    def default(self, document: MutableDocument) -> None:
        spec = document["spec"]
        spec.setdefault("replicas", 1)
        strategy = spec.setdefault("strategy", {})
        if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
            rolling = strategy.setdefault("rollingUpdate", {})
            rolling.setdefault("maxUnavailable", "25%")
            rolling.setdefault("maxSurge", "25%")
        spec.setdefault("revisionHistoryLimit", 10)
        spec.setdefault("progressDeadlineSeconds", 600)
        default_template(spec.setdefault("template", {}))

    def validate(self, document: Document) -> Errors:
        spec = document["spec"]
        yield from checks.non_negative(SPEC.child("replicas"), spec.get("replicas"))
        yield from templates.required_selector(SPEC.child("selector"), spec.get("selector"), "deployment")
        yield from replicated_template(spec, self.context)
        yield from _strategy(document)
        for name in ("minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"):
            yield from checks.non_negative(SPEC.child(name), spec.get(name))
        deadline = spec.get("progressDeadlineSeconds")
        if deadline is not None and deadline <= (spec.get("minReadySeconds") or 0):
            yield fields.invalid(
                SPEC.child("progressDeadlineSeconds"), deadline, "must be greater than minReadySeconds"
            )

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        yield from self.validate(document)
        yield from checks.immutable(
            SPEC.child("selector"), document["spec"].get("selector"), old["spec"].get("selector")
        )

    def validate_status_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        status = document.get("status") or {}
        yield from replica_counts(status, _COUNTS, at_most_replicas=("updatedReplicas", "readyReplicas"))
        yield from templates.collisions(status, old.get("status") or {})

    def warnings(self, document: Document, old: Document | None = None) -> Sequence[str]:
        before = old["spec"].get("template") if old is not None else None
        found = template_warnings("spec.template", document["spec"].get("template") or {}, before)
        return [*pod_names(document, old), *found]


def _strategy(document: Document) -> Errors:
    strategy = document["spec"].get("strategy") or {}
    path = SPEC.child("strategy")
    rolling = strategy.get("rollingUpdate")
    match strategy.get("type"):
        case "Recreate":
            if rolling is not None:
                detail = "may not be specified when strategy `type` is 'Recreate'"
                yield fields.forbidden(path.child("rollingUpdate"), detail)
        case "RollingUpdate":
            here = path.child("rollingUpdate")
            if rolling is None:
                yield fields.required(here, "this should be defaulted and never be nil")
                return
            yield from templates.rolling_amounts(here, rolling, "maxUnavailable", "maxSurge")
            unavailable = rolling.get("maxUnavailable")
            if not templates.amount(unavailable) and not templates.amount(rolling.get("maxSurge")):
                yield fields.invalid(here.child("maxUnavailable"), unavailable, "may not be 0 when `maxSurge` is 0")
            yield from templates.at_most_all(here.child("maxUnavailable"), unavailable)
        case _:
            yield fields.not_supported(path, dict(strategy), ["Recreate", "RollingUpdate"])
