"""ReplicaSets and ReplicationControllers: so many pods of one template. Documented under "ReplicaSet"."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from kube_core.meta import fields
from kube_core.meta.documents import Document, MutableDocument
from kube_core.meta.fields import FieldError, Path
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.builtin import BuiltinStrategy
from kube_core.registry.kinds.checks import Errors
from kube_core.registry.kinds.pods.defaults import default_template
from kube_core.registry.kinds.pods.warnings import template_warnings
from kube_core.registry.kinds.rules import ValidationContext
from kube_core.registry.kinds.warnings import pod_names
from kube_core.registry.kinds.workloads import templates

__all__ = ["ReplicaSetStrategy", "ReplicationControllerStrategy", "replica_counts", "replicated_template"]

SPEC = Path("spec")
STATUS = Path("status")


def replica_counts(status: Mapping[str, Any], names: Sequence[str], at_most_replicas: Collection[str]) -> Errors:
    """Counts of pods in a status: not negative, and those of a part at most those of the whole."""
    for name in (*names, "observedGeneration"):
        yield from checks.non_negative(STATUS.child(name), status.get(name))
    total, available = status.get("replicas") or 0, status.get("availableReplicas") or 0
    for name in (*at_most_replicas, "availableReplicas"):
        count = status.get(name) or 0
        if count > total:
            yield fields.invalid(STATUS.child(name), count, "cannot be greater than status.replicas")
    if available > (status.get("readyReplicas") or 0):
        yield fields.invalid(STATUS.child("availableReplicas"), available, "cannot be greater than readyReplicas")


def replicated_template(spec: Mapping[str, Any], context: ValidationContext) -> Errors:
    """The template of a ReplicaSet, or of a Deployment that makes some; it is not looked at beside a bad selector."""
    selector, template, path = spec.get("selector"), spec.get("template"), SPEC.child("template")
    if not templates.is_usable(selector):
        yield fields.invalid(SPEC.child("selector"), dict(selector or {}), "invalid label selector")
        return
    yield from templates.matching(path, selector, template)
    yield from templates.template(path, template, context)
    yield from templates.always_restarting(path, template, "ReplicaSet")


class ReplicaSetStrategy(BuiltinStrategy):
    keeps_generation = True
    default_propagation = "Background"

    def default(self, document: MutableDocument) -> None:
        spec = document["spec"]
        spec.setdefault("replicas", 1)
        default_template(spec.setdefault("template", {}))

    def validate(self, document: Document) -> Errors:
        spec = document["spec"]
        for name in ("replicas", "minReadySeconds"):
            yield from checks.non_negative(SPEC.child(name), spec.get(name))
        yield from templates.required_selector(SPEC.child("selector"), spec.get("selector"), "deployment")
        yield from replicated_template(spec, self.context)

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        yield from self.validate(document)
        yield from checks.immutable(
            SPEC.child("selector"), document["spec"].get("selector"), old["spec"].get("selector")
        )

    def validate_status_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        names = ("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "terminatingReplicas")
        parts = ("fullyLabeledReplicas", "readyReplicas")
        return replica_counts(document.get("status") or {}, names, at_most_replicas=parts)

    def warnings(self, document: Document, old: Document | None = None) -> Sequence[str]:
        before = old["spec"].get("template") if old is not None else None
        found = template_warnings("spec.template", document["spec"].get("template") or {}, before)
        return [*pod_names(document, old), *found]


class ReplicationControllerStrategy(BuiltinStrategy):
    """The older form: its selector is a plain map, taken from its template where it is missing."""

    keeps_generation = True
    default_propagation = "Orphan"

    def default(self, document: MutableDocument) -> None:
        spec = document["spec"]
        labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
        if labels:
            if not spec.get("selector"):
                spec["selector"] = dict(labels)
            if not document["metadata"].get("labels"):
                document["metadata"]["labels"] = dict(labels)
        spec.setdefault("replicas", 1)
        if spec.get("template") is not None:
            default_template(spec["template"])

    def validate(self, document: Document) -> Errors:
        spec = document["spec"]
        yield from checks.non_negative(SPEC.child("minReadySeconds"), spec.get("minReadySeconds"))
        if not spec.get("selector"):
            yield fields.required(SPEC.child("selector"))
        yield from checks.non_negative(SPEC.child("replicas"), spec.get("replicas"))
        path, template = SPEC.child("template"), spec.get("template")
        if template is None:
            yield fields.required(path)
            return
        labels = (template.get("metadata") or {}).get("labels") or {}
        if any(labels.get(key) != value for key, value in (spec.get("selector") or {}).items()):
            yield fields.invalid(
                path.child("metadata").child("labels"), dict(sorted(labels.items())), templates.MISMATCH
            )
        yield from templates.template(path, template, self.context)
        yield from templates.always_restarting(path, template, "ReplicationController")

    def validate_status_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        names = ("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas")
        parts = ("fullyLabeledReplicas", "readyReplicas")
        return replica_counts(document.get("status") or {}, names, at_most_replicas=parts)

    def warnings(self, document: Document, old: Document | None = None) -> Sequence[str]:
        before = old["spec"].get("template") if old is not None else None
        found = template_warnings("spec.template", document["spec"].get("template") or {}, before)
        return [*pod_names(document, old), *found]

    def field_labels(self) -> Sequence[str]:
        return ("status.replicas",)

    def fields(self, document: Document) -> Mapping[str, str]:
        return {"status.replicas": str((document.get("status") or {}).get("replicas") or 0)}
