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
_MANY_LIMIT = 10_000
_ORPHANS = (
    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set "
    "propagationPolicy=Orphan to suppress this warning"
)
_TOO_MANY_INDEXES = (
    "spec: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than "
    "10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail"
)
#: What of a Job's template may change while none of its pods is left, resources besides.
_SCHEDULING = ("nodeSelector", "tolerations", "affinity", "schedulingGates")


class JobStrategy(BuiltinStrategy):
    keeps_generation = True
    default_propagation = "Orphan"

    def default(self, document: MutableDocument) -> None:
        spec = document["spec"]
        # Behind a gate that is closed upstream.
        spec.pop("scheduling", None)
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
        yield from _host_names(document)

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
    if spec.get("maxFailedIndexes") is not None and spec.get("backoffLimitPerIndex") is None:
        yield fields.required(path.child("backoffLimitPerIndex"), "when maxFailedIndexes is specified")
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
    if not name:
        yield fields.required(path)
    else:
        yield from checks.named(path, name, names.domain_prefixed_path)
    if len(name) > 63:
        yield fields.too_long(path, 63)


def _indexes(path: Path, spec: Mapping[str, Any]) -> Errors:
    mode = spec.get("completionMode")
    if mode is not None:
        yield from checks.one_of(path.child("completionMode"), mode, COMPLETION_MODES, ordered=True)
    if mode == "Indexed":
        if spec.get("completions") is None:
            yield fields.required(path.child("completions"), "when completion mode is Indexed")
        for name, value, limit, detail in _index_limits(spec):
            if value > limit:
                yield fields.invalid(path.child(name), value, f"must be less than or equal to {detail}")
    elif mode in (None, "NonIndexed"):
        for name in ("backoffLimitPerIndex", "maxFailedIndexes"):
            if spec.get(name) is not None:
                yield fields.invalid(path.child(name), spec[name], "requires indexed completion mode")


def _index_limits(spec: Mapping[str, Any]) -> Iterable[tuple[str, int, int, str]]:
    """Field, value, limit, and the limit in words: what a Job with many indexes may not have."""
    completions, failed = spec.get("completions"), spec.get("maxFailedIndexes")
    parallelism = spec.get("parallelism") or 0
    yield "parallelism", parallelism, _INDEXED_LIMIT, f"{_INDEXED_LIMIT} when completion mode is Indexed"
    if failed is not None:
        if completions is not None:
            yield "maxFailedIndexes", failed, completions, "completions"
        yield "maxFailedIndexes", failed, _INDEXED_LIMIT, str(_INDEXED_LIMIT)
    if (completions or 0) > _INDEXED_LIMIT and spec.get("backoffLimitPerIndex") is not None:
        words = f"{_MANY_LIMIT} when completions are above {_INDEXED_LIMIT} and used with backoff limit per index"
        yield "parallelism", parallelism, _MANY_LIMIT, words
        if failed is not None:
            yield "maxFailedIndexes", failed, _MANY_LIMIT, words


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


def _host_names(document: Document) -> Errors:
    """An indexed Job's pods have host names that end with their index: the longest must be one."""
    spec = document["spec"]
    if spec.get("completionMode") == "Indexed" and (completions := spec.get("completions") or 0) > 0:
        longest = f"{name_of(document)}-{completions - 1}"
        if names.dns1123_label(longest):
            detail = f"will not able to create pod with invalid DNS label: {longest}"
            yield fields.invalid(Path("metadata").child("name"), name_of(document), detail)


def _changes(document: Document, old: Document) -> Errors:
    new, before = document["spec"], old["spec"]
    completions = new.get("completions")
    if new.get("completionMode") != "Indexed":
        yield from checks.immutable(SPEC.child("completions"), completions, before.get("completions"))
    elif completions not in (None, before.get("completions"), new.get("parallelism")):
        # An indexed Job may grow and shrink, its parallelism with it.
        detail = "can only be modified in tandem with spec.parallelism"
        yield fields.invalid(SPEC.child("completions"), completions, detail)
    yield from _changed(new, before, "selector")
    yield from _template_changes(document, old)
    for name in ("completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"):
        yield from _changed(new, before, name)


def _changed(new: Mapping[str, Any], before: Mapping[str, Any], name: str) -> Errors:
    """An empty value is another one than none."""
    if new.get(name) != before.get(name):
        yield fields.invalid(SPEC.child(name), thaw(new.get(name)), checks.IMMUTABLE)


def _template_changes(document: Document, old: Document) -> Errors:
    """The template stays as it was, but for scheduling and resources while the Job is suspended and nothing runs."""
    template, before = document["spec"].get("template") or {}, old["spec"].get("template") or {}
    if not _at_rest(old):
        if template != before:
            yield fields.invalid(SPEC.child("template"), thaw(template), checks.IMMUTABLE)
        return
    spec = template.get("spec") or {}
    if _fixed_part(spec) != _fixed_part(before.get("spec") or {}):
        yield fields.invalid(SPEC.child("template.spec"), thaw(spec), checks.IMMUTABLE)


def _at_rest(job: Document) -> bool:
    """Whether a Job is suspended and none of its pods is left."""
    status = job.get("status") or {}
    suspended = any(
        each.get("type") == "Suspended" and each.get("status") == "True" for each in status.get("conditions") or ()
    )
    at_rest = status.get("startTime") is None or suspended
    return bool(job["spec"].get("suspend")) and at_rest and not status.get("active")


def _fixed_part(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """A pod's spec without what may change while nothing runs: what it needs, and where it may run."""
    fixed = {name: value for name, value in spec.items() if name not in _SCHEDULING}
    affinity = {name: value for name, value in (spec.get("affinity") or {}).items() if name != "nodeAffinity"}
    if affinity:
        fixed["affinity"] = affinity
    for kind in ("containers", "initContainers"):
        fixed[kind] = [
            {name: value for name, value in container.items() if name != "resources"}
            for container in spec.get(kind) or ()
        ]
    return fixed
