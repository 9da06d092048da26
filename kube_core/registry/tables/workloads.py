"""apps, batch, autoscaling and policy: what keeps pods running."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kube_core.meta.documents import Document, controller_of, is_deleting, name_of
from kube_core.meta.gvk import GroupKind, GroupVersion
from kube_core.meta.times import parse_time
from kube_core.registry.tables.cells import (
    NONE,
    UNKNOWN,
    UNSET,
    age_of,
    containers_of,
    duration,
    labels_text,
    limited,
    selector_text,
    since,
    spec_of,
    status_of,
)
from kube_core.registry.tables.columns import AGE, NAME, Printer, column, wide

__all__ = ["PRINTERS"]

_NOTHING: Mapping[str, Any] = {}

#: What a job's conditions say of it, the strongest first; deletion comes after the first two.
_JOB_ENDS = (("Complete", "Complete"), ("Failed", "Failed"))
_JOB_STATES = (
    ("Suspended", "Suspended"),
    ("FailureTarget", "FailureTarget"),
    ("SuccessCriteriaMet", "SuccessCriteriaMet"),
)


def _template_of(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    return (spec.get("template") or _NOTHING).get("spec") or _NOTHING


def _deployment(document: Document, now: float) -> list[Any]:
    spec, status = spec_of(document), status_of(document)
    return [
        name_of(document),
        f"{status.get('readyReplicas') or 0}/{spec.get('replicas') or 0}",
        status.get("updatedReplicas") or 0,
        status.get("availableReplicas") or 0,
        age_of(document, now),
        *containers_of(_template_of(spec)),
        selector_text(spec.get("selector")),
    ]


def _replica_set(document: Document, now: float) -> list[Any]:
    spec, status = spec_of(document), status_of(document)
    return [
        name_of(document),
        spec.get("replicas") or 0,
        status.get("replicas") or 0,
        status.get("readyReplicas") or 0,
        age_of(document, now),
        *containers_of(_template_of(spec)),
        selector_text(spec.get("selector")),
    ]


def _stateful_set(document: Document, now: float) -> list[Any]:
    spec, status = spec_of(document), status_of(document)
    ready = f"{status.get('readyReplicas') or 0}/{spec.get('replicas') or 0}"
    return [name_of(document), ready, age_of(document, now), *containers_of(_template_of(spec))]


def _daemon_set(document: Document, now: float) -> list[Any]:
    spec, status = spec_of(document), status_of(document)
    return [
        name_of(document),
        status.get("desiredNumberScheduled") or 0,
        status.get("currentNumberScheduled") or 0,
        status.get("numberReady") or 0,
        status.get("updatedNumberScheduled") or 0,
        status.get("numberAvailable") or 0,
        labels_text(_template_of(spec).get("nodeSelector")),
        age_of(document, now),
        *containers_of(_template_of(spec)),
        selector_text(spec.get("selector")),
    ]


def _controller_revision(document: Document, now: float) -> list[Any]:
    owner = controller_of(document)
    controller = NONE
    if owner is not None:
        group = GroupVersion.parse(owner.get("apiVersion", "")).group
        controller = f"{str(GroupKind(group, owner.get('kind', ''))).lower()}/{owner.get('name', '')}"
    return [name_of(document), controller, document.get("revision") or 0, age_of(document, now)]


def _job(document: Document, now: float) -> list[Any]:
    spec, status = spec_of(document), status_of(document)
    succeeded, parallelism = status.get("succeeded") or 0, spec.get("parallelism") or 0
    if spec.get("completions") is not None:
        completions = f"{succeeded}/{spec['completions']}"
    else:
        completions = f"{succeeded}/1 of {parallelism}" if parallelism > 1 else f"{succeeded}/1"
    started, finished = status.get("startTime"), status.get("completionTime")
    took = ""
    if started:
        took = duration((parse_time(finished) if finished else now) - parse_time(started))
    return [
        name_of(document),
        _job_state(document),
        completions,
        took,
        age_of(document, now),
        *containers_of(_template_of(spec)),
        selector_text(spec.get("selector")),
    ]


def _job_state(document: Document) -> str:
    conditions = status_of(document).get("conditions") or ()
    true = {condition.get("type") for condition in conditions if condition.get("status") == "True"}
    for kind, text in _JOB_ENDS:
        if kind in true:
            return text
    if is_deleting(document):
        return "Terminating"
    return next((text for kind, text in _JOB_STATES if kind in true), "Running")


def _cron_job(document: Document, now: float) -> list[Any]:
    spec, status = spec_of(document), status_of(document)
    job = (spec.get("jobTemplate") or _NOTHING).get("spec") or _NOTHING
    suspend = spec.get("suspend")
    last = status.get("lastScheduleTime")
    return [
        name_of(document),
        spec.get("schedule", ""),
        spec.get("timeZone") or NONE,
        UNSET if suspend is None else str(bool(suspend)),
        len(status.get("active") or ()),
        since(last, now) if last else NONE,
        age_of(document, now),
        *containers_of(_template_of(job)),
        selector_text(job.get("selector")),
    ]


def _autoscaler(document: Document, now: float) -> list[Any]:
    spec, status = spec_of(document), status_of(document)
    target = spec.get("scaleTargetRef") or _NOTHING
    minimum = spec.get("minReplicas")
    return [
        name_of(document),
        f"{target.get('kind', '')}/{target.get('name', '')}",
        _metrics(spec, status),
        UNSET if minimum is None else str(minimum),
        spec.get("maxReplicas") or 0,
        status.get("currentReplicas") or 0,
        age_of(document, now),
    ]


def _metrics(spec: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    wanted, current = spec.get("metrics") or (), status.get("currentMetrics") or ()
    if not wanted and spec.get("targetCPUUtilizationPercentage") is not None:  # autoscaling/v1 knows only this one
        now = status.get("currentCPUUtilizationPercentage")
        return f"cpu: {UNKNOWN if now is None else f'{now}%'}/{spec['targetCPUUtilizationPercentage']}%"
    if not wanted:
        return NONE
    return limited([_metric(metric, current, place) for place, metric in enumerate(wanted)], 2, separator=", ")


def _metric(metric: Mapping[str, Any], current: Sequence[Mapping[str, Any]], place: int) -> str:
    kind = str(metric.get("type", ""))
    field = kind[:1].lower() + kind[1:]
    source = metric.get(field)
    if field not in ("external", "pods", "object", "resource", "containerResource") or not source:
        return "<unknown type>"
    measured = (current[place].get(field) or _NOTHING).get("current") or _NOTHING if place < len(current) else _NOTHING
    target = source.get("target") or _NOTHING
    if field in ("resource", "containerResource"):
        if target.get("averageValue") is not None:
            return f"{source.get('name')}: {measured.get('averageValue', UNKNOWN)}/{target['averageValue']}"
        now, goal = measured.get("averageUtilization"), target.get("averageUtilization")
        shown = UNKNOWN if now is None else f"{now}%"
        return f"{source.get('name')}: {shown}/{'<auto>' if goal is None else f'{goal}%'}"
    if target.get("averageValue") is not None:
        text = f"{measured.get('averageValue', UNKNOWN)}/{target['averageValue']}"
        return text if field == "pods" else f"{text} (avg)"
    return f"{measured.get('value', UNKNOWN)}/{target.get('value', '0')}"


def _scale(document: Document, now: float) -> list[Any]:
    desired, current = spec_of(document).get("replicas") or 0, status_of(document).get("replicas") or 0
    return [name_of(document), desired, current, age_of(document, now)]


def _disruption_budget(document: Document, now: float) -> list[Any]:
    spec = spec_of(document)
    limits = [spec.get(field) for field in ("minAvailable", "maxUnavailable")]
    return [
        name_of(document),
        *("N/A" if limit is None else str(limit) for limit in limits),
        status_of(document).get("disruptionsAllowed") or 0,
        age_of(document, now),
    ]


_TEMPLATE = (wide("Containers"), wide("Images"))
_SELECTED = (*_TEMPLATE, wide("Selector"))

PRINTERS = {
    ("apps", "Deployment"): Printer(
        (NAME, column("Ready"), column("Up-to-date"), column("Available"), AGE, *_SELECTED), _deployment
    ),
    ("apps", "ReplicaSet"): Printer(
        (NAME, column("Desired", "integer"), column("Current", "integer"), column("Ready", "integer"), AGE, *_SELECTED),
        _replica_set,
    ),
    ("apps", "StatefulSet"): Printer((NAME, column("Ready"), AGE, *_TEMPLATE), _stateful_set),
    ("apps", "DaemonSet"): Printer(
        (NAME, column("Desired", "integer"), column("Current", "integer"), column("Ready", "integer"),
         column("Up-to-date", "integer"), column("Available", "integer"), column("Node Selector"), AGE, *_SELECTED),
        _daemon_set,
    ),
    ("apps", "ControllerRevision"): Printer(
        (NAME, column("Controller"), column("Revision"), AGE), _controller_revision
    ),
    ("batch", "Job"): Printer(
        (NAME, column("Status"), column("Completions"), column("Duration"), AGE, *_SELECTED), _job
    ),
    ("batch", "CronJob"): Printer(
        (NAME, column("Schedule"), column("Timezone"), column("Suspend", "boolean"), column("Active", "integer"),
         column("Last Schedule"), AGE, *_SELECTED),
        _cron_job,
    ),
    ("autoscaling", "HorizontalPodAutoscaler"): Printer(
        (NAME, column("Reference"), column("Targets"), column("MinPods"), column("MaxPods"), column("Replicas"), AGE),
        _autoscaler,
    ),
    ("autoscaling", "Scale"): Printer(
        (column("Name"), column("Desired", "integer"), column("Available", "integer"), AGE), _scale
    ),
    ("policy", "PodDisruptionBudget"): Printer(
        (NAME, column("Min Available"), column("Max Unavailable"), column("Allowed Disruptions", "integer"), AGE),
        _disruption_budget,
    ),
}  # fmt: skip
