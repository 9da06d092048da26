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
from kube_core.registry.kinds.workloads.replicas import replica_counts

__all__ = ["DeploymentStrategy"]

SPEC = Path("spec")


class DeploymentStrategy(BuiltinStrategy):
    keeps_generation = True

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
        path, template = SPEC.child("template"), spec.get("template")
        yield from templates.matching(path, spec.get("selector"), template)
        yield from templates.template(path, template, self.context)
        yield from templates.always_restarting(path, template, "ReplicaSet")
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
        names = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas")
        yield from replica_counts(status, names, at_most_replicas=("updatedReplicas", "readyReplicas"))
        yield from _collisions(status, old.get("status") or {})

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
            if unavailable in (0, "0%") and rolling.get("maxSurge") in (0, "0%"):
                yield fields.invalid(here.child("maxUnavailable"), unavailable, "may not be 0 when `maxSurge` is 0")
            yield from templates.at_most_all(here.child("maxUnavailable"), unavailable)
        case other:
            yield fields.not_supported(path.child("type"), other or "", ["Recreate", "RollingUpdate"])


def _collisions(status: Document, before: Document) -> Errors:
    new, old = status.get("collisionCount"), before.get("collisionCount")
    path = Path("status").child("collisionCount")
    yield from checks.non_negative(path, new)
    if old is not None and (new or 0) < old:
        yield fields.invalid(path, new, "collisionCount cannot be decremented")
