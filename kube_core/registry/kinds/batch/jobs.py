"""The strategy of Jobs. Documented under "Jobs".

A Job selects its pods by its own uid, unless its author says that the selector is made by hand: on creation the labels
are put into the template, and the selector is made of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kube_core.meta import fields, names
from kube_core.meta.documents import Document, MutableDocument, name_of, thaw, uid_of
from kube_core.meta.fields import FieldError, Path
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.batch.policies import failure_policy, success_policy
from kube_core.registry.kinds.batch.status import validate_status
from kube_core.registry.kinds.builtin import BuiltinStrategy
from kube_core.registry.kinds.checks import Errors
from kube_core.registry.kinds.pods.defaults import default_template
from kube_core.registry.kinds.pods.warnings import template_warnings
from kube_core.registry.kinds.warnings import pod_names
from kube_core.registry.kinds.workloads import templates

__all__ = ["COMPLETION_MODES", "JobStrategy", "job_spec"]

SPEC = Path("spec")
COMPLETION_MODES = ("NonIndexed", "Indexed")
_UID_LABEL = "batch.kubernetes.io/controller-uid"
_NAME_LABEL = "batch.kubernetes.io/job-name"
_OLD_UID_LABEL = "controller-uid"
_OLD_NAME_LABEL = "job-name"
_INT32 = 2**31 - 1
_INDEXED_LIMIT = 100_000
_ORPHANS = (
    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set "
    "propagationPolicy=Orphan to suppress this warning"
)
_TOO_MANY_INDEXES = (
    "spec: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than "
    "10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail"
)
#: What of a suspended, not yet started Job's template may still change.
_SCHEDULING = ("nodeSelector", "tolerations", "affinity", "schedulingGates")


class JobStrategy(BuiltinStrategy):
    keeps_generation = True
    default_propagation = "Orphan"

    def default(self, document: MutableDocument) -> None:
        spec = document["spec"]
        if spec.get("completions") is None and spec.get("parallelism") is None:
            spec["completions"] = 1
        spec.setdefault("parallelism", 1)
        spec.setdefault("backoffLimit", _INT32 if spec.get("backoffLimitPerIndex") is not None else 6)
        spec.setdefault("completionMode", "NonIndexed")
        spec.setdefault("suspend", False)
        spec.setdefault("manualSelector", False)
        spec.setdefault("podReplacementPolicy", "Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed")
        for rule in (spec.get("podFailurePolicy") or {}).get("rules") or ():
            for pattern in rule.get("onPodConditions") or ():
                if not pattern.get("status"):
                    pattern["status"] = "True"
        default_template(spec.setdefault("template", {}))
        labels = _template_labels(document)
        if labels and not document["metadata"].get("labels"):
            document["metadata"]["labels"] = dict(labels)

    def prepare_for_create(self, document: MutableDocument) -> None:
        super().prepare_for_create(document)
        # A Job without labels of its own has those of its template, generated ones included.
        shared = (document["metadata"].get("labels") or {}) == _template_labels(document)
        if not document["spec"].get("manualSelector"):
            _generate_selector(document)
        if shared and (labels := _template_labels(document)):
            document["metadata"]["labels"] = dict(labels)

    def validate(self, document: Document) -> Errors:
        yield from _generated_selector(document)
        yield from job_spec(SPEC, document["spec"], self)
        yield from _selection(document)

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        yield from job_spec(SPEC, document["spec"], self)
        yield from _selection(document)
        yield from _changes(document, old)

    def validate_status_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        return validate_status(document, old)

    def warnings(self, document: Document, old: Document | None = None) -> Sequence[str]:
        spec = document["spec"]
        before = old["spec"].get("template") if old is not None else None
        found = list(pod_names(document, old))
        completions, parallelism = spec.get("completions") or 0, spec.get("parallelism") or 0
        if spec.get("completionMode") == "Indexed" and completions > _INDEXED_LIMIT and parallelism > 10_000:
            found.append(_TOO_MANY_INDEXES)
        return [*found, *template_warnings("spec.template", spec.get("template") or {}, before)]

    def deletion_warnings(self, *, policy_given: bool) -> Sequence[str]:
        return () if policy_given else (_ORPHANS,)

    def field_labels(self) -> Sequence[str]:
        return ("status.successful",)

    def fields(self, document: Document) -> Mapping[str, str]:
        return {"status.successful": str((document.get("status") or {}).get("succeeded") or 0)}


def job_spec(path: Path, spec: Mapping[str, Any], strategy: BuiltinStrategy) -> Errors:
    """A Job's spec, but for its selector: a CronJob's template has none."""
    counts = ("parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished")
    for name in (*counts, "backoffLimitPerIndex", "maxFailedIndexes"):
        yield from checks.non_negative(path.child(name), spec.get(name))
    if spec.get("managedBy") is not None:
        yield from _managed_by(path.child("managedBy"), spec["managedBy"])
    yield from _indexes(path, spec)
    if spec.get("podFailurePolicy"):
        yield from failure_policy(path.child("podFailurePolicy"), spec)
    if spec.get("successPolicy"):
        yield from success_policy(path.child("successPolicy"), spec)
    replacement = spec.get("podReplacementPolicy")
    if replacement is not None:
        where = path.child("podReplacementPolicy")
        supported = ["Failed"] if spec.get("podFailurePolicy") else ["Failed", "TerminatingOrFailed"]
        yield from checks.one_of(where, replacement, supported)
    template = spec.get("template") or {}
    yield from templates.template(path.child("template"), template, strategy.context)
    policy = (template.get("spec") or {}).get("restartPolicy") or ""
    where = path.child("template").child("spec").child("restartPolicy")
    if policy in ("", "Always"):
        yield fields.required(where, 'valid values: "OnFailure", "Never"')
    elif policy not in ("OnFailure", "Never"):
        yield fields.not_supported(where, policy, ["OnFailure", "Never"])
    elif spec.get("podFailurePolicy") and policy != "Never":
        detail = 'only "Never" is supported when podFailurePolicy is specified'
        yield fields.invalid(where, policy, detail)


def _managed_by(path: Path, name: str) -> Errors:
    yield from checks.named(path, name, names.domain_prefixed_path)
    if len(name) > 63:
        yield fields.too_long(path, 63)


def _indexes(path: Path, spec: Mapping[str, Any]) -> Errors:
    mode = spec.get("completionMode")
    indexed = mode == "Indexed"
    if mode is not None:
        yield from checks.one_of(path.child("completionMode"), mode, COMPLETION_MODES, ordered=True)
    completions, parallelism = spec.get("completions"), spec.get("parallelism") or 0
    if indexed:
        if completions is None:
            yield fields.required(path.child("completions"), "when completion mode is Indexed")
        if parallelism > _INDEXED_LIMIT:
            detail = f"must be less than or equal to {_INDEXED_LIMIT} when completion mode is Indexed"
            yield fields.invalid(path.child("parallelism"), parallelism, detail)
    per_index, failed = spec.get("backoffLimitPerIndex"), spec.get("maxFailedIndexes")
    if per_index is not None and not indexed:
        yield fields.invalid(path.child("backoffLimitPerIndex"), per_index, "requires indexed completion mode")
    if failed is not None:
        if per_index is None:
            detail = "when maxFailedIndexes is specified"
            yield fields.required(path.child("backoffLimitPerIndex"), detail)
        if completions is not None and failed > completions:
            detail = "must be less than or equal to completions"
            yield fields.invalid(path.child("maxFailedIndexes"), failed, detail)


def _template_labels(document: Document) -> Mapping[str, str]:
    return ((document["spec"].get("template") or {}).get("metadata") or {}).get("labels") or {}


def _generate_selector(document: MutableDocument) -> None:
    spec, uid = document["spec"], uid_of(document)
    metadata = spec["template"].setdefault("metadata", {})
    labels = metadata.setdefault("labels", {})
    for label, value in (
        (_OLD_UID_LABEL, uid),
        (_OLD_NAME_LABEL, name_of(document)),
        (_UID_LABEL, uid),
        (_NAME_LABEL, name_of(document)),
    ):
        labels.setdefault(label, value)
    spec.setdefault("selector", {}).setdefault("matchLabels", {}).setdefault(_UID_LABEL, uid)


def _generated_selector(document: Document) -> Errors:
    """A selector that was asked to be made must be the one that was made."""
    spec, uid = document["spec"], uid_of(document)
    selector = spec.get("selector")
    if spec.get("manualSelector") or selector is None:
        return
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    where = SPEC.child("template").child("metadata").child("labels")
    for label, value in ((_OLD_UID_LABEL, uid), (_OLD_NAME_LABEL, name_of(document)), (_UID_LABEL, uid)):
        if labels.get(label) != value:
            yield fields.invalid(where, dict(sorted(labels.items())), f"must be '{value}'")
    if selector.get("matchExpressions") or dict(selector.get("matchLabels") or {}) != {_UID_LABEL: uid}:
        yield fields.invalid(SPEC.child("selector"), dict(selector), "`selector` not auto-generated")


def _selection(document: Document) -> Errors:
    spec = document["spec"]
    if spec.get("selector") is None:
        yield fields.required(SPEC.child("selector"))
    else:
        yield from checks.label_selector(SPEC.child("selector"), spec["selector"])
    yield from templates.matching(SPEC.child("template"), spec.get("selector"), spec.get("template"))


def _changes(document: Document, old: Document) -> Errors:
    new, before = document["spec"], old["spec"]
    completions = new.get("completions")
    if completions != before.get("completions"):
        # An indexed Job may grow and shrink, its parallelism with it.
        elastic = new.get("completionMode") == "Indexed" and completions == new.get("parallelism")
        if not elastic:
            yield fields.invalid(SPEC.child("completions"), completions, checks.IMMUTABLE)
    for name in (
        "selector",
        "completionMode",
        "podFailurePolicy",
        "backoffLimitPerIndex",
        "managedBy",
        "successPolicy",
    ):
        yield from checks.immutable(SPEC.child(name), new.get(name), before.get(name))
    template = new.get("template") or {}
    if _fixed_part(template, old) != _fixed_part(before.get("template") or {}, old):
        yield fields.invalid(SPEC.child("template"), thaw(template), checks.IMMUTABLE)


def _fixed_part(template: Mapping[str, Any], old: Document) -> Mapping[str, Any]:
    """The template without what may change: scheduling, while the Job is suspended and has not started."""
    suspended = old["spec"].get("suspend") and not (old.get("status") or {}).get("startTime")
    if not suspended:
        return template
    spec = {name: value for name, value in (template.get("spec") or {}).items() if name not in _SCHEDULING}
    others = {
        name: value for name, value in (template.get("metadata") or {}).items() if name not in ("labels", "annotations")
    }
    return {**template, "spec": spec, "metadata": others}
